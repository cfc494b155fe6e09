"""Train a network on a folder of images.

Writes OUT/weights.npz at the end, OUT/best.npz whenever --val improves, OUT/checkpoint.npz to go
on from with --resume, and OUT/log.jsonl.  The defaults are the paper's.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any

from sesr_ref.architectures import ACTIVATIONS, fsrcnn, sesr
from sesr_ref.commands.console import duration, notice, progress
from sesr_ref.commands.models import add_engine_option, engine_named, load_file
from sesr_ref.data import Pairs, find_images, training_pairs
from sesr_ref.evaluate import find_high, validation_psnr
from sesr_ref.files import atomic_write
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Params
from sesr_ref.ops.table import Ops
from sesr_ref.optimiser import CHOICES, Recipe
from sesr_ref.train import Progress, train
from sesr_ref.warm_start import Fit, Misfit, fit, transfer


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


def _add_network_options(group: Any) -> None:
    group.add_argument("--architecture", choices=("sesr", "fsrcnn"), default="sesr")
    group.add_argument("--blocks", type=int, default=5, help="3 x 3 blocks, the paper's m (5)")
    group.add_argument("--features", type=int, default=16, help="channels, the paper's f (16)")
    group.add_argument("--upscale", type=int, default=2, help="2 (default) or 4")
    group.add_argument("--expand", type=int, default=256, help="channels in a block, p (256)")
    group.add_argument("--activation", choices=sorted(ACTIVATIONS), default="prelu")
    group.add_argument("--block-bias", choices=("none", "true"), default="none")
    for name, text in (
        ("input-residual", "the input is added to the output"),
        ("short-residuals", "residuals over the 3 x 3 blocks; without: ExpandNets"),
        ("linear-blocks", "linear blocks; without: plain convolutions"),
    ):
        group.add_argument(
            f"--{name}", action=argparse.BooleanOptionalAction, default=True, help=text
        )


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
    checkpoint = args.out / "checkpoint.npz"
    if args.resume and not checkpoint.exists():
        notice(f"{args.out}: no checkpoint yet, starting afresh")
    start = _start(args, net)
    find_images(args.data)  # before anything that takes time: what is missing is told at once
    if args.val:
        find_high(args.val)
    ops = engine_named(args.engine)
    with _threads(args.threads, ops):
        validate = _validation(args.val, net, ops)
        pairs = _pairs(args)
        with _record(args.out, ops), progress(recipe.steps, "training") as update:
            train(
                net, pairs, args.out, recipe, start=start, validate=validate, ops=ops,
                resume=args.resume, report=_reporter(update),
            )  # fmt: skip
    print(f"{recipe.steps} steps done: {args.out / 'weights.npz'}")
    return 0


def _start(args: argparse.Namespace, net: Network) -> Params | None:
    """Parameters of ``--start-from`` for what fits, with a word on how much that is."""
    if not args.start_from or (args.resume and (args.out / "checkpoint.npz").exists()):
        return None  # what a run goes on from does not depend on its start
    source_net, source = load_file(args.start_from)
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


@contextmanager
def _record(out: Path, ops: Ops) -> Iterator[None]:
    """Note in OUT/run.json how the run was made: command, hours by the clock and of processors."""
    path = out / "run.json"
    begun, cpu_begun = time.monotonic(), time.process_time()
    before, cpu_before = _hours_in(path, "hours"), _hours_in(path, "cpu_hours")
    try:
        yield
    finally:
        hours = before + (time.monotonic() - begun) / 3600
        cpu_hours = cpu_before + (time.process_time() - cpu_begun) / 3600
        command = shlex.join(["sesr-ref", *sys.argv[1:]]).replace(" --resume", "")
        facts = {"command": command, "engine": ops.name, "hours": hours, "cpu_hours": cpu_hours}
        if hours - before > 1e-4 or not path.is_file():
            with atomic_write(path) as stream:
                stream.write(json.dumps(facts, indent=2).encode())


def _hours_in(path: Path, key: str) -> float:
    """Hours that earlier parts of the run took; 0 if they are not known."""
    try:
        return float(json.loads(path.read_text("utf-8"))[key])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def _network(args: argparse.Namespace) -> Network:
    if args.architecture == "fsrcnn":
        return fsrcnn(args.upscale, args.activation)
    return sesr(
        args.blocks, args.features, args.upscale, args.expand, args.activation,
        args.input_residual, args.short_residuals, args.linear_blocks, block_bias=args.block_bias,
    )  # fmt: skip


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


def _validation(
    folder: Path | None, net: Network, ops: Ops
) -> Callable[[Network, Params], float] | None:
    return validation_psnr(folder, net.upscale, ops) if folder else None


def _reporter(update: Callable[[int, str], None]) -> Callable[[Progress], None]:
    """A moving line on a terminal; a line for each validation elsewhere."""
    loss, psnr_db = 0.0, None

    def report(now: Progress) -> None:
        nonlocal loss, psnr_db
        loss = now.loss if not loss else loss + 0.02 * (now.loss - loss)
        score = f"  {psnr_db:.3f} dB" if (psnr_db := now.psnr_db or psnr_db) else ""
        note = f"loss {loss:.5f}{score}  {now.steps_per_second:.1f} steps/s"
        update(now.step, note)
        if not sys.stderr.isatty() and (now.psnr_db is not None or now.step == now.steps):
            print(f"step {now.step}  {note}  {duration(now.seconds_left)} left", flush=True)

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
