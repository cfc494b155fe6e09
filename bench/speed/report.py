"""How `run_speed.py` prints its rows: one line each, and Markdown tables for docs/speed.md."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from speed.cases import NETWORKS, SIZES

Row = dict[str, Any]
Report = dict[str, Any]
OURS, DIRECT = "sesr_ref fast", "sesr_ref direct"
ENGINE = "sesr_ref"
FEW = 3
"""For fewer runs than this, a median states their number."""


def fastest_peer(row: Row) -> tuple[str, float]:
    """Name of the fastest peer, and its time relative to this engine."""
    others = {name: t for name, t in row["ms"].items() if not name.startswith(ENGINE)}
    if not others:
        return "-", math.nan
    name = min(others, key=others.__getitem__)
    return name, others[name] / row["ms"][OURS]


def share(row: Row, peak: dict[str, float], name: str = OURS) -> str:
    """Share of the multiply-add peak, counted as direct convolutions."""
    if name not in row["ms"]:
        return ""
    return f"{row['gflop'] / (row['ms'][name] / 1e3) / peak[str(row['threads'])]:.0%}"


def one_line(part: str, row: Row, peak: dict[str, float]) -> str:
    """One line for a row, printed when it is measured."""
    label = f"{part}: {row['network']} {row['size']} {row['threads']} thread(s):"
    if "megabytes" in row:
        return f"{label} MB " + ", ".join(f"{k} {v}" for k, v in row["megabytes"].items())
    if "ns_per_pixel" in row:
        return f"{label} {row['ns_per_pixel']:.1f} ns a pixel"
    times = ", ".join(f"{name} {number(t)}" for name, t in row["ms"].items())
    name, times_as_fast = fastest_peer(row)
    of_peak = f", {share(row, peak)} of the peak" if "gflop" in row else ""
    return f"{label} ms {times}; {times_as_fast:.2f} times {name}{of_peak}"


def number(ms: float) -> str:
    """Milliseconds with three digits."""
    return f"{ms:.0f}" if ms >= 100 else f"{ms:.1f}"


def markdown(report: Report, networks: Sequence[str]) -> str:
    """Every table for which the report has rows; only `networks` are shown with all runtimes."""
    inference = in_order(report.get("inference", []))
    sections = [
        *_runtimes([row for row in inference if row["network"] in networks], report["peak_gflops"]),
        *_matrix(inference),
        *_training(report),
        *_memory(report),
        *_scaling(report),
        _measured_on(report["machine"]),
    ]
    return "\n\n".join(sections)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows of cells as Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _runtimes(rows: list[Row], peak: dict[str, float]) -> Iterator[str]:
    """A table with the milliseconds of every candidate."""
    if not rows:
        return
    names = list(dict.fromkeys(name for row in rows for name in row["ms"]))
    head = [
        "network, input, threads",
        *names,
        "against the fastest peer",
        "share of peak",
        "direct",
    ]
    yield table(
        head,
        [
            [
                f"{title(row['network'])}, {pixels(row['size'])}, {row['threads']}",
                *(number(row["ms"][name]) if name in row["ms"] else "" for name in names),
                f"{fastest_peer(row)[1]:.2f} x",
                share(row, peak),
                share(row, peak, DIRECT),
            ]
            for row in rows
        ],
    )


def _matrix(rows: list[Row]) -> Iterator[str]:
    """Tables of networks by sizes: milliseconds of this engine, ratio to the fastest peer."""
    for threads in sorted({row["threads"] for row in rows}, reverse=True):
        cells = {(r["network"], r["size"]): _cell(r) for r in rows if r["threads"] == threads}
        networks = list(dict.fromkeys(network for network, _ in cells))
        sizes = [size for size in SIZES if any(size == s for _, s in cells)]
        head = [f"{threads} thread{'s' * (threads > 1)}", *map(pixels, sizes)]
        yield table(head, [[title(n), *(cells.get((n, s), "") for s in sizes)] for n in networks])


def _cell(row: Row) -> str:
    name, ratio = fastest_peer(row)
    few = f" ({runs} run{'s' * (runs > 1)})" if (runs := row["runs"][OURS]) < FEW else ""
    return f"{number(row['ms'][OURS])}, {ratio:.2f} x {name}{few}"


def _training(report: Report) -> Iterator[str]:
    """Tables with the milliseconds of a step and the megabytes of a process."""
    rows = sorted(report.get("training", []), key=lambda row: -row["threads"])
    memory = {row["threads"]: row["megabytes"] for row in report.get("training_memory", [])}
    for row in rows:
        head = [
            "training step, " + f"{row['threads']} thread{'s' * (row['threads'] > 1)}",
            *row["ms"],
        ]
        lines = [["ms", *(number(t) for t in row["ms"].values())]]
        if found := memory.get(row["threads"]):
            lines.append(["MB, whole process", *(str(found.get(name, "")) for name in row["ms"])])
        yield table(head, lines)


def _memory(report: Report) -> Iterator[str]:
    for row in report.get("memory", []):
        head = [f"MB, whole process: {title(row['network'])}, {pixels(row['size'])}"]
        yield table([*head, *row["megabytes"]], [["", *map(str, row["megabytes"].values())]])


def _scaling(report: Report) -> Iterator[str]:
    for threads, rows in by_threads(report.get("scaling", [])):
        head = ["megapixels of input", *(f"{row['megapixels']:.2f}" for row in rows), "extremes"]
        label = f"ns a pixel, {threads} thread{'s' * (threads > 1)}"
        yield table(
            head,
            [
                _per_pixel(f"{label}, call after call", [row["ns_per_pixel"] for row in rows]),
                _per_pixel("one call after a pause", [row["ns_per_pixel_alone"] for row in rows]),
            ],
        )


def _per_pixel(label: str, values: list[float]) -> list[str]:
    return [label, *(f"{value:.1f}" for value in values), f"{max(values) / min(values):.2f}"]


def _measured_on(machine: dict[str, Any]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return (
        f"{machine['processor']}, {machine['processors']} processors, {machine['instructions']}; "
        f"Python {machine['python']}, {packages}."
    )


def by_threads(rows: list[Row]) -> list[tuple[int, list[Row]]]:
    """Rows grouped by their number of threads."""
    counts = sorted({row["threads"] for row in rows})
    return [(count, [row for row in rows if row["threads"] == count]) for count in counts]


def in_order(rows: list[Row]) -> list[Row]:
    """Sort by threads, the most first, then by network and size in the order of their lists."""
    networks, sizes = list(NETWORKS), list(SIZES)
    return sorted(
        rows,
        key=lambda r: (-r["threads"], networks.index(r["network"]), sizes.index(r["size"])),
    )


def title(network: str) -> str:
    """Name of a network for tables: M5 x2."""
    return (
        network.replace("-", " ").replace("fsrcnn", "FSRCNN").replace("xl", "XL").replace("m", "M")
    )


def pixels(size: str) -> str:
    """Width x height."""
    height, width = SIZES.get(size, (0, 0))
    return f"{width} x {height}" if height else size
