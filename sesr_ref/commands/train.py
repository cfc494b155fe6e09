"""Train a network on a folder of images.

Writes OUT/weights.npz at the end, OUT/best.npz whenever --val improves, OUT/checkpoint.npz to go
on from with --resume, and OUT/log.jsonl.  The defaults are the paper's.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from sesr_ref.commands.console import duration, notice, progress
from sesr_ref.commands.models import engine_named
from sesr_ref.commands.run_record import note_other_engine, recorded
from sesr_ref.commands.train_options import add_arguments, network_for, recipe_for
from sesr_ref.commands.train_ranks import one_before_the_others, ranks_for
from sesr_ref.commands.train_resume import finish, other_length, steps_for, with_stored
from sesr_ref.commands.warmup import train_once
from sesr_ref.evaluate import find_high, validation_psnr
from sesr_ref.exchange import load_any
from sesr_ref.extras import need
from sesr_ref.files import sha256_of
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Params
from sesr_ref.ops.table import Ops
from sesr_ref.train import Progress, check_folder, prepared, train
from sesr_ref.train.checkpoint import described
from sesr_ref.train.data import Pairs, find_images, training_pairs
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
    start = _start(args, net)
    if args.resume and not (args.out / "checkpoint.npz").exists():
        notice(f"{args.out}: no checkpoint yet, starting afresh")
    find_images(args.data)
    if args.val:
        find_high(args.val)
    ops = one_before_the_others(ranks, lambda: _compiled(args.engine, net, ranks))
    note_other_engine(args.out, ops.name)
    ranks.sharing(ops, recipe.batch)  # a mistake is known before images are prepared
    threads = ranks.threads() if args.threads is None else args.threads
    with _threads(threads, ops):
        _train(args, net, recipe, ops, ranks, start, other_length(before, recipe), watch)
    print(f"{recipe.steps} steps done: {args.out / 'weights.npz'}")
    return 0


def _train(
    args: argparse.Namespace, net: Network, recipe: Recipe, ops: Ops, ranks: Ranks,
    start: Params | None, length: dict[str, int], watch: Callable[[float], None] | None,
) -> None:  # fmt: skip
    validation = _validation(args.val, net, ops) if ranks.rank == 0 else {}
    pairs = one_before_the_others(ranks, lambda: _pairs(args))
    with (
        _recorded(args, ops, ranks, length) as tick,
        progress(recipe.steps, "training") as update,
    ):
        show = _reporter(update)

        def report(now: Progress) -> None:
            tick()
            show(now)
            if watch is not None:
                watch(now.step / now.steps)

        train(
            net, pairs, args.out, recipe, start=start, ops=ops, resume=args.resume, report=report,
            ranks=ranks, **validation,
        )  # fmt: skip


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


def _pairs(args: argparse.Namespace) -> Pairs:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with progress(1, "preparing") as update:

            def report(done: int, total: int, name: str) -> None:
                update(0, f"image {done} of {total}: {name}")

            flags = args.data, args.upscale, args.crop
            pairs = training_pairs(*flags, _cache(args), report, args.low)
    prepared.prune()
    for warning in caught:
        notice(f"warning: {warning.message}")
    return pairs


def _cache(args: argparse.Namespace) -> Path:
    """``--cache``, what an older run has in OUT, or the data set's own in the user's folder."""
    own: Path = args.out / "cache"
    if args.cache or own.is_dir():
        return args.cache or own
    shared = prepared.folder_for(args.data)
    try:
        shared.mkdir(parents=True, exist_ok=True)
        if os.access(shared, os.W_OK):
            return shared
    except OSError:  # no home, or a full disk
        pass
    notice(f"{shared} cannot be written: the prepared images go to {own}")
    return own


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
    threadpool_limits = need("threadpoolctl", "fast", "--threads").threadpool_limits
    if ops.set_threads is not None:
        ops.set_threads(count)
    return threadpool_limits(count)
