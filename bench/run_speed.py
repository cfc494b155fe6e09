"""Speed and memory beside the runtimes its users would otherwise pick: python bench/run_speed.py.

Checks first that all outputs agree, then times them in turns: median, and how many times as fast
this engine is as the fastest peer.  Needs the extra `bench`; peers that are not installed are left
out.  Writes speed.json and speed.png (scaling.json and .png for --scaling).  Exit code 1 if outputs
differ.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "kernels"), str(ROOT / "weights")]

import sesr_ref as sr  # noqa: E402
from sesr_ref.commands.console import print_table  # noqa: E402
from sesr_ref.ops.arrays import Array, Params  # noqa: E402

NETWORKS: dict[str, Callable[[], sr.Network]] = {
    "m3-x2": lambda: sr.sesr(3),
    "m5-x2": lambda: sr.sesr(5),
    "m7-x2": lambda: sr.sesr(7),
    "m11-x2": lambda: sr.sesr(11),
    "xl-x2": lambda: sr.sesr(11, 32),
    "fsrcnn-x2": lambda: sr.fsrcnn(2),
    "m5-x4": lambda: sr.sesr(5, upscale=4),
    "xl-x4": lambda: sr.sesr(11, 32, 4),
    "fsrcnn-x4": lambda: sr.fsrcnn(4),
}
SIZES = {"360p": (360, 640), "540p": (540, 960), "1080p": (1080, 1920)}
TOLERANCE = 1e-5
"""Largest difference of two float32 outputs, relative to the largest value."""
SCALES = [(200, 300), (360, 640), (540, 960), (1080, 1920), (2160, 3840), (4320, 7680)]


def parameters(net: sr.Network) -> Params:
    """Random ones: initial slopes and biases would all be equal, which some runtimes punish."""
    rng = np.random.default_rng(0)

    def one(shape: tuple[int, ...]) -> Array:
        width = 0.3 if len(shape) == 1 else 1 / math.sqrt(math.prod(shape[:-1]))
        return (rng.standard_normal(shape) * width).astype(np.float32)

    return {name: one(shape) for name, shape in net.param_shapes().items()}


def image(size: tuple[int, int]) -> Array:
    """One random luma image."""
    return np.random.default_rng(1).random((1, *size, 1), np.float32)


def candidates() -> dict[str, Any]:
    """Name the builders of this engine and of the peers that are installed."""
    import peers

    found = {"sesr_ref fast": peers.fast, "sesr_ref reference": peers.reference}
    return found | {
        name: peer for name, (package, peer) in peers.PEERS.items() if find_spec(package)
    }


def build(name: str, net: sr.Network, size: tuple[int, int], threads: int) -> Callable[[], Array]:
    """One candidate, ready to run on one image."""
    import peers

    small, params = peers.small(net, parameters(net))
    run, x = candidates()[name](small, params, size, threads), image(size)
    return lambda: np.asarray(run(x))


def inference(args: argparse.Namespace, peak: dict[int, float]) -> list[dict[str, Any]]:
    """Every network, size and number of threads; raises AssertionError if outputs differ."""
    from measure import alternate

    rows = []
    for key in args.networks:
        net = NETWORKS[key]()
        for size_name in args.sizes:
            for threads in args.threads:
                size = SIZES[size_name]
                runs = {name: build(name, net, size, threads) for name in args.candidates}
                error = check(runs)
                times = alternate(runs, args.repeats)
                row = {
                    "network": key,
                    "size": size_name,
                    "threads": threads,
                    "error": error,
                    "seconds": times,
                    "ratio": ratio(times),
                    "share_of_peak": work(net, size) / times["sesr_ref fast"] / peak[threads],
                }
                rows.append(row)
                show(row)
    return rows


def check(runs: dict[str, Callable[[], Array]]) -> float:
    """Largest relative difference of any output from this engine's; AssertionError if too large."""
    want = np.array(runs["sesr_ref fast"]())
    worst = 0.0
    for name, run in runs.items():
        error = float(abs(run() - want).max() / abs(want).max())
        if not error < TOLERANCE:
            raise AssertionError(f"{name} is {error:.1e} from sesr_ref fast")
        worst = max(worst, error)
    return worst


def ratio(times: dict[str, float]) -> float:
    """How many times as fast the engine is as the fastest of the others."""
    peers = [t for name, t in times.items() if not name.startswith("sesr_ref")]
    return min(peers) / times["sesr_ref fast"] if peers else math.nan


