"""Options of ``sesr-ref train``: what they are, and what network and recipe they come to."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Collection
from dataclasses import fields
from pathlib import Path
from typing import Any

from sesr_ref.architectures import architecture, fsrcnn, is_architecture, options_of, sesr
from sesr_ref.architectures.blocks import BLOCKS
from sesr_ref.architectures.options import ACTIVATIONS
from sesr_ref.commands.models import add_engine_option, described
from sesr_ref.evaluate.enlarge import SPACES
from sesr_ref.limits import check
from sesr_ref.network import Network
from sesr_ref.train.optimiser import CHOICES, Recipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``sesr-ref train``."""
    parser.add_argument("--data", type=Path, help="folder of training images")
    parser.add_argument("--out", type=Path, help="folder for what the run writes")
    parser.add_argument("--val", type=Path, help="folder of images that choose best.npz")
    parser.add_argument(
        "--cache",
        type=Path,
        help="folder for the prepared images (one for each data set in the user's cache folder)",
    )
    parser.add_argument(
        "--resume",
        nargs="?",
        const=True,
        default=False,
        metavar="RUN",
        help="go on from OUT/checkpoint.npz; RUN alone: with the options that it began with, but "
        "those that are given",
    )
    parser.add_argument(
        "--finish", type=Path, metavar="RUN", help="write RUN/weights.npz from its checkpoint now"
    )
    parser.add_argument(
        "--start-from", metavar="MODEL", help="transfer its fitting parameters (x2 to x4)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="threads of NumPy and the kernels")
    parser.add_argument(
        "--mpi", action="store_true", help="train one network by all processes of mpiexec"
    )
    add_engine_option(parser)
    _add_network_options(parser.add_argument_group("network"))
    _add_recipe_options(parser.add_argument_group("recipe"))


NETWORK_OPTIONS = (
    "blocks",
    "features",
    "expand",
    "block",
    "activation",
    "block_bias",
    "input_residual",
    "short_residuals",
    "linear_blocks",
)
"""None unless given, so that what an architecture does not have is not ignored in silence."""
FAMILIES: dict[str, Callable[..., Network]] = {"sesr": sesr, "fsrcnn": fsrcnn}


def _add_network_options(group: Any) -> None:
    which = group.add_mutually_exclusive_group()
    which.add_argument(
        "--network",
        metavar="NAME|FILE.json",
        help="architecture by name (sesr-ref info --architectures) or a network description; one "
        "on RGB learns from RGB, others from Y",
    )
    which.add_argument("--architecture", choices=FAMILIES, default="sesr", help="(sesr)")
    group.add_argument("--blocks", type=int, help="3 x 3 blocks, the paper's m (5)")
    group.add_argument("--features", type=int, help="channels, the paper's f (16)")
    group.add_argument(
        "--upscale",
        type=int,
        help="2 (default), 4, 8 or another power of two; FSRCNN: 1 to 9; --network states its own",
    )
    group.add_argument("--expand", type=int, help="channels in a block, p (256)")
    group.add_argument(
        "--block", choices=("sesr", *BLOCKS), help="what SESR's 3 x 3 blocks are trained as (sesr)"
    )
    group.add_argument("--activation", choices=sorted(ACTIVATIONS), help="(prelu)")
    group.add_argument("--block-bias", choices=("none", "true"), help="biases of blocks (none)")
    for name, text in (
        ("input-residual", "the input is added to the output (default)"),
        ("short-residuals", "residuals over the 3 x 3 blocks (default); without: ExpandNets"),
        ("linear-blocks", "linear blocks (default); without: plain convolutions"),
    ):
        group.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, help=text)


