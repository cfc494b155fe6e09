"""PReLU of whole (..., channels) arrays and its gradients, for training layer by layer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sesr_kernels.machine.compiled import Array, Floats, compiled, plain

Doubles = npt.NDArray[np.float64]


def prelu(x: Array, slope: Array) -> Floats:
    """``x if x > 0 else slope * x``."""
    y = np.empty(x.shape, np.float32)
    flat = (-1, len(slope))
    _prelu(plain(x).reshape(flat), plain(slope), y.reshape(flat))
    return y


def prelu_vjp(dy: Array, x: Array, slope: Array) -> tuple[Floats, Floats]:
    """Gradients of `prelu`; the slopes' sums are kept in float64."""
    dx = np.empty(x.shape, np.float32)
    flat = (-1, len(slope))
    dslope = np.zeros(len(slope), np.float64)
    given = (plain(dy).reshape(flat), plain(x).reshape(flat), plain(slope))
    _prelu_vjp(*given, dx.reshape(flat), dslope)
    return dx, dslope.astype(np.float32)


@compiled
def _prelu(x: Floats, slope: Floats, y: Floats) -> None:
    for i in range(x.shape[0]):
        for c in range(x.shape[1]):
            value = x[i, c]
            # a NaN is not above 0: its product stays one
            y[i, c] = value if value > 0 else value * slope[c]


@compiled
def _prelu_vjp(dy: Floats, x: Floats, slope: Floats, dx: Floats, dslope: Doubles) -> None:
    for i in range(x.shape[0]):
        for c in range(x.shape[1]):
            value, down = x[i, c], dy[i, c]
            dx[i, c] = down if value > 0 else down * slope[c]
            # a NaN counts as below 0, as it does for dx
            dslope[c] += np.float64(down) * (np.float32(0) if value > 0 else value)
