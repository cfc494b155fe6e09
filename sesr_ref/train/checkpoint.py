"""The file that a training goes on from: the optimiser's vectors and, as JSON, whose they are."""

from __future__ import annotations

import json
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sesr_ref.files import atomic_write
from sesr_ref.ops.arrays import Array

FOREIGN = "damaged, or not a checkpoint of sesr-ref train"
UNREADABLE = (
    ValueError, KeyError, TypeError, AttributeError, EOFError, RuntimeError, NotImplementedError,
    zipfile.BadZipFile, zlib.error, tokenize.TokenError,
)  # fmt: skip
"""What NumPy, zipfile and json raise for files that are something else."""


def write_checkpoint(path: Path, meta: Mapping[str, Any], state: Mapping[str, Array]) -> None:
    """Write a run's description and its vectors; a reader never meets half of them."""
    text = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    arrays: dict[str, Any] = {"meta": text, **state}
    with atomic_write(path) as stream:
        np.savez(stream, **arrays)


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """Read what `write_checkpoint` wrote.

    Parameters
    ----------
    path : Path
        Of the file.

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
        return _read(path)
    except UNREADABLE:  # whose own messages tell of pickles and how to load them
        raise ValueError(FOREIGN) from None


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    with path.open("rb") as stream:
        if not zipfile.is_zipfile(stream):  # NumPy would look for a pickle
            raise ValueError
        stream.seek(0)
        with np.load(stream) as file:
            state = {key: file[key] for key in file.files}
    meta = json.loads(state.pop("meta").tobytes())
    if not isinstance(meta, dict):
        raise TypeError
    return meta, state


def described(path: Path) -> dict[str, Any]:
    """What a checkpoint says of its run, unchecked; nothing if there is none to be read."""
    try:
        with path.open("rb") as stream, np.load(stream) as file:
            meta = json.loads(file["meta"].tobytes())
    except (OSError, *UNREADABLE):
        return {}
    return meta if isinstance(meta, dict) else {}