def _add_recipe_options(group: Any) -> None:
    group.add_argument("--steps", type=int, metavar="N", help=f"in all ({Recipe.steps})")
    texts = {
        "batch": "crops a step (32)",
        "crop": "low-resolution pixels a side (64)",
        "lr": "peak learning rate (5e-4)",
        "warmup": "steps up to the peak (0)",
        "seed": "of the start and every batch (0)",
        "average": "decay of a moving average of the weights (0: none)",
        "slope": "of every PReLU at the start (0)",
        "log_share": "so many times the loss log-mse is added (0)",
        "checkpoint_every": "steps (1000)",
        "validate_every": "steps (1000)",
    }
    for key, text in texts.items():
        default = getattr(Recipe, key)
        flag = f"--{key.replace('_', '-')}"
        group.add_argument(flag, type=type(default), default=default, metavar="N", help=text)
    words = {
        "schedule": "of the learning rate",
        "loss": "what is made small",
        "init": "variance of the first weights",
        "collapse_dtype": "precision in which blocks are collapsed at every step",
        "low": "low-resolution luma as 8-bit images hold it, or unrounded",
    }
    for key, text in words.items():
        default = getattr(Recipe, key)
        group.add_argument(
            f"--{key.replace('_', '-')}",
            choices=CHOICES[key],
            default=default,
            help=f"{text} ({default})",
        )
    group.add_argument(
        "--lr-factor",
        type=_factor,
        action="append",
        default=[],
        metavar="LAYER=FACTOR",
        help="learning rate of a layer, as a share of the others'; may be repeated",
    )
    group.add_argument(
        "--amsgrad",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="never let the second moment shrink",
    )


def _factor(text: str) -> tuple[str, float]:
    layer, equals, factor = text.partition("=")
    try:
        if layer and equals:
            return layer, float(factor)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"must be LAYER=FACTOR such as deconv=0.1, got {text!r}")


def recipe_for(args: argparse.Namespace, steps: int) -> Recipe:
    """The recipe that the options ask for, of so many steps."""
    own = {"steps", "lr_factors", "weight_bits"}  # the last is for sesr-ref quantize
    values = {f.name: getattr(args, f.name) for f in fields(Recipe) if f.name not in own}
    factors = tuple(sorted(dict(args.lr_factor).items()))
    return Recipe(steps=steps, lr_factors=factors, **values)


def network_for(args: argparse.Namespace) -> Network:
    """The network that the options ask for.

    Parameters
    ----------
    args : Namespace
        As parsed.

    Returns
    -------
    Network
        On Y (one channel) or RGB (three).

    Raises
    ------
    OSError
        If a description cannot be read.
    ValueError
        If options do not go together, or a description is none or of other channels.
    """
    given = {key: value for key in NETWORK_OPTIONS if (value := getattr(args, key)) is not None}
    if args.linear_blocks is False and args.expand is not None:
        raise ValueError("--expand does not apply to --no-linear-blocks")
    if args.network is not None:
        return _named(args.network, args.upscale, given)
    family = FAMILIES[args.architecture]
    _check_applies(
        f"--architecture {args.architecture}", given, inspect.signature(family).parameters
    )
    return family(upscale=2 if args.upscale is None else args.upscale, **given)


def _named(name: str, upscale: int | None, given: dict[str, Any]) -> Network:
    """What ``--network`` asks for."""
    by_name = is_architecture(name)
    if not by_name and not name.endswith(".json"):
        needed = "an architecture (sesr-ref info --architectures) or a description (.json)"
        raise ValueError(f"--network must name {needed}, got {name!r:.200}")
    _check_applies(f"--network {name:.200}", given, options_of(name) if by_name else ())
    net = architecture(name, **given) if by_name else described(Path(name))
    check(upscale in {None, net.upscale}, f"--upscale for {name:.200}", f"{net.upscale}", upscale)
    known = net.channels in SPACES
    check(known, f"{net.name}: the number of channels", "1 (Y) or 3 (RGB)", net.channels)
    return net


def _check_applies(what: str, given: dict[str, Any], known: Collection[str]) -> None:
    for key, value in given.items():
        if key not in known:
            option = f"--{'no-' if value is False else ''}{key.replace('_', '-')}"
            raise ValueError(f"{option} does not apply to {what}")
