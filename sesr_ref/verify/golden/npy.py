"""Reading .npy data that may be anything: an array of numbers, or one line that names the file."""

from __future__ import annotations

import tokenize
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

MAX_HEADER_BYTES = 10_000

Stored = npt.NDArray[Any]

# what NumPy's parser of the header raises besides its own ValueError
_ERRORS = (
    ValueError, EOFError, TypeError, OverflowError, MemoryError, RecursionError, SyntaxError,
    tokenize.TokenError,
)  # fmt: skip


def map_npy(path: Path, label: str = "") -> Stored:
    """Map a file's array into memory, read-only.

    Parameters
    ----------
    path : Path
        Of a .npy file.
    label : str
        What errors call it; its path unless given.

    Returns
    -------
    array

    Raises
    ------
    ValueError
        If it is no .npy file, or one of objects.
    OSError
        If it cannot be read.
    """
    try:
        return np.lib.format.open_memmap(path, mode="r", max_header_size=MAX_HEADER_BYTES)
    except _ERRORS as error:
        raise ValueError(_refusal(label or str(path), error)) from None


def read_npy(stream: IO[bytes], label: str) -> Stored:
    """Read an array from an open file.

    Parameters
    ----------
    stream : binary file
        At the start of .npy data.
    label : str
        What errors call it.

    Returns
    -------
    array

    Raises
    ------
    ValueError
        If it is no .npy data, or holds objects.
    OSError
        If it cannot be read.
    """
    try:
        array: Stored = np.lib.format.read_array(stream, max_header_size=MAX_HEADER_BYTES)
    except _ERRORS as error:
        raise ValueError(_refusal(label, error)) from None
    return array


def _refusal(label: str, error: BaseException) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"{label}: not a .npy file of numbers ({reason:.200})"
