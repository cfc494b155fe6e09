"""The array type of the engine and the checks that every operation shares."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]
Params = dict[str, Array]
"""Arrays keyed ``layer.parameter``."""


def check_images(x: Array) -> None:
    """Raise ValueError unless `x` is a (n, height, width, channels) float32 or float64 array."""
    if not isinstance(x, np.ndarray) or x.dtype not in (np.float32, np.float64):
        kind = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
        raise ValueError(f"images must be a float32 or float64 array, got {kind}")
    if x.ndim != 4 or not x.shape[3]:
        raise ValueError(f"images must be (n, height, width, channels >= 1), got shape {x.shape}")


def check_same_dtype(dy: Array, shape: tuple[int, ...], x: Array) -> None:
    """Raise ValueError unless the gradient `dy` has `shape` and the dtype of `x`."""
    if dy.shape != shape or dy.dtype != x.dtype:
        raise ValueError(
            f"dy must be {x.dtype} of shape {shape}, got {dy.dtype} of shape {dy.shape}"
        )
