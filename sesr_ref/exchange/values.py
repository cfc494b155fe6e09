"""Numbers of other people's files: floats, finite and of a size that a network may have."""

from __future__ import annotations

from typing import Any

import numpy as np

from sesr_ref.ops.arrays import Array

Stored = np.ndarray[Any, np.dtype[Any]]
MAX_WEIGHT = 1e6
"""Largest magnitude of a parameter: larger ones come of damaged files, swapped bytes for one."""


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
        raise ValueError(f"{name} must be floats, got {array.dtype}")
    largest = float(np.abs(array).max(initial=0.0))
    if not largest <= limit:
        what = "not finite" if not np.isfinite(largest) else f"absurd: {largest:.3g}"
        raise ValueError(f"{name} holds numbers that are {what} (at most {limit:g} makes sense)")
    return np.ascontiguousarray(array, None if array.dtype == np.float64 else np.float32)
