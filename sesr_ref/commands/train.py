"""Train a network on a folder of images.

Writes OUT/weights.npz at the end, OUT/best.npz whenever --val improves, OUT/checkpoint.npz to go
on from with --resume, and OUT/log.jsonl.  The defaults are the paper's.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any

from sesr_ref.architectures import fsrcnn, sesr
from sesr_ref.architectures.options import ACTIVATIONS
from sesr_ref.commands.console import duration, notice, progress
from sesr_ref.commands.models import add_engine_option, engine_named
from sesr_ref.commands.run_record import note_other_engine, recorded
from sesr_ref.evaluate import find_high, validation_psnr
from sesr_ref.exchange import load_any
from sesr_ref.files import sha256_of
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Params
from sesr_ref.ops.table import Ops
from sesr_ref.train import Progress, check_folder, train
from sesr_ref.train.data import Pairs, find_images, training_pairs
from sesr_ref.train.optimiser import CHOICES, Recipe
from sesr_ref.train.warm_start import Fit, Misfit, fit, transfer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``sesr-ref train``."""
    parser.add_argument("--data", type=Path, required=True, help="folder of training images")
    parser.add_argument("--out", type=Path, required=True, help="folder for what the run writes")
    parser.add_argument("--val", type=Path, help="folder of images that choose best.npz")
    parser.add_argument(
        "--cache", type=Path, help="folder for the prepared images, for several runs (OUT/cache)"
    )
    parser.add_argument("--resume", action="store_true", help="go on from OUT/checkpoint.npz")
    parser.add_argument(
        "--start-from", metavar="MODEL", help="transfer its fitting parameters (x2 to x4)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="threads of NumPy and the kernels")
    add_engine_option(parser)
    _add_network_options(parser.add_argument_group("network"))
    _add_recipe_options(parser.add_argument_group("recipe"))


SESR_OPTIONS = (
    "blocks", "features", "expand", "block_bias", "input_residual", "short_residuals",
    "linear_blocks",
)  # fmt: skip
"""None unless given, so that what FSRCNN does not have is not ignored in silence."""


def _add_network_options(group: Any) -> None:
    group.add_argument("--architecture", choices=("sesr", "fsrcnn"), default="sesr")
    group.add_argument("--blocks", type=int, help="3 x 3 blocks, the paper's m (5)")
    group.add_argument("--features", type=int, help="channels, the paper's f (16)")
    group.add_argument(
        "--upscale", type=int, default=2,
        help="2 (default), 4, 8 or another power of two; FSRCNN: 1 to 9",
    )  # fmt: skip
    group.add_argument("--expand", type=int, help="channels in a block, p (256)")
    group.add_argument("--activation", choices=sorted(ACTIVATIONS), default="prelu")
    group.add_argument("--block-bias", choices=("none", "true"), help="biases of blocks (none)")
    for name, text in (
        ("input-residual", "the input is added to the output (default)"),
        ("short-residuals", "residuals over the 3 x 3 blocks (default); without: ExpandNets"),
        ("linear-blocks", "linear blocks (default); without: plain convolutions"),
    ):
        group.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, help=text)


