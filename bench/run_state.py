"""The effect of storing a run's state as float16: python bench/run_state.py RUN NAME --data --val.

Resumes the training of NAME from RUN's own checkpoint, from the stored state (weights/states) and
from its weights without moments, with the same batches and learning rates, and prints the PSNR on
VAL of the weights themselves (no moving average) after some steps.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

import sesr_ref as sr
from sesr_ref.commands.console import print_table, progress
from sesr_ref.commands.models import add_engine_option, engine_named
from sesr_ref.evaluate import validation_psnr
from sesr_ref.ops.arrays import Array
from sesr_ref.ops.table import Ops
from sesr_ref.train.data import Pairs, training_pairs
from sesr_ref.train.optimiser import Adam, Recipe

sys.path.insert(0, str(Path(__file__).parents[1] / "weights"))

from state import read_state


def starts(run: Path, name: str, recipe: Recipe) -> dict[str, Adam]:
    """Optimisers in the states to compare."""
    params = sr.load(name)[1]
    with np.load(run / "checkpoint.npz") as file:
        exact: dict[str, Array] = {key: file[key] for key in file.files if key != "meta"}
    states = {
        "the run's checkpoint": exact,
        "weights and moments as stored": read_state(name)[1],
        "weights as stored, no moments": {},
    }
    adams = {what: Adam(params, recipe.amsgrad, recipe.average) for what in states}
    for what, state in states.items():
        adams[what].state |= {key: array.copy() for key, array in state.items()}
    return adams


def go_on(
    adam: Adam, net: sr.Network, pairs: Pairs, recipe: Recipe, steps: range, ops: Ops
) -> None:
    """Train through `steps` as `sesr_ref.train` does."""
    for step in steps:
        rng = np.random.default_rng([recipe.seed, step])
        x, target = pairs.batch(rng, recipe.batch, recipe.crop)
        _, dparams = sr.loss_and_grads(
            net, adam.params, x, target, ops, recipe.loss, recipe.log_share
        )
        adam.update(dparams, recipe.rate(step), step)


def main() -> int:
    """Train three times, print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    add: Any = parser.add_argument
    add("run", type=Path, metavar="RUN", help="folder of a run with its checkpoint")
    add("name", metavar="NAME", help="shipped name with a stored state")
    add("--data", type=Path, required=True, help="folder of the training images")
    add("--val", type=Path, required=True, help="folder of images: Kodak24")
    add("--cache", type=Path, required=True, help="folder for the prepared images")
    add("--parts", type=int, nargs="*", default=[1, 10, 100, 300], help="steps before each score")
    add_engine_option(parser)
    args = parser.parse_args()
    meta = read_state(args.name)[0]
    known = {field.name for field in fields(Recipe)}
    values = {key: value for key, value in meta["recipe"].items() if key in known}
    recipe = Recipe(**values | {"steps": 2 * meta["step"]})
    net, ops = sr.load(args.name)[0], engine_named(args.engine)
    validate = validation_psnr(args.val, net.upscale, ops)
    pairs = training_pairs(args.data, net.upscale, recipe.crop, args.cache)
    rows: list[tuple[str, ...]] = []
    with progress(3, "training") as update:
        for what, adam in starts(args.run, args.name, recipe).items():
            update(len(rows), what)
            scores, done = [validate(net, adam.params)], 0
            for part in args.parts:
                first = meta["step"]
                go_on(adam, net, pairs, recipe, range(first + done, first + part), ops)
                done = part
                scores.append(validate(net, adam.params))
            rows.append((what, *(f"{score:.3f}" for score in scores)))
    title = f"{args.name}, resumed at step {meta['step']}: PSNR on {args.val.name} / dB after steps"
    print_table(title, ("", "0", *map(str, args.parts)), rows)
    print(json.dumps({"learning_rate": recipe.rate(meta["step"])}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
