"""How far the stages of the run book are: pixels, PSNR, hours done and left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import saved
from book import Book, is_held, log_of, read_json, steps_done
from plan import Stage
from sesr_ref.architectures import architecture
from sesr_ref.commands.console import print_json, print_table
from sesr_ref.counting import cost
from sesr_ref.shipped import shipped

SECONDS_PER_MAC = 32e-3 / (32 * 64 * 64 * 13520)
"""Of a training step, by its network's multiply-accumulates: as M5 takes on two cores."""


@dataclass(frozen=True)
class Row:
    """A stage's line; `psnr_db` is its last score, `shipped_db` that of the shipped weights."""

    stage: str
    state: str
    pixels: int
    planned_pixels: int
    psnr_db: float | None
    shipped_db: float | None
    hours: float
    hours_left: float


def rows_for(book: Book, stages: Sequence[Stage]) -> list[Row]:
    """A row for each stage."""
    rates = _rates(book)
    return [_row(book, stage, rates) for stage in stages]


def _row(book: Book, stage: Stage, rates: dict[str, float]) -> Row:
    folder, done = book.folder(stage), book.done(stage)
    seen = stage.pixels if done else min(stage.pixels, _pixels(book, stage))
    scores = [row["psnr_db"] for row in log_of(folder) if row["psnr_db"] is not None]
    rate = rates.get(stage.network) or rates[""] * _macs(stage.network)
    entry = shipped().get(stage.network, {})
    return Row(
        stage.key,
        state_of(book, stage),
        seen,
        stage.pixels,
        book.verdict(stage).get("psnr_db", scores[-1] if scores else None),
        entry.get("validation", {}).get("psnr_db"),
        _hours(book, stage),
        (stage.pixels - seen) * rate / 3600,
    )


def state_of(book: Book, stage: Stage) -> str:
    """A word or two for people."""
    if is_held(book.lock(stage)):
        return "running"
    if verdict := book.verdict(stage):
        return "shipped" if verdict["shipped"] else "done, not better"
    if book.done(stage):
        return "done"
    if book.begun(stage):
        return "stopped"
    if not book.anew and saved.described(stage):
        return "saved"
    return "waiting" if book.start_of(stage) is None else "ready"


def _pixels(book: Book, stage: Stage) -> int:
    step = steps_done(book.folder(stage))
    if not step and not book.anew:
        kept = saved.described(stage)
        step = stage.steps if kept.get("finished") else kept.get("checkpoint", {}).get("step", 0)
    return step * (stage.pixels // stage.steps)


def _parts(book: Book, stage: Stage) -> list[dict[str, Any]]:
    """Parts of a stage's run, each with its hours and steps."""
    try:
        facts = read_json(book.folder(stage) / "run.json", None)
    except ValueError:  # damaged: the run itself will say so
        return []
    facts = facts or (None if book.anew else saved.described(stage).get("run.json"))
    parts = [dict(part) for part in facts.get("runs", [facts])] if facts else []
    if len(parts) == 1:  # older versions did not state a part's steps
        parts[0].setdefault("steps", steps_done(book.folder(stage)))
    return parts


def _hours(book: Book, stage: Stage) -> float:
    return float(sum(part["hours"] for part in _parts(book, stage)))


def _macs(network: str) -> float:
    """Multiply-accumulates for a low-resolution pixel."""
    net = architecture(network)
    assert net is not None
    return cost(net, 64, 64).macs / 64**2


def _rates(book: Book) -> dict[str, float]:
    """Seconds a pixel of each network with a run here; under "" those a multiply-accumulate."""
    seconds: dict[str, float] = {}
    pixels: dict[str, float] = {}
    for stage in book.stages:
        parts = [part for part in _parts(book, stage) if part.get("steps")]
        if parts:
            each = stage.pixels / stage.steps
            hours, steps = (sum(part[key] for part in parts) for key in ("hours", "steps"))
            seconds[stage.network] = seconds.get(stage.network, 0) + 3600 * hours
            pixels[stage.network] = pixels.get(stage.network, 0) + each * steps
    rates = {name: value / pixels[name] for name, value in seconds.items()}
    work = sum(pixels[name] * _macs(name) for name in rates)
    everything = sum(seconds[name] for name in rates)
    return rates | {"": everything / work if work else SECONDS_PER_MAC}


def print_status(book: Book, stages: Sequence[Stage], as_json: bool) -> int:
    """Print a table, or JSON."""
    rows = rows_for(book, stages)
    totals = {
        key: sum(getattr(row, key) for row in rows)
        for key in ("pixels", "planned_pixels", "hours", "hours_left")
    }
    if as_json:
        print_json({"stages": [vars(row) for row in rows], "totals": totals})
        return 0
    lines = [_cells(vars(row)) for row in rows]
    total = _cells({"stage": "all", "state": "", "psnr_db": None, "shipped_db": None} | totals)
    columns = ("stage", "state", "Gpx", "of", "dB", "shipped", "hours", "left")
    print_table("", columns, [*lines, total])
    return 0


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    score, before = ("-" if row[k] is None else f"{row[k]:.3f}" for k in ("psnr_db", "shipped_db"))
    return (
        row["stage"],
        row["state"],
        f"{row['pixels'] / 1e9:.2f}",
        f"{row['planned_pixels'] / 1e9:.2f}",
        score,
        before,
        f"{row['hours']:.2f}",
        f"{row['hours_left']:.2f}",
    )