def work(net: sr.Network, size: tuple[int, int]) -> float:
    """Billions of multiplications and additions of the direct convolutions."""
    cost = sr.cost(net, *size)
    return 2 * cost.macs / 1e9


def show(row: dict[str, Any]) -> None:
    """Print one measurement as it is made."""
    times = "  ".join(f"{name} {1e3 * t:.1f}" for name, t in row["seconds"].items())
    label = f"{row['network']} {row.get('size', '')} {row['threads']} thread(s)"
    print(f"{label}: {times} ms; {row['ratio']:.2f} times the fastest peer", flush=True)


def training(args: argparse.Namespace) -> list[dict[str, Any]]:
    """A step of M5, batch 32 of 64 x 64; and the uncollapsed network's beside it."""
    import training_peers as steps
    from measure import alternate

    rows = []
    net = sr.sesr(5)
    params = sr.initialise(net, 0)
    rng = np.random.default_rng(2)
    x, target = rng.random((32, 64, 64, 1), np.float32), rng.random((32, 128, 128, 1), np.float32)
    wide, wide_params = sr.expanded(net), sr.expand_params(net, params)
    for threads in args.threads:
        ops = sr.fast(threads=threads)
        runs = {"sesr_ref fast": steps.ours(net, params, x, target, ops)}
        if not args.quick:
            runs["sesr_ref expanded"] = steps.ours(wide, wide_params, x, target, ops)
        if find_spec("torch"):
            runs["PyTorch"] = steps.pytorch(net, params, x, target, threads, compiled=False)
            if not args.quick:
                runs["torch.compile"] = steps.pytorch(
                    net, params, x, target, threads, compiled=True
                )
        losses = {name: run() for name, run in runs.items()}
        if max(losses.values()) - min(losses.values()) > TOLERANCE:
            raise AssertionError(f"the losses of a training step differ: {losses}")
        times = alternate(runs, args.repeats)
        row = {
            "network": "m5-x2 training step",
            "threads": threads,
            "seconds": times,
            "ratio": ratio(times),
        }
        rows.append(row)
        show(row)
    return rows