def _add_recipe_options(group: Any) -> None:
    texts = {
        "steps": "480000", "batch": "crops a step (32)",
        "crop": "low-resolution pixels a side (64)",
        "lr": "peak learning rate (5e-4)", "warmup": "steps up to the peak (0)",
        "seed": "of the start and every batch (0)",
        "average": "decay of a moving average of the weights (0: none)",
        "slope": "of every PReLU at the start (0)",
        "checkpoint_every": "steps (1000)", "validate_every": "steps (1000)",
    }  # fmt: skip
    for key, text in texts.items():
        default = getattr(Recipe, key)
        flag = f"--{key.replace('_', '-')}"
        group.add_argument(flag, type=type(default), default=default, metavar="N", help=text)
    words = {
        "schedule": "of the learning rate", "loss": "what is made small",
        "init": "variance of the first weights",
        "collapse_dtype": "precision in which blocks are collapsed at every step",
    }  # fmt: skip
    for key, text in words.items():
        default = getattr(Recipe, key)
        group.add_argument(
            f"--{key.replace('_', '-')}", choices=CHOICES[key], default=default,
            help=f"{text} ({default})",
        )  # fmt: skip
    group.add_argument(
        "--amsgrad", action=argparse.BooleanOptionalAction, default=False,
        help="never let the second moment shrink",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Train; 0 also for a finished run that is resumed."""
    recipe = Recipe(**{f.name: getattr(args, f.name) for f in fields(Recipe)})
    net = _network(args)
    check_folder(args.out, args.resume)  # before anything that takes time, like what follows
    start = _start(args, net)
    checkpoint = args.out / "checkpoint.npz"
    if args.resume and not checkpoint.exists():
        notice(f"{args.out}: no checkpoint yet, starting afresh")
    find_images(args.data)
    if args.val:
        find_high(args.val)
    ops = engine_named(args.engine)
    note_other_engine(args.out, ops.name)
    with _threads(args.threads, ops):
        validation = _validation(args.val, net, ops)
        pairs = _pairs(args)
        words = getattr(args, "words", sys.argv[1:])
        with recorded(args.out, ops.name, words), progress(recipe.steps, "training") as update:
            train(
                net, pairs, args.out, recipe, start=start, ops=ops, resume=args.resume,
                report=_reporter(update), **validation,
            )  # fmt: skip
    print(f"{recipe.steps} steps done: {args.out / 'weights.npz'}")
    return 0


def _start(args: argparse.Namespace, net: Network) -> Params | None:
    """Parameters of ``--start-from`` for what fits, with a word on how much that is."""
    if not args.start_from or (args.resume and (args.out / "checkpoint.npz").exists()):
        return None  # what a run goes on from does not depend on its start
    source_net, source = load_any(args.start_from)
    try:
        found = fit(net, source_net)
    except Misfit as misfit:
        raise ValueError(f"--start-from {args.start_from}: {misfit}{_way_out(misfit)}") from None
    notice(f"from {args.start_from}: {_how_much(found)}")
    return transfer(net, source_net, source, args.seed, args.init, args.slope)


def _how_much(found: Fit) -> str:
    count, total = len(found.taken), len(found.taken) + len(found.anew)
    anew = f"; drawn anew: {', '.join(found.anew)}" if found.anew else ""
    return f"{count} of {total} layers' parameters{anew}"


def _way_out(misfit: Misfit) -> str:
    """The option that makes both networks alike, where there is one."""
    if not misfit.residual:
        return ""
    return " (--no-short-residuals leaves them out, --short-residuals has them)"


def _network(args: argparse.Namespace) -> Network:
    given = {key: value for key in SESR_OPTIONS if (value := getattr(args, key)) is not None}
    if args.architecture == "sesr":
        if args.linear_blocks is False and args.expand is not None:
            raise ValueError("--expand does not apply to --no-linear-blocks")
        return sesr(upscale=args.upscale, activation=args.activation, **given)
    for key, value in given.items():
        option = f"--{'no-' if value is False else ''}{key.replace('_', '-')}"
        raise ValueError(f"{option} does not apply to --architecture {args.architecture}")
    return fsrcnn(args.upscale, args.activation)


def _pairs(args: argparse.Namespace) -> Pairs:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with progress(1, "preparing") as update:

            def report(done: int, total: int, name: str) -> None:
                update(0, f"image {done} of {total}: {name}")

            cache = args.cache or args.out / "cache"
            pairs = training_pairs(args.data, args.upscale, args.crop, cache, report)
    for warning in caught:
        notice(f"warning: {warning.message}")
    return pairs


def _validation(folder: Path | None, net: Network, ops: Ops) -> dict[str, Any]:
    """What `train` takes: a function that scores, and on what."""
    if not folder:
        return {}
    paths, digest = find_high(folder), hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name} {sha256_of(path)}\n".encode())
    images = f"{len(paths)} image{'s' * (len(paths) > 1)}"
    validated_on = {"what": f"{images} of {folder}", "sha256": digest.hexdigest()}
    return {
        "validate": validation_psnr(folder, net.upscale, ops),
        "validated_on": validated_on,
    }


def _reporter(update: Callable[[int, str], None]) -> Callable[[Progress], None]:
    """A moving line on a terminal; a line for each validation elsewhere."""
    # the loss shown is the mean since the log's last line: at its next line, what that states
    total, count, psnr_db = 0.0, 0, None

    def report(now: Progress) -> None:
        nonlocal total, count, psnr_db
        total, count = total + now.loss, count + 1
        loss = total / count if now.logged_loss is None else now.logged_loss
        score = f"  {psnr_db:.3f} dB" if (psnr_db := now.psnr_db or psnr_db) else ""
        note = f"loss {loss:.5f}{score}  {now.steps_per_second:.1f} steps/s"
        update(now.step, note)
        if not sys.stderr.isatty() and (now.psnr_db is not None or now.step == now.steps):
            print(f"step {now.step}  {note}  {duration(now.seconds_left)} left", flush=True)
        if now.logged_loss is not None:
            total, count = 0.0, 0

    return report


def _threads(count: int | None, ops: Ops) -> Any:
    """Limit the threads of NumPy's BLAS and of the kernels while the block runs."""
    if count is None:
        return nullcontext()
    if count < 1:
        raise ValueError(f"--threads must be at least 1, got {count}")
    try:
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise ImportError("--threads needs threadpoolctl: pip install 'sesr-ref[fast]'") from error
    if ops.set_threads is not None:
        ops.set_threads(count)
    return threadpool_limits(count)
