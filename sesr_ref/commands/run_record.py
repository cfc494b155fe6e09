"""OUT/run.json: the commands of a training, the engines that ran it, and how long it took."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sesr_ref.commands.console import notice
from sesr_ref.files import atomic_write
from sesr_ref.train.checkpoint import described

HOURS = ("hours", "cpu_hours")
NOTEWORTHY_HOURS = 1e-4


@contextmanager
def recorded(out: Path, engine: str) -> Iterator[None]:
    """Record the part of a run that the block trains, even if it fails; nothing if it is empty.

    Parameters
    ----------
    out : Path
        Folder of the run.
    engine : str
        Name of the engine.

    Yields
    ------
    None
    """
    before = _stamp(out)
    begun, cpu_begun = time.monotonic(), time.process_time()
    try:
        yield
    finally:
        hours = (time.monotonic() - begun) / 3600
        cpu_hours = (time.process_time() - cpu_begun) / 3600
        command = shlex.join(["sesr-ref", *sys.argv[1:]]).replace(" --resume", "")
        part = {"command": command, "engine": engine, "hours": hours, "cpu_hours": cpu_hours}
        missing = not (out / "run.json").is_file()
        if out.is_dir() and (hours > NOTEWORTHY_HOURS or missing or _stamp(out) != before):
            _write(out, [*_parts(out), part])


def _stamp(out: Path) -> int | None:
    path = out / "checkpoint.npz"
    return path.stat().st_mtime_ns if path.exists() else None


def _write(out: Path, parts: list[dict[str, Any]]) -> None:
    """Write the parts; the first one's command counts for the run, as others only resume it."""
    engines = dict.fromkeys(str(part.get("engine")) for part in parts)
    facts = {"command": parts[0].get("command"), "engine": ", ".join(engines)}
    totals = {key: sum(_number(part.get(key)) for part in parts) for key in HOURS}
    with atomic_write(out / "run.json") as stream:
        stream.write(json.dumps(facts | totals | {"runs": parts}, indent=2).encode())


def _parts(out: Path) -> list[dict[str, Any]]:
    """Read the earlier parts; files of older versions state the last command and total hours."""
    try:
        facts = json.loads((out / "run.json").read_text("utf-8"))
        parts = facts.get("runs", [{key: facts[key] for key in ("command", "engine")} | facts])
        return [dict(part) for part in parts]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def note_other_engine(out: Path, engine: str) -> None:
    """Print a notice if a run is resumed on another engine, which rounds differently.

    Parameters
    ----------
    out : Path
        Folder of the run.
    engine : str
        Name of the engine that resumes it.
    """
    meta = described(out / "checkpoint.npz")
    parts = _parts(out)
    recipe = meta.get("recipe")
    finished = isinstance(recipe, dict) and recipe.get("steps") == meta.get("step")
    before = meta.get("engine") or (parts[-1].get("engine") if meta and parts else engine)
    if before != engine and not finished:
        notice(
            f"resuming with --engine {engine} a run trained with {before}: the result will differ "
            "from that of an uninterrupted run"
        )
