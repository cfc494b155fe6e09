"""Train a network on a folder of images.

A network on one channel learns Y, one on three RGB, and --val scores Y of either, by protocol "y"
of `sesr-ref evaluate`: 8-bit images, a network on RGB by the Y of its 8-bit result.  Writes
OUT/weights.npz at the end, OUT/best.npz whenever --val improves, OUT/checkpoint.npz to go on from
with --resume, and OUT/log.jsonl.  The defaults are the paper's.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from sesr_ref.commands.console import notice, progress
from sesr_ref.commands.models import engine_named
from sesr_ref.commands.run_record import note_other_engine, recorded
from sesr_ref.commands.train_options import add_arguments, network_for, recipe_for
from sesr_ref.commands.train_ranks import one_before_the_others, ranks_for
from sesr_ref.commands.train_resume import finish, other_length, steps_for, with_stored
from sesr_ref.commands.training import pairs_of, reporter, threads
from sesr_ref.commands.warmup import train_once
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
from sesr_ref.train.ranks import Ranks
from sesr_ref.train.warm_start import Fit, Misfit, fit, transfer

__all__ = ["add_arguments", "run"]


def run(args: argparse.Namespace, watch: Callable[[float], None] | None = None) -> int:
    """Train; 0 also for a finished run that is resumed.

    Parameters
    ----------
    args : Namespace
        As parsed, and `words`, the words that they were parsed from.
    watch : function, optional
        Told which share of all steps is done.

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    ValueError
        If options are missing or do not go together; further, as `sesr_ref.train.train` does.
    """
    if args.finish:
        return finish(args.finish)
    with ranks_for(args.mpi) as ranks:
        return _run(args, ranks, watch)


def _run(args: argparse.Namespace, ranks: Ranks, watch: Callable[[float], None] | None) -> int:
    leads = ranks.rank == 0
    if args.resume not in {True, False}:
        args = ranks.first(with_stored(args) if leads else args)
    if missing := [f"--{key}" for key in ("data", "out") if getattr(args, key) is None]:
        raise ValueError(f"the following arguments are required: {', '.join(missing)}")
    before = ranks.first(described(args.out / "checkpoint.npz") if args.resume else {})
    recipe = recipe_for(args, steps_for(args.steps, before))
    net = network_for(args)
    if leads:
        check_folder(args.out, args.resume)  # before anything that takes time, like what follows
    start = _start(args, net) if leads else None
    if args.resume and not (args.out / "checkpoint.npz").exists():
        notice(f"{args.out}: no checkpoint yet, starting afresh")
    find_images(args.data)
    if args.val:
        find_high(args.val)
    ops = one_before_the_others(ranks, lambda: _compiled(args.engine, net, ranks))
    note_other_engine(args.out, ops.name)
    ranks.sharing(ops, recipe.batch)  # a mistake is known before images are prepared
    count = ranks.threads() if args.threads is None else args.threads
    with threads(count, ops):
        _train(args, net, recipe, ops, ranks, start, other_length(before, recipe), watch)
    print(f"{recipe.steps} steps done: {args.out / 'weights.npz'}")
    return 0


def _train(
    args: argparse.Namespace,
    net: Network,
    recipe: Recipe,
    ops: Ops,
    ranks: Ranks,
    start: Params | None,
    length: dict[str, int],
    watch: Callable[[float], None] | None,
) -> None:
    validation = _validation(args.val, net, ops) if ranks.rank == 0 else {}
    facts = args.data, net, args.crop, args.low, args.cache, args.out
    pairs = one_before_the_others(ranks, lambda: pairs_of(*facts))
    with (
        _recorded(args, ops, ranks, length) as tick,
        progress(recipe.steps, "training") as update,
    ):
        show = reporter(update)

        def report(now: Progress) -> None:
            tick()
            show(now)
            if watch is not None:
                watch(now.step / now.steps)

        train(
            net,
            pairs,
            args.out,
            recipe,
            start=start,
            ops=ops,
            resume=args.resume,
            report=report,
            ranks=ranks,
            **validation,
        )


def _compiled(engine: str, net: Network, ranks: Ranks) -> Ops:
    """The engine; compiled, so that the other ranks find what this one has compiled."""
    ops = engine_named(engine)
    if ranks.size > 1:
        train_once(net, ops)
    return ops


def _recorded(
    args: argparse.Namespace, ops: Ops, ranks: Ranks, length: dict[str, int]
) -> AbstractContextManager[Callable[[], None]]:
    """Rank 0 writes run.json."""
    if ranks.rank > 0:
        return nullcontext(lambda: None)
    return recorded(args.out, ops.name, args.words, length, ranks.size)


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
