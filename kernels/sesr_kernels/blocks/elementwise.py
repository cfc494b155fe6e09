"""Activations and shuffles of whole arrays, each value alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_kernels.machine.compiled import compiled, plain

Array = npt.NDArray[Any]

# how the channels' axis splits, the order of the axes that follows, and the way back
MODES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "DCR": ((0, 1, 3, 2, 4, 5), (0, 1, 3, 2, 4, 5)),
    "CRD": ((0, 1, 4, 2, 5, 3), (0, 1, 3, 5, 2, 4)),
}


def prelu(x: Array, slope: Array) -> Array:
    """``x if x > 0 else slope * x``."""
    y = np.empty(x.shape, np.float32)
    flat = (-1, len(slope))
    _prelu(plain(x).reshape(flat), plain(slope), y.reshape(flat))
    return y


def prelu_vjp(dy: Array, x: Array, slope: Array) -> tuple[Array, Array]:
    """Gradients of `prelu`; the slopes' sums are kept in float64."""
    dx = np.empty(x.shape, np.float32)
    flat = (-1, len(slope))
    dslope = np.zeros(len(slope), np.float64)
    given = (plain(dy).reshape(flat), plain(x).reshape(flat), plain(slope))
    _prelu_vjp(*given, dx.reshape(flat), dslope)
    return dx, dslope.astype(np.float32)


def relu(x: Array) -> Array:
    """``max(x, 0)``."""
    y: Array = np.maximum(x, np.float32(0))
    return y


def relu_vjp(dy: Array, x: Array) -> Array:
    """Gradient of `relu`; 0 at 0."""
    dx: Array = dy * (x > 0)
    return dx


def depth_to_space(x: Array, block: int, mode: str) -> Array:
    """Channels to pixels."""
    n, height, width, channels = x.shape
    features = channels // block**2
    split = (block, block, features) if mode == "DCR" else (features, block, block)
    y = x.reshape(n, height, width, *split).transpose(MODES[mode][0])
    return y.reshape(n, height * block, width * block, features)


def depth_to_space_vjp(dy: Array, block: int, mode: str) -> Array:
    """Pixels to channels."""
    n, height, width, channels = dy.shape
    dx = dy.reshape(n, height // block, block, width // block, block, channels)
    return dx.transpose(MODES[mode][1]).reshape(
        n, height // block, width // block, block**2 * channels
    )


@compiled
def _prelu(x: Any, slope: Any, y: Any) -> None:
    for i in range(x.shape[0]):
        for c in range(x.shape[1]):
            value = x[i, c]
            y[i, c] = value if value > 0 else value * slope[c]


@compiled
def _prelu_vjp(dy: Any, x: Any, slope: Any, dx: Any, dslope: Any) -> None:
    for i in range(x.shape[0]):
        for c in range(x.shape[1]):
            value, down = x[i, c], dy[i, c]
            dx[i, c] = down if value > 0 else down * slope[c]
            dslope[c] += np.float64(down) * (np.float32(0) if value > 0 else value)
