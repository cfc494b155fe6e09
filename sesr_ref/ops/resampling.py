"""Separable resampling weights: which samples contribute how much, along one axis.

One definition serves the `Resize` layer and `sesr_ref.imresize`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_ref.limits import check, one_of
from sesr_ref.ops.arrays import Array

Float64 = npt.NDArray[np.float64]


def _cubic(a: float) -> Callable[[Float64], Float64]:
    def kernel(t: Float64) -> Float64:
        t = np.abs(t)
        near = ((a + 2) * t - (a + 3)) * t * t + 1
        far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
        return np.where(t <= 1, near, np.where(t < 2, far, 0.0))

    return kernel


def _triangle(t: Float64) -> Float64:
    weight: Float64 = np.maximum(1 - np.abs(t), 0)
    return weight


def _box(t: Float64) -> Float64:
    return ((t >= -0.5) & (t < 0.5)).astype(np.float64)


# mode: (kernel, its width in samples, edges)
MODES: dict[str, tuple[Callable[[Float64], Float64], int, str]] = {
    "nearest": (_box, 1, "clamp"),
    "bilinear": (_triangle, 2, "clamp"),
    "bicubic": (_cubic(-0.5), 4, "mirror"),
    "bicubic75": (_cubic(-0.75), 4, "clamp"),
}


@dataclass(frozen=True)
class Resampling:
    """A sparse matrix along one axis: output i is ``sum_t weights[i, t] * input[taps[i, t]]``."""

    size: int
    taps: npt.NDArray[np.intp]
    weights: Float64

    def apply(self, x: npt.NDArray[Any], axis: int) -> Array:
        """Resample along `axis`; taps are summed in order, so the bits do not depend on a BLAS."""
        dtype = x.dtype if x.dtype == np.float32 else np.dtype(np.float64)
        shape = [1] * x.ndim
        shape[axis] = len(self.taps)
        y = np.zeros((*x.shape[:axis], len(self.taps), *x.shape[axis + 1 :]), dtype)
        for tap, weight in zip(self.taps.T, self.weights.T, strict=True):
            y += np.take(x, tap, axis) * weight.astype(dtype).reshape(shape)
        return y

    def apply_transposed(self, dy: Array, axis: int) -> Array:
        """Gradient of `apply`: add every output back to the samples it was computed from."""
        moved = np.moveaxis(dy, axis, 0)
        dx = np.zeros((self.size, *moved.shape[1:]), dy.dtype)
        for tap, weight in zip(self.taps.T, self.weights.T, strict=True):
            np.add.at(dx, tap, moved * weight.astype(dy.dtype).reshape(-1, *[1] * (dy.ndim - 1)))
        return np.moveaxis(dx, 0, axis)


@lru_cache(maxsize=64)
def resample_matrix(
    size: int, factor: float, mode: str = "bicubic", length: int | None = None
) -> Resampling:
    """Weights that resample `size` samples by `factor`, as MATLAB's imresize computes them.

    Parameters
    ----------
    size : int
        Samples along the axis, at least 1.
    factor : float
        Above 0; below 1 the kernel is stretched so that it also smooths (antialiasing).
    mode : str
        A key of `MODES`.
    length : int, optional
        Output samples; ``ceil(size * factor)`` by default.

    Returns
    -------
    Resampling
        Each row of weights sums to 1; taps beyond the edges are mirrored or clamped.

    Raises
    ------
    ValueError
        If the mode is unknown, or size or factor is not positive.
    """
    one_of("mode", mode, MODES)
    check(size >= 1, "the number of samples", "1 or more", size)
    check(factor > 0 and math.isfinite(factor), "factor", "positive and finite", factor)
    kernel, width, edge = MODES[mode]
    length = math.ceil(size * factor) if length is None else length
    stretch = max(1.0, 1.0 / factor)
    centres = (np.arange(length) + 0.5) / factor - 0.5
    count = math.ceil(width * stretch) + 2
    taps = np.floor(centres - width * stretch / 2).astype(np.intp)[:, None] + np.arange(count)
    weights = kernel((centres[:, None] - taps) / stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    used = np.any(weights != 0, axis=0)
    return Resampling(size, _inside(taps[:, used], size, edge), weights[:, used])


def _inside(taps: npt.NDArray[np.intp], size: int, edge: str) -> npt.NDArray[np.intp]:
    if edge == "clamp":
        return np.clip(taps, 0, size - 1)
    folded = taps % (2 * size)
    return np.where(folded < size, folded, 2 * size - 1 - folded)
