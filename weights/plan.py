"""The run book's plan, weights/plan.toml: a line for each stage of a network's training."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sesr_ref.commands.train_work import options_of
from sesr_ref.extras import need

PLAN = Path(__file__).parent / "plan.toml"
__all__ = ["PLAN", "Stage", "options_of", "read_plan"]

FIELDS = ("network", "stage", "recipe", "pixels", "seed", "start")


@dataclass(frozen=True)
class Stage:
    """One training of one network.

    Parameters
    ----------
    network, name : str
        Whose, under the name that it is shipped by; and the stage's, such as ``"long"``.
    words : tuple of str
        Options of ``sesr-ref train`` that say what is trained and how, its length left out.
    steps, pixels : int
        Its length, and the low-resolution pixels that it sees.
    seed : int
        Of its batches.
    start : str
        What it starts from: a stage of the plan (NETWORK/STAGE), a shipped name, a file, or
        nothing for fresh weights.
    """

    network: str
    name: str
    words: tuple[str, ...]
    steps: int
    pixels: int
    seed: int
    start: str

    @property
    def key(self) -> str:
        """NETWORK/STAGE, its name in the plan."""
        return f"{self.network}/{self.name}"

    @property
    def folder(self) -> str:
        """Name of its run's folder."""
        return f"{self.network}-{self.name}"


def read_plan(path: Path = PLAN) -> list[Stage]:
    """Read the stages of a plan, the first one to be trained first.

    Parameters
    ----------
    path : Path
        Such as weights/plan.toml, which explains its form.

    Returns
    -------
    list of Stage

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is no plan, with the line that is wrong.
    """
    try:
        content = _parsed(path.read_text("utf-8"))
        stages: list[Stage] = []
        for line in content["book"]["stages"]:
            stages.append(_stage(line, content, stages))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else error
        raise ValueError(f"{path}: {what}") from None
    return stages


def _parsed(text: str) -> dict[str, Any]:
    package = "tomllib" if sys.version_info >= (3, 11) else "tomli"
    content: dict[str, Any] = need(package, "all", "plans on Python 3.10").loads(text)
    return content


def _stage(line: Mapping[str, Any], content: Mapping[str, Any], above: list[Stage]) -> Stage:
    if unknown := set(line) - set(FIELDS):
        raise ValueError(f"a stage has no {sorted(unknown)[0]!r}, only {', '.join(FIELDS)}")
    key = f"{line['network']}/{line['stage']}"
    if key in {stage.key for stage in above}:
        raise ValueError(f"{key} is planned twice")
    recipes = content["recipes"]
    texts = (recipes["usual"], content["networks"][line["network"]], recipes[line["recipe"]])
    words = tuple(shlex.split(" ".join(texts)))
    try:
        options = options_of(words)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None
    each = options.batch * options.crop**2
    steps = max(1, round(line["pixels"] / each))
    start = line["start"] if "start" in line else _above(line["network"], key, above)
    return Stage(
        line["network"], line["stage"], words, steps, steps * each, int(line["seed"]), start
    )


def _above(network: str, key: str, above: list[Stage]) -> str:
    if not above or above[-1].network != network:
        raise ValueError(f"{key} needs a start: the line above it is of another network")
    return above[-1].key
