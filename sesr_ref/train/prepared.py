"""Files of prepared training images: written once, mapped into memory, bounded in size."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_ref.files import atomic_write

Image = npt.NDArray[Any]
Couple = tuple[Image, Image]
LIMIT_BYTES = 6 << 30
"""Of the user's folder of prepared images: DIV2K at x2 and x4.  What is used last always stays."""
ALIGNMENT = 8


def users_folder() -> Path:
    """``$SESR_PAIRS_DIR``, or a place in the user's cache folder."""
    if given := os.environ.get("SESR_PAIRS_DIR"):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(base) / "sesr-ref" / "pairs"


def folder_for(data: Path) -> Path:
    """Where the prepared images of one data set lie, whoever trains on it.

    Parameters
    ----------
    data : Path
        Folder of images.

    Returns
    -------
    Path
        In `users_folder`; need not exist.
    """
    place = data.resolve()
    return users_folder() / f"{place.name}-{hashlib.sha256(str(place).encode()).hexdigest()[:8]}"


def write(flat: Path, couples: Iterable[Couple]) -> None:
    """Write images behind one another, and beside them as JSON where each lies.

    Parameters
    ----------
    flat : Path
        Ends in .npy; its folder must exist.
    couples : iterable of (low, high)
        Arrays of at most two dtypes, one for `low` and one for `high`.
    """
    entries: list[dict[str, Any]] = []
    with atomic_write(flat) as stream:
        for low, high in couples:
            entries.append({"offset": stream.tell(), "low": low.shape, "high": high.shape})
            for image in (low, high):
                stream.write(np.ascontiguousarray(image).tobytes())
            if low.itemsize > 1:
                stream.write(b"\0" * (-stream.tell() % ALIGNMENT))
    with atomic_write(flat.with_suffix(".json")) as stream:
        stream.write(json.dumps(entries).encode())


def mapped(flat: Path, low: npt.DTypeLike = np.uint8) -> list[Couple] | None:
    """Map what `write` wrote, as arrays that take memory when they are read.

    Parameters
    ----------
    flat : Path
        As `write` took it.
    low : dtype
        Of the small images; large ones are uint8.

    Returns
    -------
    list of (low, high), or None
        None where there is nothing or it is damaged.
    """
    try:
        entries = json.loads(flat.with_suffix(".json").read_text("utf-8"))
        samples = np.memmap(flat, np.uint8, "r") if flat.stat().st_size else np.empty(0, np.uint8)
        couples = [_couple(samples, entry, np.dtype(low)) for entry in entries]
        os.utime(flat)  # used just now: `prune` takes others first
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return couples


def _couple(samples: Image, entry: dict[str, Any], low: np.dtype[Any]) -> Couple:
    start = int(entry["offset"])
    middle = start + low.itemsize * int(np.prod(entry["low"]))
    end = middle + int(np.prod(entry["high"]))
    if not 0 <= start <= middle <= end <= len(samples):
        raise ValueError("the index does not fit the samples")
    small = samples[start:middle].view(low).reshape(entry["low"])
    return small, samples[middle:end].reshape(entry["high"])


def prune(limit: int = LIMIT_BYTES) -> list[Path]:
    """Remove what was used longest ago from the user's folder until the rest is small enough.

    Parameters
    ----------
    limit : int
        Bytes that may stay; what was used last does in any case.

    Returns
    -------
    list of Path
        What was removed.  Runs that have mapped it keep it until they end.
    """
    total, removed = 0, []
    for path, facts in sorted(_files(), key=lambda file: file[1].st_mtime, reverse=True):
        total += facts.st_size
        if total > max(limit, facts.st_size):
            for part in (path, path.with_suffix(".json")):
                _remove(part)
            removed.append(path)
    return removed


def _files() -> Sequence[tuple[Path, os.stat_result]]:
    found = []
    for path in users_folder().glob("*/pairs-*.npy"):
        try:
            found.append((path, path.stat()))
        except OSError:  # another run has just removed it
            continue
    return found


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # mapped by another run on Windows: next time
        return
