"""Weights in the order in which the convolution kernel reads them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_kernels.machine.host import HOST

Array = npt.NDArray[Any]


def round_up(count: int, multiple: int) -> int:
    """Next multiple."""
    return -(-count // multiple) * multiple


def pack(weight: Array, outs: int) -> Array:
    """(k, k, in, out) to (groups of outputs, k, in, k, outs), missing outputs being zero."""
    height, width, channels, features = weight.shape
    groups = -(-features // outs)
    if features % outs:
        weight = np.pad(weight, ((0, 0), (0, 0), (0, 0), (0, groups * outs - features)))
    split = weight.reshape(height, width, channels, groups, outs)
    return np.ascontiguousarray(split.transpose(3, 0, 2, 1, 4), np.float32)


def transposed(weight: Array) -> Array:
    """The convolution that gives the gradient of the input: reversed taps, in and out swapped."""
    return weight[::-1, ::-1].swapaxes(2, 3)


def pad_outputs(values: Array) -> Array:
    """One value per output, zeros up to a whole group."""
    if missing := -len(values) % HOST.outs:
        values = np.pad(values, (0, missing))
    return values.astype(np.float32, copy=False)
