"""Plots of the results of `run_speed.py`."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from speed.cases import SIZES
from speed.report import OURS, Report, Row, by_threads, in_order, pixels, title

TICKS = (1, 2, 3, 5, 10, 20)


def draw(report: Report, path: Path | None) -> list[Path]:
    """Write the plots for which the report has rows, and return their paths."""
    drawn = []
    if path is not None and report.get("inference"):
        drawn.append(_draw_inference(report["inference"], path))
    if path is not None and report.get("scaling"):
        drawn.append(_draw_scaling(report["scaling"], path.with_name("scaling.png")))
    return drawn


def _draw_inference(rows: list[Row], path: Path) -> Path:
    """Time of each runtime relative to this engine with the most threads, one panel per size."""
    plt = _pyplot()
    rows = in_order(by_threads(rows)[-1][1])
    sizes = [size for size in SIZES if any(row["size"] == size for row in rows)]
    networks = list(dict.fromkeys(row["network"] for row in rows))
    names = list(dict.fromkeys(name for row in rows for name in row["ms"]))
    size_inches = (3 * len(sizes) + 2, max(3.5, len(networks) / 3 + 1.5))
    figure, axes = plt.subplots(
        1, len(sizes), sharex=True, sharey=True, squeeze=False, figsize=size_inches
    )
    for size, panel in zip(sizes, axes[0], strict=True):
        own = [row for row in rows if row["size"] == size]
        for name, marker in zip(names, itertools.cycle("|ovs^D<>P")):
            found = [row for row in own if name in row["ms"]]
            times = [row["ms"][name] / row["ms"][OURS] for row in found]
            places = [networks.index(row["network"]) for row in found]
            panel.plot(times, places, marker, label=name, alpha=0.8)
        panel.set_xscale("log")
        panel.set_xticks(TICKS, map(str, TICKS))
        panel.set_xticks([], minor=True)
        panel.set_title(pixels(size))
        panel.grid(axis="x", alpha=0.3)
    axes[0][0].set_yticks(range(len(networks)), map(title, networks))
    axes[0][0].invert_yaxis()
    figure.supxlabel(f"times as long as {OURS} (median, {rows[0]['threads']} threads)")
    axes[0][-1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return _saved(figure, path)


def _draw_scaling(rows: list[Row], path: Path) -> Path:
    """Nanoseconds per pixel over megapixels: call after call, and one call after a pause."""
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(5, 3.5))
    for threads, own in by_threads(rows):
        across = [row["megapixels"] for row in own]
        label = f"{threads} thread{'s' * (threads > 1)}"
        (line,) = axes.plot(across, [row["ns_per_pixel"] for row in own], "o-", label=label)
        alone = [row["ns_per_pixel_alone"] for row in own]
        axes.plot(across, alone, ":", color=line.get_color(), label=f"{label}, after a pause")
    axes.set(xscale="log", xlabel="megapixels of input", ylabel="ns a pixel", ylim=(0, None))
    axes.legend()
    return _saved(figure, path)


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    return plt


def _saved(figure: Any, path: Path) -> Path:
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    return path
