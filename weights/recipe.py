"""What a training run says of itself, as the manifest states it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sesr_ref.train.optimiser import Recipe

PACKAGE = "sesr_weights"


def recipe_of(run: Path, weights: str = "weights.npz") -> dict[str, Any]:
    """Command, data, seed, steps, pixels and hours of a run.

    Parameters
    ----------
    run : Path
        The ``--out`` of ``sesr-ref train``.
    weights : str
        ``"best.npz"`` for the step that scored best while training, else the last one.

    Returns
    -------
    dict

    Raises
    ------
    OSError
        If run.json, or both checkpoint.npz and log.jsonl are missing.
    ValueError
        If one is damaged.
    """
    facts = json.loads((run / "run.json").read_text("utf-8"))
    meta = _meta(run, facts["command"])
    scored = [row for row in meta["log"] if row["psnr_db"] is not None]
    best = max(scored, key=lambda row: row["psnr_db"]) if scored else None
    step = best["step"] if best and weights == "best.npz" else meta["step"]
    return {
        "command": public_command(facts["command"]),
        "engine": facts["engine"],
        "hours": round(facts["hours"] + _hours_since(run, weights), 3),
        "steps": step,
        "seed": meta["recipe"]["seed"],
        "pixels": pixels_of(facts["command"], step),
        "data": _sets(facts["command"]) | meta["data"],
    }


def _meta(run: Path, command: str) -> dict[str, Any]:
    """What the checkpoint says, or where a run has none any more its command and its log."""
    if (run / "checkpoint.npz").exists():
        with np.load(run / "checkpoint.npz") as checkpoint:
            meta: dict[str, Any] = json.loads(checkpoint["meta"].tobytes())
        return meta
    lines = (run / "log.jsonl").read_text("utf-8").splitlines()
    log = [json.loads(line) for line in lines]
    seed = _options(shlex.split(command)).get("--seed", ["0"])
    return {"log": log, "step": log[-1]["step"], "recipe": {"seed": int(seed[0])}, "data": {}}


def _hours_since(run: Path, weights: str) -> float:
    """Hours that run.json does not know of, being written when a run ends: it goes on again."""
    later = (run / weights).stat().st_mtime - (run / "run.json").stat().st_mtime
    return max(0.0, later / 3600)


def public_command(command: str) -> str:
    """Write a command with this project's names for private paths, repeated options once."""
    words = shlex.split(command)
    start = next((i for i, word in enumerate(words) if word.startswith("--")), len(words))
    public = [*words[:start]]
    for option, values in _options(words[start:]).items():
        if option == "--cache":  # changes nothing but where prepared images lie
            continue
        public += [option, *(PATHS[option](Path(v)) if option in PATHS else v for v in values)]
    return shlex.join(public)


def _start(path: Path) -> str:
    if path.parent.name in {PACKAGE, ""}:  # shipped weights, or their name
        return path.stem if path.suffix == ".npz" else path.name
    return f"runs/{path.parent.name}/{path.name}"


# what stands in the manifest for a path
PATHS: dict[str, Callable[[Path], str]] = {
    "--data": lambda path: f"data/{path.name}",
    "--val": lambda path: f"data/{path.name}",
    "--out": lambda path: f"runs/{path.name}",
    "--start-from": _start,
}


def _options(words: list[str]) -> dict[str, list[str]]:
    options: dict[str, list[str]] = {}
    current: list[str] = []
    for word in words:
        if word.startswith("--"):
            option, equals, value = word.partition("=")
            options.pop(option, None)
            current = options[option] = [value] if equals else []
        else:
            current.append(word)
    return options


def pixels_of(command: str, steps: int) -> int:
    """Low-resolution pixels that a run has seen, as far as its command tells.

    Parameters
    ----------
    command : str
        Of ``sesr-ref train``.
    steps : int
        Done.

    Returns
    -------
    int
    """
    options = _options(shlex.split(command))
    batch, crop = (
        int(options.get(f"--{key}", [getattr(Recipe, key)])[0]) for key in ("batch", "crop")
    )
    return steps * batch * crop**2


def _sets(command: str) -> dict[str, Any]:
    """Names of the folders that the run learnt from, where they still lie."""
    (name,) = _options(shlex.split(command)).get("--data", [""])
    folder = Path(name)
    if not (name and folder.is_dir()):
        return {}
    return {"sets": sorted(path.name for path in folder.iterdir() if path.is_dir())}
