"""The file that a training goes on from: the optimiser's vectors and, as JSON, whose they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sesr_ref.arrays_file import MAX_BYTES, Archive, open_npz
from sesr_ref.files import atomic_write
from sesr_ref.ops.arrays import Array

FOREIGN = "damaged, or not a checkpoint of sesr-ref train"
MAX_META_BYTES = 1 << 26
"""Largest description of a run: its log grows with every validation."""


def write_checkpoint(path: Path, meta: Mapping[str, Any], state: Mapping[str, Array]) -> None:
    """Write a run's description and its vectors; a reader never meets half of them."""
    text = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    arrays: dict[str, Any] = {"meta": text, **state}
    with atomic_write(path) as stream:
        np.savez(stream, **arrays)


def read_checkpoint(
    path: Path, like: Mapping[str, Array] | None = None
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Read what `write_checkpoint` wrote.

    Parameters
    ----------
    path : Path
        Of the file.
    like : mapping of arrays, optional
        What the run holds now: nothing larger is read.

    Returns
    -------
    meta : dict
        Whatever it says; to be checked.
    state : dict of arrays
        Likewise.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is something else: a pickle, an .npz of weights, half a file.
    """
    try:
        with open_npz(path) as archive:
            meta = _meta(archive)
            return meta, {
                name: archive.read(name, limit=like[name].nbytes if like else MAX_BYTES)
                for name in archive.names
                if name != "meta" and (like is None or name in like)
            }
    except ValueError:
        raise ValueError(FOREIGN) from None


def described(path: Path) -> dict[str, Any]:
    """What a checkpoint says of its run, unchecked; nothing if there is none to be read."""
    try:
        with open_npz(path) as archive:
            return _meta(archive)
    except (OSError, ValueError):
        return {}


def _meta(archive: Archive) -> dict[str, Any]:
    if "meta" not in archive.names:
        raise ValueError("no description of a run")
    text = archive.read("meta", dtypes=("uint8",), limit=MAX_META_BYTES).tobytes()
    try:
        meta = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(meta, dict):
        raise ValueError(f"a description must be an object, got {type(meta).__name__}")
    return meta
