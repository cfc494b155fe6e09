"""Parameters in fewer bits: rounded once from what they are exactly, and widened again."""

from __future__ import annotations

from typing import Any

import numpy as np

from sesr_ref.collapse import collapse_params, collapsed
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Array, Params

DTYPES = ("float32", "float16")


def collapsed_exactly(net: Network, params: Params) -> tuple[Network, Params]:
    """Collapse in float64, whatever the dtype of the parameters.

    Parameters
    ----------
    net : Network
        With linear blocks or without.
    params : dict of arrays
        Its parameters.

    Returns
    -------
    net : Network
        ``collapsed(net)``.
    params : dict of float64 arrays
        To be rounded by `rounded`.
    """
    wide: Params = {name: array.astype(np.float64) for name, array in params.items()}
    return collapsed(net), collapse_params(net, wide)


def rounded(name: str, array: Array, dtype: str) -> Array:
    """Round to `dtype`; ValueError naming what does not fit into it, or a dtype that is unknown."""
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {DTYPES}, got {dtype!r}")
    with np.errstate(over="ignore"):
        small: Array = array.astype(dtype)
    if not np.isfinite(small).all():
        raise ValueError(f"{name} does not fit {dtype}: at most {np.finfo(dtype).max}")
    return small


def bfloat16_values(bits: np.ndarray[Any, np.dtype[Any]]) -> Array:
    """float32 numbers whose upper halves are these 16-bit integers."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
