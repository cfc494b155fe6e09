"""Compare the speed of networks in integers with int8 runtimes: python bench/run_int_speed.py.

Before it times, it checks that LiteRT has the bits of the arithmetic "litert", that kernels have
those of NumPy, and how far OpenVINO, which rounds elsewhere, is from them.  Then candidates run in
turns, each in a process of its own; a ratio is the median, over the turns, of a candidate's time
divided by that of this engine in the same turn, so that it holds on a machine that does other
things as well.  With one thread times are processor time, else by the clock.  Needs the extra
`bench`; runtimes that are not installed are left out.  Exit code 1 if bits differ.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "kernels"), str(ROOT / "weights")]

import sesr_ref as sr  # noqa: E402
from sesr_ref.commands.console import print_table  # noqa: E402
from sesr_ref.integers import ARITHMETICS  # noqa: E402
from speed import integer_peers as peers  # noqa: E402
from speed.measure import PAUSE  # noqa: E402
from speed.worker import Workers  # noqa: E402

NETWORKS = {"relu": "sesr-m5-x2-npu", "prelu": "sesr-m5-x2"}
"""Activation: a shipped network; the one with ReLU adds no input at its end."""
SIZES = {"270p": (270, 480), "540p": (540, 960), "1080p": (1080, 1920)}
OURS = "litert"
CHECKED = (90, 131)
"""Rows and columns on which kernels are compared with NumPy, in every arithmetic measured."""
Row = dict[str, Any]


def main(argv: list[str] | None = None) -> int:
    """Check, measure and print; 1 if bits differ."""
    args = arguments(argv)
    rows: list[Row] = []
    try:
        with Workers() as workers:
            for activation in args.networks:
                for size in args.sizes:
                    for threads in args.threads:
                        rows.append(measured(args, workers, activation, size, threads))
                        if not args.json:
                            show(rows[-1])
    except AssertionError as error:
        print(f"outputs differ: {error}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(rows, indent=1))
    return 0


def model_of(activation: str, size: tuple[int, int]) -> peers.Model:
    """A shipped network on grids that fit noise, its file, and noise to run it on."""
    rng = np.random.default_rng(5)
    net, params = sr.load(NETWORKS[activation])
    small, own = sr.collapsed(net), sr.collapse_params(net, params)
    smooth = [np.cumsum(rng.random((1, 48, 48, 1), np.float32), 1) % 1 for _ in range(4)]
    q = sr.calibrate(small, own, smooth)
    iparams = sr.quantize(small, own, q)
    codes = rng.integers(-128, 128, (1, *size, 1)).astype(np.int8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        sr.to_tflite(path, small, iparams, q, *size)
        return peers.Model(small, own, iparams, q, path.read_bytes(), codes)


def measured(
    args: argparse.Namespace, workers: Workers, activation: str, size: str, threads: int
) -> Row:
    """Check and time every candidate on one network and size."""
    model = model_of(activation, SIZES[size])
    check_kernels(model, args.arithmetics)
    builds = peers.candidates(args.arithmetics, args.peers)
    for name, build in builds.items():
        workers[name].hold(build, model, threads)
    differing = check_peers({name: workers[name].result() for name in builds})
    times: dict[str, list[float]] = {name: [] for name in builds}
    for _ in range(args.repeats):
        for name in builds:
            worker = workers[name]
            worker.call(_pause)
            times[name].append(worker.processor_seconds() if threads == 1 else worker.seconds())
    for name in builds:
        workers[name].hold(_nothing)  # its memory back
    ours = times[f"sesr_ref {OURS}"]
    ratios = {
        name: statistics.median(t / o for t, o in zip(own, ours, strict=True))
        for name, own in times.items()
    }
    return {
        "network": activation,
        "size": size,
        "threads": threads,
        "ms": {name: round(1e3 * statistics.median(own), 2) for name, own in times.items()},
        "fastest_ms": {name: round(1e3 * min(own), 2) for name, own in times.items()},
        "ratio": {name: round(ratio, 3) for name, ratio in ratios.items()},
        "differing": differing,
        "frames_per_second": round(1 / statistics.median(ours), 2),
    }


def check_kernels(model: peers.Model, arithmetics: list[str]) -> None:
    """AssertionError unless kernels have the bits of NumPy."""
    codes, ops = model.codes[:, : CHECKED[0], : CHECKED[1]], sr.fast()
    for arithmetic in arithmetics:
        given = (model.net, model.iparams, model.q, codes, arithmetic)
        if (sr.run_int(*given) != sr.run_int(*given, ops)).any():
            raise AssertionError(f"the kernels and NumPy in arithmetic {arithmetic!r}")


def check_peers(made: dict[str, Any]) -> dict[str, int]:
    """Largest difference of each peer in codes; AssertionError where there may be none."""
    want, found = made[f"sesr_ref {OURS}"].astype(int), {}
    for name, peer in peers.PEERS.items():
        if name in made:
            found[name] = int(np.abs(made[name].reshape(want.shape) - want).max())
            if peer.exact and found[name]:
                raise AssertionError(f"{name} by up to {found[name]} codes from {OURS!r}")
    return found


def _pause() -> None:
    import time

    time.sleep(PAUSE)


def _nothing() -> Any:
    return lambda: None


def show(row: Row) -> None:
    """Print one table."""
    height, width = SIZES[row["size"]]
    kind = "processor ms" if row["threads"] == 1 else "ms"
    title = (
        f"SESR-M5 x2, {row['network']}, {width} x {height}, {row['threads']} thread(s): "
        f"{row['frames_per_second']:.1f} frames a second"
    )
    lines = [
        (
            name,
            f"{ms:.1f}",
            f"{row['fastest_ms'][name]:.1f}",
            f"{row['ratio'][name]:.2f} x",
            str(row["differing"].get(name, "")),
        )
        for name, ms in row["ms"].items()
    ]
    print_table(title, ("", kind, "fastest", "of ours", "codes apart"), lines)


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    add("--sizes", nargs="+", choices=SIZES, default=["540p"])
    add("--threads", nargs="+", type=int, default=[1])
    add(
        "--arithmetics",
        nargs="+",
        choices=ARITHMETICS,
        default=[OURS, "tflite-single", "tflite"],
        help=f"of this engine; {OURS} is measured in any case",
    )
    add("--peers", nargs="+", choices=peers.PEERS, default=list(peers.PEERS))
    add("--repeats", type=int, default=21, help="turns (default 21)")
    add("--quick", action="store_true", help="a small image, 5 turns: half a minute")
    add("--json", action="store_true", help="print rows as JSON")
    args = parser.parse_args(argv)
    if args.quick:
        args.sizes, args.repeats = ["270p"], 5
    args.arithmetics = [OURS, *(a for a in args.arithmetics if a != OURS)]
    if args.repeats < 1 or min(args.threads) < 1:
        parser.error("--repeats and --threads must be at least 1")
    return args


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(main())
