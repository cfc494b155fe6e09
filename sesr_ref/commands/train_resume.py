"""Going on with a training, and ending it early: ``--resume``, ``--finish``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sesr_ref.commands.console import notice
from sesr_ref.commands.run_record import stored_words
from sesr_ref.commands.train_options import add_arguments
from sesr_ref.params import load, save
from sesr_ref.train.checkpoint import described
from sesr_ref.train.optimiser import Recipe


def finish(out: Path) -> int:
    """Write a run's weights.npz from where its checkpoint stands."""
    checkpoint = out / "checkpoint.npz"
    net, params = load(checkpoint)
    step = described(checkpoint).get("step")
    save(out / "weights.npz", net, params)
    print(f"finished after {step} steps: {out / 'weights.npz'}")
    return 0


def with_stored(args: argparse.Namespace) -> argparse.Namespace:
    """The options that the run named by ``--resume`` began with, below those that are given.

    Parameters
    ----------
    args : Namespace
        As parsed, with the words that they were parsed from.

    Returns
    -------
    Namespace

    Raises
    ------
    OSError
        If there is no such run, or it has no run.json.
    ValueError
        If run.json is damaged.
    """
    out = Path(args.resume)
    resume = argparse.ArgumentParser(add_help=False)
    resume.add_argument("--resume", nargs="?")
    _, given = resume.parse_known_args(args.words[1:])
    words = [*stored_words(out), *given, "--out", str(out)]
    parser = argparse.ArgumentParser(prog="sesr-ref train")
    add_arguments(parser)
    options = parser.parse_args([*words, "--resume"])
    options.words = ["train", *words]
    return options


def steps_for(asked: int | None, before: dict[str, Any]) -> int:
    """What is asked for, else what a run that is resumed was meant to have, else the paper's."""
    return (_meant(before) or Recipe.steps) if asked is None else asked


def _meant(before: dict[str, Any]) -> int | None:
    """Steps that a checkpoint's run was meant to have, if it says so."""
    recipe = before.get("recipe")
    steps = recipe.get("steps") if isinstance(recipe, dict) else None
    return steps if isinstance(steps, int) else None


def other_length(before: dict[str, Any], recipe: Recipe) -> dict[str, int]:
    """What run.json says of a run that shall have another length now, with a word on its rates."""
    steps, step = _meant(before), before.get("step")
    if steps is None or steps == recipe.steps or not isinstance(step, int) or step > recipe.steps:
        return {}
    if recipe.schedule == "constant":
        notice(f"{recipe.steps} steps instead of {steps}: at a constant rate as if it always were")
    else:
        notice(
            f"{recipe.steps} steps instead of {steps}: from step {step} on the {recipe.schedule} "
            f"schedule is that of {recipe.steps} steps, the rate {recipe.rate(step):.3g}; the "
            "result is not that of one run"
        )
    return {"at_step": step, "steps_before": steps, "steps": recipe.steps}
