"""The array type of the engine and the checks that every operation shares."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_ref.limits import check

Array = npt.NDArray[np.floating[Any]]
Params = dict[str, Array]
"""Arrays keyed ``layer.parameter``."""


def check_array(what: str, value: object) -> None:
    """Raise ValueError unless `value` is a NumPy array."""
    check(isinstance(value, np.ndarray), what, "a NumPy array", type(value))


def check_floats(what: str, value: object) -> None:
    """Raise ValueError unless `value` is a float32 or float64 array."""
    dtype = value.dtype if isinstance(value, np.ndarray) else None
    valid = dtype in (np.float32, np.float64)
    check(valid, what, "a float32 or float64 array", dtype or type(value))


def check_images(x: Array) -> None:
    """Raise ValueError unless `x` is a (n, height, width, channels) float32 or float64 array."""
    check_floats("images", x)
    valid = x.ndim == 4 and x.shape[3]
    check(valid, "the shape of images", "(n, height, width, channels >= 1)", x.shape)


def check_shape(what: str, array: npt.NDArray[Any], shape: tuple[int, ...]) -> None:
    """Raise ValueError unless `array` has the shape."""
    if array.shape != shape:
        raise ValueError(f"{what} must have shape {shape}, got {array.shape}")


def check_finite(what: str, array: npt.NDArray[Any]) -> None:
    """Raise ValueError if `array` has NaN or infinite values."""
    if not np.isfinite(array).all():
        raise ValueError(f"NaN or infinite values in {what}")


def check_like(what: str, array: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise ValueError unless `array` has the shape and the dtype."""
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(
            f"{what} must be {dtype} of shape {shape}, got {array.dtype} of shape {array.shape}"
        )


def check_same_dtype(dy: Array, shape: tuple[int, ...], x: Array) -> None:
    """Raise ValueError unless the gradient `dy` has `shape` and the dtype of `x`."""
    check_like("dy", dy, shape, x.dtype)
