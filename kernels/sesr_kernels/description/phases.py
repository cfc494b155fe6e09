"""A transposed convolution as a convolution to `stride**2` phases, which depth-to-space follows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def reach(kernel_size: int, stride: int, padding: int) -> int:
    """Input pixels to each side that one phase reads: its kernel is ``2 * reach + 1`` wide."""
    return max((stride - 1 + padding) // stride, (kernel_size - 1 - padding) // stride)


def _taps(kernel_size: int, stride: int, padding: int) -> Array:
    """Tap of the transposed kernel for (phase, tap of the phase); `kernel_size` stands for none."""
    side = reach(kernel_size, stride, padding)
    offsets = np.arange(-side, side + 1)
    taps = np.arange(stride)[:, None] + padding - stride * offsets
    return np.where((taps >= 0) & (taps < kernel_size), taps, kernel_size)


def phase_weight(weight: Array, stride: int, padding: int) -> Array:
    """(k, k, in, out) to (2r + 1, 2r + 1, in, stride * stride * out)."""
    taps = _taps(len(weight), stride, padding)
    padded = np.pad(weight, ((0, 1), (0, 1), (0, 0), (0, 0)))
    phases = padded[taps[:, :, None, None], taps]
    size = taps.shape[1]
    return phases.transpose(1, 3, 4, 0, 2, 5).reshape(size, size, weight.shape[2], -1)


def phase_weight_vjp(dphases: Array, kernel_size: int, stride: int, padding: int) -> Array:
    """Gradient of `phase_weight`: every tap belongs to one phase, so nothing adds up."""
    taps = _taps(kernel_size, stride, padding)
    size, _, channels, features = dphases.shape
    split = dphases.reshape(size, size, channels, stride, stride, -1).transpose(3, 0, 4, 1, 2, 5)
    k = kernel_size
    dpadded = np.zeros((k + 1, k + 1, channels, features // stride**2), dphases.dtype)
    dpadded[taps[:, :, None, None], taps] = split
    return dpadded[:k, :k]
