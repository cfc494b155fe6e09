"""Training: the loop, its checkpoints, its log.

A step depends on the parameters, the moments and the step's number alone (its batch is drawn from
``seed`` and that number), so a run killed anywhere and resumed ends with the bits of one that was
never stopped.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from sesr_ref.network import Network
from sesr_ref.ops.arrays import Params
from sesr_ref.ops.table import REFERENCE, Ops
from sesr_ref.params import initialise, save
from sesr_ref.train.data import Pairs
from sesr_ref.train.optimiser import Adam, Recipe
from sesr_ref.train.ranks import Ranks
from sesr_ref.train.run import ALONE, Run, Validate


@dataclass(frozen=True)
class Progress:
    """What `train` reports after each step; `logged_loss` where log.jsonl has a line for it."""

    step: int
    steps: int
    loss: float
    psnr_db: float | None
    best_psnr_db: float | None
    steps_per_second: float
    seconds_left: float
    logged_loss: float | None = None


SOME_FUNCTION = {"what": "a function", "sha256": ""}


def train(
    net: Network,
    pairs: Pairs,
    out: Path,
    recipe: Recipe,
    *,
    start: Params | None = None,
    validate: Validate | None = None,
    validated_on: Mapping[str, str] = SOME_FUNCTION,
    ops: Ops = REFERENCE,
    resume: bool = False,
    report: Callable[[Progress], None] | None = None,
    ranks: Ranks = ALONE,
) -> Params:
    """Train through the collapse; write ``weights.npz`` when done.

    Parameters
    ----------
    net : Network
        With linear blocks (whose expanded weights are trained) or without.
    pairs : Pairs
        What to learn from.
    out : Path
        Folder for ``checkpoint.npz``, ``log.jsonl``, ``best.npz`` and ``weights.npz``.
    recipe : Recipe
        How.
    start : dict of float32 arrays, optional
        Parameters to start from instead of `initialise`'s.
    validate : function, optional
        PSNR in dB of a network and its parameters; ``best.npz`` is the best so far.
    validated_on : mapping
        ``what`` it scores on, in words, and a ``sha256`` of that: best.npz is the best on one set
        of images, so a resumed run must be validated on the same.
    ops : Ops
        The implementation.
    resume : bool
        Go on from ``checkpoint.npz`` if there is one.  Its run may have been meant to have more
        or fewer steps: the schedule is from here on that of the recipe given now.
    report : function, optional
        Told of each step.
    ranks : Ranks
        The processes that train together, each of which calls this: `Mpi`'s, or this one alone.
        Rank 0 alone reads and writes in `out`, validates and reports.

    Returns
    -------
    dict of float32 arrays
        The trained parameters (their moving average, if the recipe asks for one).

    Raises
    ------
    FloatingPointError
        If the loss or a score is not finite, with the step; the last good checkpoint stays.
    NotADirectoryError, FileExistsError
        As `check_folder` does, or if another run writes there.
    ValueError
        If the checkpoint is of another network, recipe, data or validation set, beyond the
        recipe's steps, or damaged; or the recipe names a layer that has no parameters.
    KeyboardInterrupt
        After Ctrl-C, once a checkpoint is written.
    """
    leads = ranks.rank == 0
    if leads:
        check_folder(out, resume)
        out.mkdir(parents=True, exist_ok=True)
    start = start or initialise(net, recipe.seed, recipe.init, recipe.slope)
    start = {name: start[name] for name in net.param_shapes()}  # the order of every checkpoint
    adam = Adam(start, recipe.amsgrad, recipe.average, dict(recipe.lr_factors))
    validation = dict(validated_on) if validate else None
    run = Run(net, out, recipe, adam, ops, pairs.summary(), validation, ranks)
    run.agree()
    with _alone_in(out) if leads else nullcontext(), _stop_requests() as stop:
        if leads and run.checkpoint.exists():
            check_folder(out, resume)  # another run may have ended there meanwhile
            run.read_checkpoint()
        adam.state, run.step = ranks.first((adam.state, run.step))
        begun, first = time.monotonic(), run.step
        while run.step < recipe.steps:
            loss = run.advance(pairs)
            row = _validated(run, validate, pairs)
            stopping = ranks.any(stop.is_set())  # once: from here on it is for the next step
            if run.step == first + 1 or run.due(recipe.checkpoint_every) or stopping:
                run.compare()
            if run.due(recipe.checkpoint_every) or stopping:
                if leads:
                    run.write_checkpoint()
                ranks.wait()
            if report and leads:
                speed = (run.step - first) / (time.monotonic() - begun)
                left = (recipe.steps - run.step) / speed
                psnr_db, logged = (row["psnr_db"], row["loss"]) if row else (None, None)
                now = run.step, recipe.steps, loss, psnr_db, run.best, speed, left, logged
                report(Progress(*now))
            if stopping and run.step < recipe.steps:
                raise KeyboardInterrupt
        if leads and (run.step > first or not (out / "weights.npz").exists()):
            save(out / "weights.npz", net, run.adam.averaged)
        ranks.wait()
    return run.adam.averaged


def _validated(run: Run, validate: Validate | None, pairs: Pairs) -> dict[str, Any] | None:
    """The log's new line, if one is due: rank 0 makes it, the others wait."""
    if not run.due(run.recipe.validate_every):
        return None
    row = None
    if run.ranks.rank == 0:
        row = run.validated(validate, pairs)
    else:
        run.forget_losses()
    run.ranks.wait()
    return row


RUN_FILES = ("checkpoint.npz", "weights.npz", "best.npz", "log.jsonl")
"""What a training writes."""


def holds_run(out: Path) -> bool:
    """Whether a folder holds anything of a training."""
    return any((out / name).exists() for name in RUN_FILES)


def check_folder(out: Path, resume: bool) -> None:
    """Refuse a folder in which a training would write over an earlier one.

    Parameters
    ----------
    out : Path
        Of the run; need not exist.
    resume : bool
        Whether an earlier run there shall be gone on with.

    Raises
    ------
    NotADirectoryError
        If it is a file.
    FileExistsError
        If it holds a run and `resume` is false, or a finished one that has no checkpoint.
    """
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"{out} is a file, a folder is needed")
    held = [name for name in RUN_FILES if (out / name).exists()]
    if held and not resume:
        raise FileExistsError(
            f"{out} holds a run already ({held[0]}): resume it (--resume) or name another folder"
        )
    if "weights.npz" in held and "checkpoint.npz" not in held:
        raise FileExistsError(
            f"{out} holds a run already (weights.npz) and no checkpoint.npz to go on from: "
            "name another folder"
        )


@contextmanager
def _alone_in(out: Path) -> Iterator[None]:
    """Hold the folder's lock, which the system takes back from a process that dies."""
    try:
        import fcntl
    except ImportError:  # no such locks on Windows: two runs in one folder are not noticed there
        yield
        return
    with (out / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FileExistsError(f"{out}: another run is writing there just now") from None
        yield


@contextmanager
def _stop_requests() -> Iterator[threading.Event]:
    """An event that Ctrl-C (or SIGTERM) sets, so that a step is never torn; twice means at once."""
    stop = threading.Event()

    def request(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
