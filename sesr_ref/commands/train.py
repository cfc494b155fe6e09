"""Train a network on a folder of images.

A network on one channel learns Y, one on three RGB, and --val scores Y of either, by protocol "y"
of `sesr-ref evaluate`: 8-bit images, a network on RGB by the Y of its 8-bit result.  Writes
OUT/weights.npz at the end, OUT/best.npz whenever --val improves, OUT/checkpoint.npz to go on from
with --resume, and OUT/log.jsonl.  The defaults are the paper's.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import Any

from sesr_ref.commands.console import notice, progress
from sesr_ref.commands.models import engine_named
from sesr_ref.commands.run_record import note_other_engine, recorded
from sesr_ref.commands.train_options import add_arguments, network_for, recipe_for
from sesr_ref.commands.train_resume import finish, other_length, steps_for, with_stored
from sesr_ref.commands.training import pairs_of, reporter, threads
from sesr_ref.evaluate import PROTOCOLS, find_high, validation_psnr
from sesr_ref.evaluate.validation import VALIDATION
from sesr_ref.exchange import load_any
from sesr_ref.files import sha256_of
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Params
from sesr_ref.ops.table import Ops
from sesr_ref.train import Progress, check_folder, train
from sesr_ref.train.checkpoint import described
from sesr_ref.train.data import find_images
from sesr_ref.train.optimiser import Recipe
from sesr_ref.train.warm_start import Fit, Misfit, fit, transfer

__all__ = ["add_arguments", "run"]


def run(args: argparse.Namespace) -> int:
    """Train; 0 also for a finished run that is resumed."""
    if args.finish:
        return finish(args.finish)
    if args.resume not in {True, False}:
        args = with_stored(args)
    if missing := [f"--{key}" for key in ("data", "out") if getattr(args, key) is None]:
        raise ValueError(f"the following arguments are required: {', '.join(missing)}")
    before = described(args.out / "checkpoint.npz") if args.resume else {}
    recipe = recipe_for(args, steps_for(args.steps, before))
    net = network_for(args)
    check_folder(args.out, args.resume)  # before anything that takes time, like what follows
    start = _start(args, net)
    if args.resume and not (args.out / "checkpoint.npz").exists():
        notice(f"{args.out}: no checkpoint yet, starting afresh")
    find_images(args.data)
    if args.val:
        find_high(args.val)
    ops = engine_named(args.engine)
    note_other_engine(args.out, ops.name)
    with threads(args.threads, ops):
        _train(args, net, recipe, ops, start, other_length(before, recipe))
    print(f"{recipe.steps} steps done: {args.out / 'weights.npz'}")
    return 0


def _train(
    args: argparse.Namespace, net: Network, recipe: Recipe, ops: Ops, start: Params | None,
    length: dict[str, int],
) -> None:  # fmt: skip
    validation, pairs = (
        _validation(args.val, net, ops),
        pairs_of(args.data, net, args.crop, args.low, args.cache, args.out),
    )
    with (
        recorded(args.out, ops.name, args.words, length) as tick,
        progress(recipe.steps, "training") as update,
    ):
        show = reporter(update)

        def report(now: Progress) -> None:
            tick()
            show(now)

        train(
            net, pairs, args.out, recipe, start=start, ops=ops, resume=args.resume, report=report,
            **validation,
        )  # fmt: skip


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


def _validation(folder: Path | None, net: Network, ops: Ops) -> dict[str, Any]:
    """What `train` takes: a function that scores, and on what."""
    if not folder:
        return {}
    paths, digest = find_high(folder), hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name} {sha256_of(path)}\n".encode())
    images = f"{len(paths)} image{'s' * (len(paths) > 1)}"
    protocol = PROTOCOLS[VALIDATION]
    text = f"{protocol.name}: {protocol.text}; {protocol.colours}"
    what = f"{images} of {folder}"
    validated_on = {"what": what, "sha256": digest.hexdigest(), "protocol": text}
    if net.channels > 1:
        notice(f"{net.name} learns RGB; --val scores Y, protocol {text}")
    return {
        "validate": validation_psnr(folder, net.upscale, ops),
        "validated_on": validated_on,
    }
