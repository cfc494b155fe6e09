"""The model of a command whose jobs may be done elsewhere: workers load it by its name."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

from sesr_ref.commands.integers import load_runnable
from sesr_ref.commands.models import Foreign, foreign
from sesr_ref.evaluate import Model
from sesr_ref.files import sha256_of
from sesr_ref.shipped import shipped

MOST_LOADED = 4
"""Models that a worker keeps for its next jobs."""


@dataclass(frozen=True)
class Choice:
    """What the options choose; the fields but the last are as `load_runnable` takes them.

    `sha256` is that of the model's file; "" for a shipped one.
    """

    name: str | None
    upscale: int | None
    engine: str
    arithmetic: str | None
    other: Foreign
    sha256: str

    def loaded(self) -> Model:
        """Load the model, unless this process has it.

        Returns
        -------
        Model

        Raises
        ------
        OSError
            As `load_runnable`.
        ValueError
            As `load_runnable`, or if the file is not the one that was chosen.
        """
        if self not in _LOADED:
            if self.name and self.sha256 and sha256_of(Path(self.name)) != self.sha256:
                raise ValueError(f"{self.name} is not the file that it was: begin again")
            rest = self.upscale, self.engine, self.arithmetic, self.other
            _keep(self, load_runnable(self.name, *rest))
        return _LOADED[self]


_LOADED: dict[Choice, Model] = {}


def _keep(choice: Choice, model: Model) -> None:
    if len(_LOADED) >= MOST_LOADED:
        _LOADED.clear()
    _LOADED[choice] = model


def chosen(args: argparse.Namespace) -> Choice:
    """What ``--model`` and its companions choose, for any worker, whatever its folder is.

    Parameters
    ----------
    args : Namespace
        With `model`, `upscale`, `engine`, `arithmetic` and the options of foreign files.

    Returns
    -------
    Choice
        With the engine that is used here.

    Raises
    ------
    OSError, ValueError
        As `Choice.loaded`.
    """
    name, sha256 = args.model, ""
    if name is not None and name not in shipped() and Path(name).is_file():
        name = str(Path(name).absolute())
        sha256 = sha256_of(Path(name))
    choice = Choice(name, args.upscale, args.engine, args.arithmetic, foreign(args), sha256)
    model = choice.loaded()
    settled = replace(choice, engine=model.ops.name)
    _keep(settled, model)
    return settled
