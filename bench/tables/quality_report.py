"""Scores beside the paper's: rows of tables, Markdown, Figure 1(a)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sesr_ref.evaluate import Score
from sesr_ref.shipped import shipped
from tables.macs_tables import TABLES
from tables.paper import CITED, CROPS, SCORES, Cell

Results = dict[str, dict[str, Score]]
"""Method: test set: score."""
NAME = re.compile(r"(?:(sesr-(?:m\d+|xl))-x\d(-npu)?|(fsrcnn)-x\d|bicubic)")


FLOAT_LOW = ", float LR"
"""Behind a method whose low-resolution images were not rounded to 8 bit."""


def paper_row(name: str) -> str:
    """Row of the paper's tables beside which a network is read; "" if there is none."""
    match = NAME.fullmatch(name.removesuffix(FLOAT_LOW))
    if match is None:
        return ""
    if match[1]:
        return match[1].upper()
    return "FSRCNN, their set-up" if match[3] else "Bicubic"


def is_variant(name: str) -> bool:
    """Whether a network differs from the one of its row: the hardware variant."""
    return name.removesuffix(FLOAT_LOW).endswith("-npu")


def cell(score: Score | None, digits: int = 2) -> str:
    """``37.39/.9585``."""
    return printed(None if score is None else (score.psnr_db, score.ssim), digits)


def printed(entry: Cell, digits: int = 2) -> str:
    """The paper's cell, written the same way."""
    if entry is None:
        return "-"
    ssim = "-" if entry[1] is None else f"{entry[1]:.4f}".replace("0.", ".", 1)
    return f"{entry[0]:.{digits}f}/{ssim}"


def digits_for(name: str) -> int:
    """Decimals of a set's scores: the paper has two, others were measured here and elsewhere."""
    return 3 if name == CROPS else 2


def rows_for(upscale: int, results: Results, sets: list[str]) -> list[tuple[str, ...]]:
    """The paper's rows, each followed by ours where there are some."""
    rows = []
    for model, cells in SCORES[upscale].items():
        rows.append((f"{model} (paper)", *(printed(cells.get(name)) for name in sets)))
        rows += [_row(name, results, sets) for name in results if paper_row(name) == model]
    for model, cells in CITED.get(upscale, {}).items():
        if cells.keys() & set(sets):
            cited = (printed(cells.get(name), digits_for(name)) for name in sets)
            rows.append((f"{model} (cited, measured elsewhere)", *cited))
    others = [name for name in results if paper_row(name) not in SCORES[upscale]]
    return rows + [_row(name, results, sets) for name in others]


def _row(name: str, results: Results, sets: list[str]) -> tuple[str, ...]:
    return (f"  {name}", *(cell(results[name].get(s), digits_for(s)) for s in sets))


def markdown(upscale: int, results: Results, sets: list[str], suffix: str = "") -> str:
    """docs/scores.md's table: the paper's rows of which there is one of ours, and ours.

    Parameters
    ----------
    upscale : int
        The enlargement.
    results : dict
        What was scored.
    sets : list of str
        Columns.
    suffix : str
        Behind the name of each network here, such as ", self-ensemble".

    Returns
    -------
    str
    """
    lines: list[tuple[str, ...]] = []
    thousands = {row.model: f"{row.parameters:.2f} K" for row in TABLES[upscale]}
    for model, cells in SCORES[upscale].items():
        ours = [name for name in results if paper_row(name) == model]
        if ours:
            title, _, note = model.replace("Bicubic", "bicubic").partition(", ")
            text = f"{title}, paper" + (f" ({note})" if note else "")
            paper = (printed(cells.get(name)) for name in sets)
            lines.append((text, thousands.get(model, "-"), *paper))
        for name in ours:
            scores = (cell(results[name].get(s), digits_for(s)) for s in sets)
            lines.append((_title(title, name, suffix), thousands.get(model, "-"), *scores))
    head = ["| " + " | ".join((f"x{upscale}", "parameters", *sets)) + " |"]
    head.append("|---" * (len(sets) + 2) + "|")
    return "\n".join([*head, *(f"| {' | '.join(line)} |" for line in lines)])


def _title(title: str, name: str, suffix: str) -> str:
    suffix += FLOAT_LOW if name.endswith(FLOAT_LOW) else ""
    name = name.removesuffix(FLOAT_LOW)
    if name == "bicubic":
        return f"bicubic, here{suffix}"
    variant = " for NPUs (ReLU, no input residual)" if is_variant(name) else ""
    recipe = shipped().get(name, {}).get("recipe")
    note = ""
    if recipe:
        note = f" ({_length(recipe)}{_how(recipe['command'])})"
    return f"**{title}{variant}, here{suffix}**{note}"


def _length(recipe: Mapping[str, Any]) -> str:
    """How long a network was trained: all its stages' pixels, or the steps of its one run."""
    if "stages" in recipe:
        return f"{recipe['pixels'] / 1e9:.1f} Gpx"
    return f"{recipe['steps']:,} steps".replace(",", " ")


def _how(command: str) -> str:
    """What a run left out, and began with: a network at x2, or weights of its own."""
    without = ", no short residuals" if "--no-short-residuals" in command else ""
    if "--start-from" not in command:
        return without
    return without + (", from x2" if "--upscale 4" in command else ", after a first run")


SESR, OTHERS = "SESR, paper", "others, as the paper prints them"
COLOURS = {SESR: "C0", OTHERS: "0.6"}
BELOW = ("BTSRN", "FSRCNN, their set-up")
"""Models whose label would hide another's."""


def draw(path: Path, upscale: int, results: Results) -> None:
    """Figure 1(a): PSNR on Set14 against MACs, 360p to 720p; ours below or above the paper's."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    macs = {row.model: row.macs for row in TABLES[upscale]}
    paper = {model: cells["Set14"] for model, cells in SCORES[upscale].items() if model in macs}
    at = {model: (macs[model], entry[0]) for model, entry in paper.items() if entry}
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    for model, point in at.items():
        kind = SESR if model.startswith("SESR") else OTHERS
        axes.semilogx(*point, "o", color=COLOURS[kind])
        place = (-5, 3) if kind == SESR else (5, -10) if model in BELOW else (5, 3)
        side = "right" if kind == SESR else "left"
        axes.annotate(model, point, place, textcoords="offset points", size=8, ha=side)
    for name, scores in results.items():
        aside = is_variant(name) or name.endswith(FLOAT_LOW)
        if (model := paper_row(name)) in at and "Set14" in scores and not aside:
            ours = scores["Set14"].psnr_db
            axes.plot(2 * [macs[model]], [at[model][1], ours], ":", color="C3")
            axes.plot(macs[model], ours, "*", color="C3", markersize=12)
    for kind, colour in COLOURS.items():
        axes.plot([], [], "o", color=colour, label=kind)
    axes.plot([], [], ":*", color="C3", markersize=12, label="weights shipped here")
    ticks = [t for t in (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500) if t > 0.7 * min(macs.values())]
    axes.set(
        xlabel="multiply-accumulates for 1280 x 720 / G",
        ylabel="PSNR on Set14 (Y) / dB",
        title=f"Figure 1(a), x{upscale}",
        xticks=ticks,
        xticklabels=[f"{t:g}" for t in ticks],
        xlim=(0.5 * min(macs.values()), 1500),
    )
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=100)
    plt.close(figure)
