"""Correct implementations with various orders of summation and storage, simulated in NumPy.

They need no other runtime: float32 sums are computed term by term in a stated order, and every
tensor is rounded to the storage format.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_ref import network as nw
from sesr_ref.checks import layer_params
from sesr_ref.execute import RULES
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.ops.table import REFERENCE
from sesr_ref.verify.bounds.arithmetic import Format, format_named, rounded

Order = Callable[[npt.NDArray[np.float32], int], npt.NDArray[np.intp]]
"""Function from weights (terms, out) and channels to the order of terms for each output."""


def _same_for_all(weight: Array, order: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    return np.broadcast_to(order[:, None], weight.shape)


ORDERS: dict[str, Order] = {
    "taps, then channels": lambda weight, channels: _same_for_all(weight, np.arange(len(weight))),
    "backwards": lambda weight, channels: _same_for_all(weight, np.arange(len(weight))[::-1]),
    "channels, then taps": lambda weight, channels: _same_for_all(
        weight, np.arange(len(weight)).reshape(-1, channels).T.ravel()
    ),
    "positive weights first": lambda weight, channels: np.argsort(-weight, axis=0),
}


def conv2d(
    x: npt.NDArray[np.float32], weight: npt.NDArray[np.float32], bias: Array | None, order: Order
) -> npt.NDArray[np.float32]:
    """Convolve in float32, one rounded product and one rounded sum at a time."""
    k, channels = len(weight), x.shape[3]
    n, height, width, _ = x.shape
    padded = np.pad(x, ((0, 0), (k // 2,) * 2, (k // 2,) * 2, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), (1, 2))
    terms = np.ascontiguousarray(windows.transpose(4, 5, 3, 0, 1, 2)).reshape(
        -1, n * height * width
    )
    flat = weight.reshape(-1, weight.shape[3])
    y = np.zeros((weight.shape[3], n * height * width), np.float32)
    for step in order(flat, channels):
        y += terms[step] * np.take_along_axis(flat, step[None], 0).T
    if bias is not None:
        y += bias[:, None]
    return y.T.reshape(n, height, width, -1)


def forward(
    net: nw.Network, params: Params, x: Array, order: str = "backwards", dtype: str = "float32"
) -> dict[str, Array]:
    """Every tensor of a network of primitives, as float32 arrays of values rounded to `dtype`."""
    fmt = format_named(dtype)
    params = {name: _stored(array, fmt) for name, array in params.items()}
    tensors: dict[str, Array] = {"input": _stored(x, fmt)}
    for layer, inputs in net.steps():
        own: dict[str, Any] = layer_params(layer, params)
        values = [tensors[name] for name in inputs]
        if isinstance(layer, nw.Conv) and layer.groups == 1:
            y = conv2d(values[0], own["weight"], own.get("bias"), ORDERS[order])
        else:
            y = RULES[type(layer)].forward(layer, REFERENCE, values, own)
        tensors[layer.name] = _stored(y, fmt)
    return tensors


def _stored(array: Array, fmt: Format) -> npt.NDArray[np.float32]:
    return rounded(array, fmt).astype(np.float32)