def memory(args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Peak of a whole process each: start, build, one image of the largest size asked for."""
    from measure import in_own_process

    size = args.sizes[-1]
    found = {}
    for name in args.candidates:
        found[name] = in_own_process([name, args.networks[0], size, str(args.threads[-1])])
        print(f"memory {size} {name}: {found[name]['megabytes']:.0f} MB", flush=True)
    if args.quick:
        return found
    for kind in ("collapsed", "expanded"):
        found[f"training {kind}"] = in_own_process([kind, "m5-x2", size, str(args.threads[-1])])
        print(f"memory of training {kind}: {found[f'training {kind}']['megabytes']:.0f} MB")
    return found


def alone(name: str, key: str, size: str, threads: int) -> None:
    """In a process of its own: one image, or one training step, and the peak of memory."""
    from measure import peak_megabytes

    net = NETWORKS[key]()
    if name in ("collapsed", "expanded"):
        params = sr.initialise(net, 0)
        if name == "expanded":
            net, params = sr.expanded(net), sr.expand_params(net, params)
        x, target = np.zeros((32, 64, 64, 1), np.float32), np.ones((32, 128, 128, 1), np.float32)
        sr.loss_and_grads(net, params, x, target, ops=sr.fast(threads=threads))
    else:
        build(name, net, SIZES[size], threads)()
    print(json.dumps({"megabytes": peak_megabytes()}))


def scaling(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Nanoseconds a pixel from 0.06 to 33 megapixels."""
    from measure import alternate

    net, rows = NETWORKS[args.networks[0]](), []
    for threads in args.threads:
        for size in SCALES:
            run = build("sesr_ref fast", net, size, threads)
            seconds = alternate({"fast": run}, args.repeats)["fast"]
            pixels = size[0] * size[1]
            rows.append(
                {"threads": threads, "pixels": pixels, "ns_per_pixel": 1e9 * seconds / pixels}
            )
            print(
                f"{threads} thread(s) {pixels / 1e6:6.2f} megapixels: "
                f"{rows[-1]['ns_per_pixel']:.1f} ns a pixel",
                flush=True,
            )
        values = [r["ns_per_pixel"] for r in rows if r["threads"] == threads]
        print(f"  highest / lowest: {max(values) / min(values):.2f}")
    return rows


def plot(path: Path, rows: list[dict[str, Any]], over: str) -> None:
    """Bars of every measurement, or a line over the pixels."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(10, 0.5 * len(rows) + 3 if over == "bars" else 5))
    if over == "bars":
        names = list(rows[0]["seconds"])
        for i, name in enumerate(names):
            places = [r * (len(names) + 1) + i for r in range(len(rows))]
            axes.barh(places, [1e3 * r["seconds"].get(name, 0) for r in rows], label=name)
        middles = [r * (len(names) + 1) + len(names) / 2 for r in range(len(rows))]
        axes.set_yticks(
            middles, [f"{r['network']} {r.get('size', '')} {r['threads']}t" for r in rows]
        )
        axes.set_xscale("log")
        axes.set_xlabel("milliseconds (median)")
        axes.invert_yaxis()
    else:
        for threads in sorted({r["threads"] for r in rows}):
            own = [r for r in rows if r["threads"] == threads]
            axes.plot(
                [r["pixels"] / 1e6 for r in own],
                [r["ns_per_pixel"] for r in own],
                "o-",
                label=f"{threads} thread(s)",
            )
        axes.set(xscale="log", xlabel="megapixels of input", ylabel="ns a pixel", ylim=(0, None))
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def machine(peak: dict[int, float]) -> dict[str, Any]:
    """What the figures hold for."""
    from sesr_kernels.host import HOST

    return {
        "processor": platform.processor() or platform.machine(),
        "instructions": HOST.name,
        "processors": os.cpu_count(),
        "peak_gflops": peak,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def main() -> int:
    """Measure, print, write; 1 if outputs differ."""
    args = arguments()
    if args.alone:
        name, key, size, threads = args.alone
        alone(name, key, size, int(threads))
        return 0
    from peak import peak_gflops

    begun = time.perf_counter()
    peak = {threads: peak_gflops(threads) for threads in args.threads}
    print("peak of fused multiply-adds:", {t: f"{p:.0f} GFLOP/s" for t, p in peak.items()})
    report: dict[str, Any] = {"machine": machine(peak)}
    args.out.mkdir(parents=True, exist_ok=True)
    try:
        if args.scaling:
            report["scaling"] = scaling(args)
            plot(args.out / "scaling.png", report["scaling"], "pixels")
        else:
            report["inference"] = inference(args, peak)
            report["training"] = training(args)
            report["memory"] = memory(args)
            plot(args.out / "speed.png", report["inference"], "bars")
            table(report)
    except AssertionError as error:
        print(f"outputs differ: {error}", file=sys.stderr)
        return 1
    name = "scaling.json" if args.scaling else "speed.json"
    (args.out / name).write_text(json.dumps(report, indent=2) + "\n")
    print(f"{time.perf_counter() - begun:.0f} s; written to {args.out / name}")
    return 0


def table(report: dict[str, Any]) -> None:
    """Print the inference figures together."""
    names = list(report["inference"][0]["seconds"])
    columns = ["network", "size", "threads", *(f"{n} ms" for n in names), "times", "of peak"]
    rows = [
        [r["network"], r["size"], r["threads"], *(f"{1e3 * r['seconds'][n]:.1f}" for n in names),
         f"{r['ratio']:.2f}", f"{r['share_of_peak']:.0%}"]
        for r in report["inference"]
    ]  # fmt: skip
    print_table("Medians; 'times' is against the fastest peer", columns, rows)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=None)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=None)
    parser.add_argument("--threads", nargs="+", type=int, default=None)
    parser.add_argument("--peers", nargs="+", default=None, help="only these (and this engine)")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="M5 at 540p: under three minutes")
    parser.add_argument("--scaling", action="store_true", help="time a pixel over image sizes")
    parser.add_argument("--out", type=Path, default=Path("bench-output"))
    parser.add_argument("--alone", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    quick = args.quick or args.scaling
    args.networks = args.networks or (["m5-x2"] if quick else list(NETWORKS))
    args.sizes = args.sizes or (["540p"] if quick else list(SIZES))
    args.threads = args.threads or ([min(2, os.cpu_count() or 1)] if quick else [1, 2])
    args.candidates = [
        name for name in candidates()
        if args.peers is None or name in args.peers or name.startswith("sesr_ref")
    ]  # fmt: skip
    return args


if __name__ == "__main__":
    sys.exit(main())
