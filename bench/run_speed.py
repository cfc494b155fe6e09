"""Speed and memory beside the runtimes its users would otherwise pick: python bench/run_speed.py.

Checks first that all outputs agree, then times them in turns: median, and how many times as fast
this engine is as the fastest peer.  Needs the extra `bench`; peers that are not installed are left
out.  Writes speed.json and speed.png (scaling.json and .png for --scaling).  Exit code 1 if outputs
differ.

A long run may be stopped and continued: with --into FILE each row is written as it is measured, and
what FILE holds is not measured again.  --table FILE prints what FILE holds.
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
    """Measure, print, write; 1 if outputs differ, 2 if FILE does not fit."""
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
    """Measure every row that is not there yet, and write after each."""
    begun = time.perf_counter()
    report, args.scaled = opened(args), {}
    args.into.parent.mkdir(parents=True, exist_ok=True)
    with Workers() as args.workers:
        for part, case in missing(args, report):
            if time.perf_counter() - begun > args.stop_after:
                print("stopped; the same command goes on from here")
                break
            row = case._asdict() | PARTS[part].measure(args, case)
            report.setdefault(part, []).append(row)
            write(args.into, report)
            print(one_line(part, row, report["peak_gflops"]), flush=True)
    print(f"{time.perf_counter() - begun:.0f} s; written to {args.into}")
    return report


def missing(args: argparse.Namespace, report: Report) -> Iterator[tuple[str, Case]]:
    """Parts and cases that are asked for and have no row."""
    for part in args.parts:
        known = {Case(*(row[key] for key in Case._fields)) for row in report.get(part, ())}
        for case in PARTS[part].cases(args):
            if case not in known:
                yield part, case


def opened(args: argparse.Namespace) -> Report:
    """What is continued, or a new report; ValueError if it was measured on something else."""
    from speed.peak import peak_gflops

    here = machine()
    report: Report = {"machine": here, "peak_gflops": {}}
    if args.keep and args.into.exists():
        report = read(args.into)
    if differing := [key for key in here if report["machine"].get(key) != here[key]]:
        key = differing[0]
        raise ValueError(
            f"{args.into} was measured with {key} {report['machine'].get(key)}, here it is "
            f"{here[key]}: figures of two machines do not belong into one table"
        )
    for threads in map(str, args.threads):  # the highest ever seen: others can only lower it
        before = report["peak_gflops"].get(threads, 0.0)
        report["peak_gflops"][threads] = round(max(before, peak_gflops(int(threads))), 1)
    return report


def machine() -> dict[str, Any]:
    """What the figures hold for."""
    from sesr_kernels.machine.host import HOST

    return {
        "processor": processor(),
        "instructions": HOST.name,
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: v for name in PACKAGES if (v := installed_version(name))},
    }


def processor() -> str:
    """Its name, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def installed_version(package: str) -> str:
    """Of a distribution; "" if it is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def read(path: Path) -> Report:
    """A report; ValueError if the file is none."""
    report = json.loads(path.read_text())
    if not isinstance(report, dict) or "machine" not in report:
        raise ValueError(f"{path} is no report of run_speed.py")
    return report


def write(path: Path, report: Report) -> None:
    """One row a line, so that a change of figures can be read."""
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
    add("--parts", nargs="+", choices=PARTS, help="all but scaling unless given")
    add("--peers", nargs="+", choices=peers.PEERS, help="only these (and this engine)")
    add("--without", nargs="+", choices=[*peers.ENGINE, *peers.PEERS][1:], default=[])
    add("--repeats", type=int, default=9, help="of those within three times the fastest")
    add("--least", type=int, default=3, help="repeats of every one")
    add("--seconds", type=float, default=20, help="no more repeats of a row after this long")
    add("--quick", action="store_true", help="M5 at 960 x 540: under three minutes")
    add("--scaling", action="store_true", help="time a pixel over image sizes")
    add("--out", type=Path, default=Path("bench-output"), help="folder of a new report")
    add("--into", type=Path, metavar="FILE", help="a report to begin or to continue")
    add("--stop-after", type=float, default=float("inf"), metavar="SECONDS")
    add("--table", type=Path, nargs="?", const=RESULTS, metavar="FILE", help="print it")
    add("--plot", type=Path, metavar="FILE", help="PNG of --table")
    return completed(parser.parse_args(argv))


def completed(args: argparse.Namespace) -> argparse.Namespace:
    """Fill in what was not said."""
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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that the workers end too
    sys.exit(main())
