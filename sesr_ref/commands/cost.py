"""Count a network's parameters, MACs and bytes, or estimate its time on an NPU.

Without an NPU the layers are counted; with one (--npu or --npu-file) its passes are estimated, and
those that take most of the time are marked.  docs/cost-model.md explains the model.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
from pathlib import Path
from typing import Any

from sesr_ref.collapse import collapsed
from sesr_ref.commands.console import notice, print_json, print_table
from sesr_ref.commands.models import add_model_argument, foreign, network_named
from sesr_ref.counting import TRANSPOSED, Cost, cost
from sesr_ref.files import check_free
from sesr_ref.npu import (
    MODELS,
    PRESETS,
    Estimate,
    Npu,
    PassEstimate,
    TileEstimate,
    TilePlan,
    estimate,
    npu_from_toml,
    npu_named,
    plan_tiles,
)
from sesr_ref.npu.variant import hardware_variant

UNSET = (None, False)
NPU_OPTIONS = ("estimator", "tile", "plot", "compose-shuffles")
"""Options that have no effect without an NPU, as `argparse` calls them."""
MARKED_SHARE = 0.5
"""The longest passes that together take this share of the time are marked."""
INFERRED = (
    "The presets' settings are inferred: the paper does not state those of its Table 3, which they "
    "reproduce."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``sesr-ref cost``."""
    add_model_argument(parser, "shipped name, file, or an architecture: sesr-m11-x4, ...")
    parser.add_argument("--height", type=int, required=True, metavar="H", help="input rows")
    parser.add_argument("--width", type=int, required=True, metavar="W", help="input columns")
    hardware = parser.add_mutually_exclusive_group()
    hardware.add_argument("--npu", metavar="NAME", help=f"one of {', '.join(PRESETS)}")
    hardware.add_argument("--npu-file", metavar="TOML", help="file that describes your own NPU")
    parser.add_argument(
        "--model", dest="estimator", choices=MODELS, help="model of time (default roofline)"
    )
    parser.add_argument(
        "--bits", type=int, choices=(8, 16), default=8, help="bits of activations and weights"
    )
    parser.add_argument(
        "--tile", metavar="auto|WxH", help="cut the image into tiles; auto searches for the best"
    )
    parser.add_argument(
        "--hardware-variant",
        action="store_true",
        help="the networks of Table 3: ReLU instead of PReLU, no input residual",
    )
    parser.add_argument(
        "--compose-shuffles",
        action="store_true",
        help="add up x4 as in the paper: the body, then each depth-to-space separately",
    )
    parser.add_argument(
        "--transposed",
        choices=TRANSPOSED,
        help="resolution at which transposed convolutions are counted (default output)",
    )
    parser.add_argument("--plot", metavar="PNG", help="write a plot of roofline, timeline, sweeps")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing plot")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the counts, the estimate or the tile plan."""
    _check_options(args)
    net = collapsed(network_named(args.model, foreign(args)))
    if args.hardware_variant:
        net = hardware_variant(net)
    npu = _npu(args)
    if npu is None:
        transposed = args.transposed or "output"
        _print_cost(cost(net, args.height, args.width, transposed, args.bits // 8), args.json)
        return 0
    if args.tile is not None:
        model, tile = args.estimator or "physical", _tile(args.tile)
        plan = plan_tiles(net, args.height, args.width, npu, model, args.bits, tile)
        _print_plan(plan, args.json)
        return 0
    result = estimate(
        net,
        args.height,
        args.width,
        npu,
        args.estimator or "roofline",
        args.bits,
        args.compose_shuffles,
    )
    _print_estimate(result, args.json)
    if args.plot:
        from sesr_ref.npu.figures import plot_costs

        plot_costs(args.plot, net, result, args.overwrite)
        notice(f"wrote {args.plot}")
    return 0


def _npu(args: argparse.Namespace) -> Npu | None:
    if args.npu_file is not None:
        return npu_from_toml(Path(args.npu_file))
    return None if args.npu is None else npu_named(args.npu)


def _check_options(args: argparse.Namespace) -> None:
    """Reject options that would have no effect, and a plot that could not be written."""
    given = {name.replace("_", "-") for name, value in vars(args).items() if value not in UNSET}
    hardware = bool(given & {"npu", "npu-file"})
    ineffective = {
        "without --npu or --npu-file": () if hardware else NPU_OPTIONS,
        "with --npu or --npu-file": ("transposed",) if hardware else (),
        "with --tile": ("plot", "compose-shuffles") if "tile" in given else (),
        "without --plot": () if "plot" in given else ("overwrite",),
    }
    for condition, options in ineffective.items():
        for option in options:
            if option in given:
                name = {"estimator": "model"}.get(option, option)
                raise ValueError(f"--{name} has no effect {condition}")
    if args.plot:
        check_free(Path(args.plot), args.overwrite, " (--overwrite replaces it)")


def _tile(text: str) -> tuple[int, int] | None:
    """Rows and columns of "WxH"; None to search."""
    if text == "auto":
        return None
    if not (match := re.fullmatch(r"(\d{1,6})x(\d{1,6})", text)):
        raise ValueError(f"--tile must be auto or WIDTHxHEIGHT such as 400x300, got {text!r}")
    return int(match[2]), int(match[1])


def _print_cost(counted: Cost, as_json: bool) -> None:
    if as_json:
        totals = ("parameters", "biases", "slopes", "macs", "activation_bytes", "weight_bytes")
        facts = dataclasses.asdict(counted)
        print_json({key: getattr(counted, key) for key in totals} | facts)
        return
    rows = [
        (
            r.name,
            r.kind,
            f"{r.parameters}",
            f"{r.macs / 1e6:.2f}",
            _kilo(r.read_bytes),
            _kilo(r.written_bytes),
        )
        for r in counted.rows
    ]
    print_table(
        f"{counted.network}, {counted.width} x {counted.height} input",
        ("layer", "kind", "weights", "M MACs", "kB read", "kB written"),
        rows,
    )
    print(
        f"{counted.parameters} weights, {counted.biases} biases, {counted.slopes} slopes; "
        f"{counted.macs / 1e9:.3f} G MACs (transposed convolutions counted at their "
        f"{counted.transposed}); {counted.activation_bytes / 1e6:.2f} MB of activations"
    )


def _kilo(size: int) -> str:
    return f"{size / 1e3:.1f}"


def bottlenecks(passes: tuple[PassEstimate, ...]) -> set[str]:
    """Names of the longest passes that together make up `MARKED_SHARE` of the time."""
    total = sum(p.latency_ms for p in passes)
    marked, covered = set(), 0.0
    for p in sorted(passes, key=lambda p: -p.latency_ms):
        if covered >= MARKED_SHARE * total:
            break
        covered += p.latency_ms
        marked.add(p.name)
    return marked


def _print_estimate(result: Estimate, as_json: bool) -> None:
    marked = bottlenecks(result.passes)
    if as_json:
        print_json(_estimate_facts(result) | {"bottlenecks": sorted(marked)})
        return
    rows = [
        (
            f"{p.name}{' *' if p.name in marked else ''}",
            p.engine,
            f"{p.mce_cycles}",
            _kilo(p.input.total),
            _kilo(p.output.total),
            _kilo(p.weights.total),
            f"{100 * p.input.parallel / max(p.input.total, 1):.0f} %",
            p.bound,
            f"{100 * p.utilisation:.0f} %",
            f"{p.latency_ms:.3f}",
            f"{100 * p.latency_ms / result.latency_ms:.0f} %",
        )
        for p in result.passes
    ]
    print_table(
        f"{result.network}, {result.width} x {result.height} input, {result.npu.name}, "
        f"{result.bits} bit, model {result.model}",
        (
            "pass",
            "engine",
            "cycles",
            "kB in",
            "kB out",
            "kB weights",
            "in parallel",
            "bound",
            "used",
            "ms",
            "share",
        ),
        rows,
    )
    energy = "" if result.joules is None else f", {1e3 * result.joules:.2f} mJ"
    totals = (
        f"{result.dram_bytes / 1e6:.2f} MB, {result.latency_ms:.2f} ms, "
        f"{result.frames_per_second:.2f} FPS{energy}."
    )
    print("  ".join([totals, *_inferred(result.npu)]))
    print(
        "*: the longest passes, which together take at least half of the time.  used: share of the "
        "MACs that the\nengine could do in the pass's time without Winograd; above 100 % with it."
    )


def _estimate_facts(result: Estimate) -> dict[str, Any]:
    totals = ("dram_bytes", "latency_ms", "frames_per_second", "mce_cycles", "macs", "joules")
    facts = {key: getattr(result, key) for key in totals} | dataclasses.asdict(result)
    facts["passes"] = [dataclasses.asdict(p) | {"dram_bytes": p.dram_bytes} for p in result.passes]
    return facts


def _print_plan(plan: TilePlan, as_json: bool) -> None:
    if as_json:
        print_json(_plan_facts(plan))
        return
    rows = [
        (
            f"{c.tile[1]} x {c.tile[0]}",
            f"{c.count}",
            f"{c.window[1]} x {c.window[0]}",
            *(f"{c.dram_bytes(m) / 1e6:.1f} / {c.frames_per_second(m):.1f}" for m in MODELS),
        )
        for c in _shown(plan)
    ]
    print_table(
        f"{plan.network}, {plan.width} x {plan.height} input, {plan.npu.name}, halo {plan.halo}; "
        f"by {plan.model}, then the whole image; MB / FPS",
        ("tile", "tiles", "with halo", *MODELS),
        rows,
    )
    if plan.depth_first is not None:
        d = plan.depth_first
        print(
            f"depth-first: {d.strips} strip(s) of {d.strip_width} columns, "
            f"{d.sram_bytes / 1e6:.2f} MB of SRAM, {d.dram_bytes / 1e6:.2f} MB, "
            f"{d.latency_ms:.2f} ms, {d.frames_per_second:.1f} FPS"
        )
    for line in _inferred(plan.npu):
        print(line)


def _inferred(npu: Npu) -> list[str]:
    """A remark on presets; a description of the user's own needs none."""
    return [INFERRED] if npu in PRESETS.values() else []


def _shown(plan: TilePlan) -> tuple[TileEstimate, ...]:
    return plan.candidates + ((plan.whole,) if plan.whole else ())


def _plan_facts(plan: TilePlan) -> dict[str, Any]:
    candidates = [
        {
            "tile": {"height": c.tile[0], "width": c.tile[1]},
            "window": c.window,
            "count": c.count,
            "models": {
                m: {
                    "dram_bytes": c.dram_bytes(m),
                    "latency_ms": c.latency_ms(m),
                    "frames_per_second": c.frames_per_second(m),
                }
                for m in MODELS
            },
        }
        for c in _shown(plan)
    ]
    return {
        "network": plan.network,
        "height": plan.height,
        "width": plan.width,
        "npu": plan.npu.name,
        "halo": plan.halo,
        "model": plan.model,
        "candidates": candidates[: len(plan.candidates)],
        "whole": candidates[-1] if plan.whole else None,
        "depth_first": plan.depth_first and dataclasses.asdict(plan.depth_first),
    }
