"""Compare speed and memory with those of common runtimes: python bench/run_speed.py.

Checks that all outputs agree, then times the runtimes in turns: the median, and how many times as
fast this engine is as the fastest peer.  Needs the extra `bench`; peers that are not installed are
skipped.  Writes speed.json and speed.png (scaling.json and .png for --scaling).  Exit code 1 if
outputs differ.

A long run may be stopped and resumed: with --into FILE each row is written as it is measured, and
rows that FILE contains are not measured again.  --table FILE prints the rows of FILE.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from speed import peers

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "kernels"), str(ROOT / "weights")]

from sesr_ref.files import atomic_write  # noqa: E402
from speed.cases import NETWORKS, SIZES, Case  # noqa: E402
from speed.parts import PARTS  # noqa: E402
from speed.plots import draw  # noqa: E402
from speed.report import markdown, one_line  # noqa: E402
from speed.worker import Workers  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "speed.json"
PACKAGES = ("numpy", "numba", "openvino", "ai-edge-litert", "torch", "onnxruntime", "ncnn")
Report = dict[str, Any]


def main(argv: list[str] | None = None) -> int:
    """Measure, print and write; 1 if outputs differ, 2 if FILE does not fit."""
    args = arguments(argv)
    try:
        if args.table:
            report = read(args.table)
            print(markdown(report, args.networks))
        else:
            report = measured(args)
    except AssertionError as error:
        print(f"outputs differ: {error}", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    for path in draw(report, args.plot):
        print(f"drawn: {path}", file=sys.stderr)
    return 0


def measured(args: argparse.Namespace) -> Report:
    """Measure every missing row, and write after each."""
    begun = time.perf_counter()
    report, args.scaled = opened(args), {}
    args.into.parent.mkdir(parents=True, exist_ok=True)
    with Workers() as args.workers:
        for part, case in missing(args, report):
            if time.perf_counter() - begun > args.stop_after:
                print("stopped; run the same command to resume")
                break
            row = case._asdict() | PARTS[part].measure(args, case)
            report.setdefault(part, []).append(row)
            write(args.into, report)
            print(one_line(part, row, report["peak_gflops"]), flush=True)
    print(f"{time.perf_counter() - begun:.0f} s; written to {args.into}")
    return report


def missing(args: argparse.Namespace, report: Report) -> Iterator[tuple[str, Case]]:
    """Parts and cases that were selected and have no row yet."""
    for part in args.parts:
        known = {Case(*(row[key] for key in Case._fields)) for row in report.get(part, ())}
        for case in PARTS[part].cases(args):
            if case not in known:
                yield part, case


def opened(args: argparse.Namespace) -> Report:
    """The report to resume, or a new one; ValueError if it was measured on another machine."""
    from speed.peak import peak_gflops

    here = machine()
    report: Report = {"machine": here, "peak_gflops": {}}
    if args.keep and args.into.exists():
        report = read(args.into)
    if differing := [key for key in here if report["machine"].get(key) != here[key]]:
        key = differing[0]
        raise ValueError(
            f"{args.into} was measured with {key} {report['machine'].get(key)}, but here it is "
            f"{here[key]}: a report must not mix figures of two machines"
        )
    for threads in map(str, args.threads):  # keep the highest: other load can only lower it
        before = report["peak_gflops"].get(threads, 0.0)
        report["peak_gflops"][threads] = round(max(before, peak_gflops(int(threads))), 1)
    return report


def machine() -> dict[str, Any]:
    """The machine and packages that the figures are valid for."""
    from sesr_kernels.machine.host import HOST

    return {
        "processor": processor(),
        "instructions": HOST.name,
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: v for name in PACKAGES if (v := installed_version(name))},
    }


def processor() -> str:
    """Name of the processor, as far as the system states it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def installed_version(package: str) -> str:
    """Version of a distribution; "" if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def read(path: Path) -> Report:
    """Read a report; ValueError if the file is not one."""
    report = json.loads(path.read_text())
    if not isinstance(report, dict) or "machine" not in report:
        raise ValueError(f"{path} is not a report of run_speed.py")
    return report


def write(path: Path, report: Report) -> None:
    """Write one row per line, so that changed figures show in a diff."""
    parts = [f'"{key}": {json.dumps(report[key])}' for key in ("machine", "peak_gflops")]
    for part in PARTS:
        if rows := report.get(part):
            parts.append(f'"{part}": [\n' + ",\n".join(map(json.dumps, rows)) + "\n]")
    with atomic_write(path, overwrite=True) as stream:
        stream.write(("{\n" + ",\n".join(parts) + "\n}\n").encode())


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--networks", nargs="+", choices=NETWORKS)
    add("--sizes", nargs="+", choices=SIZES)
    add("--threads", nargs="+", type=int)
    add("--parts", nargs="+", choices=PARTS, help="parts to measure (default: all but scaling)")
    add("--peers", nargs="+", choices=peers.PEERS, help="measure only these and this engine")
    add(
        "--without",
        nargs="+",
        choices=[*peers.ENGINE, *peers.PEERS][1:],
        default=[],
        help="candidates to skip",
    )
    add("--repeats", type=int, default=9, help="runs of candidates up to three times the fastest")
    add("--least", type=int, default=3, help="runs of every candidate, at least")
    add("--seconds", type=float, default=20, help="stop repeating a row after this long")
    add("--quick", action="store_true", help="only M5 at 960 x 540: under three minutes")
    add("--scaling", action="store_true", help="measure the time per pixel for many image sizes")
    add("--out", type=Path, default=Path("bench-output"), help="folder of a new report")
    add("--into", type=Path, metavar="FILE", help="report to start or to resume")
    add(
        "--stop-after",
        type=float,
        default=float("inf"),
        metavar="SECONDS",
        help="stop after this long",
    )
    add("--table", type=Path, nargs="?", const=RESULTS, metavar="FILE", help="report to print")
    add("--plot", type=Path, metavar="FILE", help="PNG to write for --table")
    return completed(parser.parse_args(argv))


def completed(args: argparse.Namespace) -> argparse.Namespace:
    """Fill in the defaults."""
    small = args.quick or args.scaling or args.table
    args.networks = args.networks or (["m5-x2"] if small else list(NETWORKS))
    args.sizes = args.sizes or (["540p"] if small else list(SIZES))
    args.threads = args.threads or ([min(2, os.cpu_count() or 1)] if small else [1, 2])
    args.parts = args.parts or (
        ["scaling"] if args.scaling else [part for part in PARTS if part != "scaling"]
    )
    wanted = peers.ENGINE.keys() | (args.peers or peers.PEERS.keys())
    args.candidates = [name for name in peers.installed() if name in wanted - set(args.without)]
    args.keep = args.into is not None
    args.into = args.into or args.out / ("scaling.json" if args.scaling else "speed.json")
    if not args.table:
        args.plot = args.into.with_suffix(".png")
    return args


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that the workers exit too
    sys.exit(main())
