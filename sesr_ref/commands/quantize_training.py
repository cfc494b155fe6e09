"""``sesr-ref quantize --qat``: train a network on the grids that its integers will have."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sesr_ref.commands.console import notice, progress
from sesr_ref.commands.training import pairs_of, reporter, threads
from sesr_ref.evaluate import IntegerModel
from sesr_ref.evaluate.validation import validation_of
from sesr_ref.integers import Quantization
from sesr_ref.limits import check
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Params
from sesr_ref.ops.table import Ops
from sesr_ref.train.loop import check_folder
from sesr_ref.train.optimiser import Recipe
from sesr_ref.train.quantized import Quantized, Taught, train_quantized

RECIPE = Recipe(
    steps=4000, batch=16, crop=32, lr=3e-4, schedule="cosine", warmup=100, average=0.995
)
"""A few minutes of one core for the paper's M5."""


def add_training_options(group: Any) -> None:
    """Options that belong to ``--qat``."""
    group.add_argument("--qat", action="store_true", help="train on the grids; needs --data")
    group.add_argument("--data", type=Path, help="folder of training images")
    group.add_argument(
        "--training", type=Path, metavar="DIR", help="folder of the training (default: OUT.qat)"
    )
    group.add_argument("--resume", action="store_true", help="go on from its checkpoint")
    group.add_argument(
        "--teacher",
        action="store_true",
        help="learn the network's own results instead of the originals",
    )
    group.add_argument("--val", type=Path, help="folder of images to score the integers on")
    texts = {
        "steps": "in all",
        "batch": "crops a step",
        "crop": "low-resolution pixels a side",
        "lr": "peak learning rate",
        "seed": "of every batch",
        "checkpoint_every": "steps",
        "validate_every": "steps",
    }
    for key, text in texts.items():
        default = getattr(RECIPE, key)
        group.add_argument(
            f"--{key.replace('_', '-')}",
            type=type(default),
            default=default,
            metavar="N",
            help=f"{text} ({default})",
        )
    group.add_argument("--threads", type=int, metavar="N", help="threads of NumPy and the kernels")
    group.add_argument("--cache", type=Path, help="folder for the prepared images")


def trained(
    args: argparse.Namespace, net: Network, params: Params, q: Quantization, ops: Ops
) -> tuple[Quantized, Params]:
    """Train as the options ask for.

    Parameters
    ----------
    args : Namespace
        As parsed.
    net, params, q
        The network and where its grids start.
    ops : Ops
        The implementation.

    Returns
    -------
    quantized, params
        As `train_quantized`.

    Raises
    ------
    ValueError
        If ``--data`` is missing, and as `train_quantized` does.
    """
    check(args.data is not None, "--data", "given with --qat", None)
    recipe = _recipe(args)
    out = args.training or args.out.with_suffix(".qat")
    check_folder(out, args.resume)
    pairs = pairs_of(args.data, net, recipe.crop, recipe.low, args.cache, out)
    if args.teacher:
        pairs = Taught.by(pairs, net, params, ops)
    score = _score(args.val, net, ops) if args.val else None
    with threads(args.threads, ops), progress(recipe.steps, "training") as update:
        result = train_quantized(
            net,
            params,
            q,
            pairs,
            out,
            recipe,
            score=score,
            ops=ops,
            resume=args.resume,
            report=reporter(update),
        )
    notice(f"the training is in {out}")
    return result


def _recipe(args: argparse.Namespace) -> Recipe:
    given = {
        key: getattr(args, key)
        for key in ("steps", "batch", "crop", "lr", "seed", "checkpoint_every", "validate_every")
    }
    return Recipe(**{**vars(RECIPE), **given, "weight_bits": args.weight_bits})


def _score(folder: Path, net: Network, ops: Ops) -> Any:
    score = validation_of(folder, net.upscale)

    def of_integers(quantized: Quantized) -> float:
        net, iparams, q = quantized
        return score(IntegerModel(net, iparams, q, ops=ops))

    return of_integers
