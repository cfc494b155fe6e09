"""What commands that train have in common: pairs, threads, and words on how far it is."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from sesr_ref.commands.console import duration, notice, progress
from sesr_ref.extras import need
from sesr_ref.network import Network
from sesr_ref.ops.table import Ops
from sesr_ref.train import Progress, prepared
from sesr_ref.train.data import Pairs, training_pairs


def pairs_of(data: Path, net: Network, crop: int, low: str, cache: Path | None, out: Path) -> Pairs:
    """Prepare a folder's training pairs, with progress and warnings for people.

    Parameters
    ----------
    data : Path
        Folder of images.
    net : Network
        What will learn.
    crop, low
        As the recipe has them.
    cache : Path, optional
        Folder for the prepared images; by default what an older run has in `out`, or the data
        set's own in the user's folder.
    out : Path
        Folder of the run.

    Returns
    -------
    Pairs

    Raises
    ------
    ValueError, OSError
        As `training_pairs` does.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with progress(1, "preparing") as update:

            def report(done: int, total: int, name: str) -> None:
                update(0, f"image {done} of {total}: {name}")

            pairs = training_pairs(
                data, net.upscale, crop, _cache(data, cache, out), report, low, net.channels
            )
    prepared.prune()
    for warning in caught:
        notice(f"warning: {warning.message}")
    return pairs


def _cache(data: Path, given: Path | None, out: Path) -> Path:
    own = out / "cache"
    if given or own.is_dir():
        return given or own
    shared = prepared.folder_for(data)
    try:
        shared.mkdir(parents=True, exist_ok=True)
        if os.access(shared, os.W_OK):
            return shared
    except OSError:  # no home, or a full disk
        pass
    notice(f"{shared} cannot be written: the prepared images go to {own}")
    return own


def reporter(update: Callable[[int, str], None]) -> Callable[[Progress], None]:
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


def threads(count: int | None, ops: Ops) -> Any:
    """Limit the threads of NumPy's BLAS and of the kernels while the block runs."""
    if count is None:
        return nullcontext()
    if count < 1:
        raise ValueError(f"--threads must be at least 1, got {count}")
    threadpool_limits = need("threadpoolctl", "fast", "--threads").threadpool_limits
    if ops.set_threads is not None:
        ops.set_threads(count)
    return threadpool_limits(count)
