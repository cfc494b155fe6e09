"""Training: the loop, its checkpoints, its log.

A step depends on the parameters, the moments and the step's number alone (its batch is drawn from
``seed`` and that number), so a run killed anywhere and resumed ends with the bits of one that was
never stopped.
"""

from __future__ import annotations

import json
import math
import signal
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from sesr_ref.data import Pairs
from sesr_ref.engine import loss_and_grads
from sesr_ref.files import atomic_write
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Params
from sesr_ref.ops.table import REFERENCE, Ops
from sesr_ref.optimiser import Adam, Recipe
from sesr_ref.params import initialise, save


@dataclass(frozen=True)
class Progress:
    """What `train` reports after each step."""

    step: int
    steps: int
    loss: float
    psnr_db: float | None
    best_psnr_db: float | None
    steps_per_second: float
    seconds_left: float


def train(
    net: Network,
    pairs: Pairs,
    out: Path,
    recipe: Recipe,
    *,
    start: Params | None = None,
    validate: Callable[[Network, Params], float] | None = None,
    ops: Ops = REFERENCE,
    resume: bool = False,
    report: Callable[[Progress], None] | None = None,
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
    ops : Ops
        The implementation.
    resume : bool
        Go on from ``checkpoint.npz`` if there is one.
    report : function, optional
        Told of each step.

    Returns
    -------
    dict of float32 arrays
        The trained parameters (their moving average, if the recipe asks for one).

    Raises
    ------
    FloatingPointError
        If the loss is not finite, with the step; the last good checkpoint stays.
    FileExistsError
        If `out` holds a run already and `resume` is false.
    ValueError
        If the checkpoint is of another network or recipe, or damaged.
    KeyboardInterrupt
        After Ctrl-C, once a checkpoint is written.
    """
    out.mkdir(parents=True, exist_ok=True)
    start = start or initialise(net, recipe.seed, recipe.init, recipe.slope)
    adam = Adam(start, recipe.amsgrad, recipe.average)
    run = _Run(net, out, recipe, adam, pairs.summary())
    with _alone_in(out), _stop_requests() as stop:
        if run.checkpoint.exists():
            if not resume:
                raise FileExistsError(
                    f"{out} holds a run already: resume it or name another folder"
                )
            run.read_checkpoint()
        begun, first = time.monotonic(), run.step
        while run.step < recipe.steps:
            loss = run.advance(pairs, ops)
            psnr_db = run.validated(validate)
            if run.due(recipe.checkpoint_every) or stop.is_set():
                run.write_checkpoint()
            if report:
                speed = (run.step - first) / (time.monotonic() - begun)
                left = (recipe.steps - run.step) / speed
                report(Progress(run.step, recipe.steps, loss, psnr_db, run.best, speed, left))
            if stop.is_set() and run.step < recipe.steps:
                raise KeyboardInterrupt
        if run.step > first or not (out / "weights.npz").exists():
            save(out / "weights.npz", net, run.adam.averaged)
    return run.adam.averaged


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


class _Run:
    """The state of a training run and its files."""

    def __init__(
        self, net: Network, out: Path, recipe: Recipe, adam: Adam, data: dict[str, Any]
    ) -> None:
        self.net, self.out, self.recipe, self.adam, self.data = net, out, recipe, adam, data
        self.step = 0
        self.best: float | None = None
        self.losses: list[float] = []
        self.log: list[dict[str, Any]] = []
        self.checkpoint = out / "checkpoint.npz"

    def due(self, every: int) -> bool:
        return self.step == self.recipe.steps or (every > 0 and self.step % every == 0)

    def advance(self, pairs: Pairs, ops: Ops) -> float:
        rng = np.random.default_rng([self.recipe.seed, self.step])
        x, target = pairs.batch(rng, self.recipe.batch, self.recipe.crop)
        params = self.adam.params
        if self.recipe.collapse_dtype != "float32":
            params = {k: v.astype(self.recipe.collapse_dtype) for k, v in params.items()}
        with np.errstate(over="ignore", invalid="ignore"):  # the loss will tell
            loss, dparams = loss_and_grads(self.net, params, x, target, ops, self.recipe.loss)
        if not math.isfinite(loss):
            kept = (
                "the last good checkpoint is kept" if self.checkpoint.exists() else "none is kept"
            )
            raise FloatingPointError(
                f"the loss is {loss} at step {self.step}: the learning rate {self.recipe.lr} may "
                f"be too high; {kept} in {self.out}"
            )
        self.adam.update(dparams, self.recipe.rate(self.step), self.step, ops.adam)
        self.step += 1
        self.losses.append(loss)
        return loss

    def validated(self, validate: Callable[[Network, Params], float] | None) -> float | None:
        if not self.due(self.recipe.validate_every):
            return None
        psnr_db = validate(self.net, self.adam.averaged) if validate else None
        row = {"step": self.step, "loss": float(np.mean(self.losses)), "psnr_db": psnr_db}
        self.log.append(row)
        self.losses.clear()
        with atomic_write(self.out / "log.jsonl") as stream:
            stream.write("".join(json.dumps(line) + "\n" for line in self.log).encode())
        if psnr_db is not None and (self.best is None or psnr_db > self.best):
            self.best = psnr_db
            save(self.out / "best.npz", self.net, self.adam.averaged)
        return psnr_db

    def write_checkpoint(self) -> None:
        if not all(np.isfinite(array).all() for array in self.adam.state.values()):
            raise FloatingPointError(f"weights are not finite after step {self.step - 1}")
        meta = self._identity() | {
            "step": self.step, "best": self.best, "losses": self.losses, "log": self.log,
        }  # fmt: skip
        text = np.frombuffer(json.dumps(meta).encode(), np.uint8)
        arrays: dict[str, Any] = {"meta": text, **self.adam.state}
        with atomic_write(self.checkpoint) as stream:
            np.savez(stream, **arrays)

    def read_checkpoint(self) -> None:
        try:
            with self.checkpoint.open("rb") as stream, np.load(stream) as file:
                arrays = {key: file[key] for key in file.files}
            self._take(arrays, json.loads(arrays.pop("meta").tobytes()))
        except (ValueError, KeyError, OSError, EOFError, TypeError, zipfile.BadZipFile) as error:
            raise ValueError(f"{self.checkpoint} cannot be gone on from: {error}") from None

    def _take(self, arrays: dict[str, Any], meta: dict[str, Any]) -> None:
        """Go on from a checkpoint's content once it is known to be sound."""
        meta["recipe"] = asdict(Recipe()) | meta["recipe"]  # older ones lack the newest fields
        meta["data"] = self.data | meta["data"]
        for key, own in self._identity().items():
            if (got := meta[key]) != own:
                raise ValueError(f"it is of another {key}: {_difference(got, own)}")
        if arrays.keys() != self.adam.state.keys():
            raise ValueError(f"it holds {sorted(arrays)}")
        for key, own in self.adam.state.items():
            sound = arrays[key].shape == own.shape and arrays[key].dtype == own.dtype
            if not sound or not np.isfinite(arrays[key]).all():
                raise ValueError(f"{key} must be {own.size} finite numbers of {own.dtype}")
        if not (isinstance(meta["step"], int) and 0 <= meta["step"] <= self.recipe.steps):
            raise ValueError(f"step must be 0 to {self.recipe.steps}, got {meta['step']!r:.40}")
        self.losses, self.log = list(meta["losses"]), list(meta["log"])
        self.adam.state, self.step, self.best = arrays, meta["step"], meta["best"]

    def _identity(self) -> dict[str, Any]:
        recipe = asdict(replace(self.recipe, checkpoint_every=0))
        network = json.loads(self.net.to_json())
        return {"network": network, "recipe": recipe, "data": self.data}


def _difference(got: Any, own: dict[str, Any]) -> str:
    for key in own if isinstance(got, dict) else ():
        if got.get(key) != own[key]:
            return f"{key} was {got.get(key)!s:.80} and is {own[key]!s:.80}"
    return "it has other keys"


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
