"""OUT/run.json: the commands of a training, the engines that ran it, and how long it took."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sesr_ref.commands.console import notice
from sesr_ref.files import atomic_write
from sesr_ref.train.checkpoint import described

HOURS = ("hours", "cpu_hours")
NOTEWORTHY_HOURS = 1e-4


EVERY_SECONDS = 60.0
"""Interval at which run.json is written during a run: at most so much of a killed run is lost."""


@contextmanager
def recorded(
    out: Path,
    engine: str,
    words: Sequence[str],
    change: Mapping[str, Any] | None = None,
    ranks: int = 1,
) -> Iterator[Callable[[], None]]:
    """Record the part of a run that the block trains, even if it fails; nothing if it is empty.

    Parameters
    ----------
    out : Path
        Folder of the run.
    engine : str
        Name of the engine.
    words : sequence of str
        The command without the program's name.
    change : mapping, optional
        Change of the run's length, if this part makes one.
    ranks : int
        Processes that train together; the hours are this one's.

    Yields
    ------
    function
        Call it during the work.
    """
    earlier, before, first = _parts(out), _stamp(out), _step(out)
    begun, cpu_begun = time.monotonic(), time.process_time()
    words = [word for word in words if word not in {"--resume", "--mpi"}]  # of a part, not the run
    command = shlex.join(["sesr-ref", *words])
    written: float | None = None

    def write() -> None:
        nonlocal written
        written = time.monotonic()
        part = {
            "command": command,
            "engine": engine,
            "hours": (written - begun) / 3600,
            "cpu_hours": (time.process_time() - cpu_begun) / 3600,
            "steps": _step(out) - first,
        }
        part |= {"ranks": ranks} if ranks > 1 else {}
        _write(out, [*earlier, part | ({"length": dict(change)} if change else {})])

    def tick() -> None:
        if written is None or time.monotonic() - written > EVERY_SECONDS:
            write()

    try:
        yield tick
    finally:
        hours = (time.monotonic() - begun) / 3600
        missing = not (out / "run.json").is_file()
        if out.is_dir() and (hours > NOTEWORTHY_HOURS or missing or _stamp(out) != before):
            write()


def _step(out: Path) -> int:
    step = described(out / "checkpoint.npz").get("step", 0)
    return step if isinstance(step, int) else 0


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


def stored_words(out: Path) -> list[str]:
    """Read the options of the last part of a run.

    Parameters
    ----------
    out : Path
        Folder of the run.

    Returns
    -------
    list of str
        Without the names of the program and the command.

    Raises
    ------
    OSError
        If there is no run.json.
    ValueError
        If it does not state a command of ``sesr-ref train``.
    """
    path = out / "run.json"
    path.read_bytes()
    command = (_parts(out) or [{}])[-1].get("command")
    words = shlex.split(command) if isinstance(command, str) else []
    if words[:2] != ["sesr-ref", "train"]:
        raise ValueError(f"{path} does not state a command of sesr-ref train")
    return words[2:]


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
