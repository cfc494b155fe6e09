"""Numbers of other people's files: floats, finite and of a size that a network may have."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import numpy as np

from sesr_ref.limits import check
from sesr_ref.ops.arrays import Array

Stored = np.ndarray[Any, np.dtype[Any]]
MAX_ARRAYS = 10_000
"""Largest number of arrays in a file."""
MAX_WEIGHT = 1e6
"""Largest magnitude of a parameter; larger ones are a sign of damage, such as swapped bytes."""
MAX_VARIANCE = MAX_WEIGHT**2
"""Largest stored variance."""


def check_count(arrays: Sized) -> None:
    """Raise ValueError if a file has too many arrays."""
    few = len(arrays) <= MAX_ARRAYS
    check(few, "the number of arrays", f"at most {MAX_ARRAYS}", len(arrays))


def check_unnamed(architecture: object) -> None:
    """Raise ValueError if a network is named for a file that states its own."""
    if architecture is not None:
        raise ValueError("the file states its network: omit --as")


def parameter(name: str, array: Stored, limit: float = MAX_WEIGHT) -> Array:
    """Return the numbers of a parameter in single precision, or in double where they are stored so.

    Parameters
    ----------
    name : str
        What errors call it.
    array : array
        As the file has it.
    limit : float
        Largest magnitude.

    Returns
    -------
    float32 or float64 array

    Raises
    ------
    ValueError
        If they are no floats, not finite or larger than `limit`.
    """
    if array.dtype.kind != "f":
        raise ValueError(f"{name:.200} must be floats, got {array.dtype}")
    largest = float(np.abs(array).max(initial=0.0))
    if not largest <= limit:
        what = "not finite" if not np.isfinite(largest) else f"absurd: {largest:.3g}"
        raise ValueError(f"{name:.200} holds numbers that are {what} (at most {limit:g} is right)")
    wide = np.float64 if array.dtype == np.float64 else np.float32
    return np.array(array, wide, order="C")


def finite(name: str, array: Stored) -> Array:
    """As `parameter`, of any size that is finite."""
    return parameter(name, array, float(np.finfo(np.float64).max))
