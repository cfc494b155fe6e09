"""Mistakes with a convolution's weights, bias and border, each as a function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sesr_ref import network as nw
from sesr_ref.execute import RULES
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.ops.table import REFERENCE

Faulty = Callable[[Any, Sequence[Array], Params], Array]
Named = tuple[str, Faulty]


def right(layer: nw.Layer, x: Sequence[Array], params: Params) -> Array:
    """Compute the layer without a mistake."""
    return RULES[type(layer)].forward(layer, REFERENCE, x, params)


def _with_weight(change: Callable[[Array], Array]) -> Faulty:
    def faulty(layer: nw.Layer, x: Sequence[Array], params: Params) -> Array:
        weight = np.ascontiguousarray(change(params["weight"])).reshape(params["weight"].shape)
        return right(layer, x, params | {"weight": weight})

    return faulty


def _swapped_channels(weight: Array) -> Array:
    return weight.swapaxes(2, 3) if weight.shape[2] == weight.shape[3] else weight


def _from_layout(order: tuple[int, ...]) -> Callable[[Array], Array]:
    """Read the bytes of a weight stored with its axes in `order` as HWIO."""
    return lambda weight: weight.transpose(order)


def _to_layout(order: tuple[int, ...]) -> Callable[[Array], Array]:
    """Read HWIO bytes as if the axes were in `order`."""

    def change(weight: Array) -> Array:
        shape = [weight.shape[i] for i in order]
        return weight.reshape(shape).transpose(np.argsort(order))

    return change


def _plus_identity(times: float) -> Callable[[Array], Array]:
    def change(weight: Array) -> Array:
        if weight.shape[2] != weight.shape[3]:
            return weight
        weight, middle = weight.copy(), len(weight) // 2
        weight[middle, middle] += times * np.eye(weight.shape[2])
        return weight

    return change


def _bias_times(factor: float) -> Faulty:
    def faulty(layer: nw.Layer, x: Sequence[Array], params: Params) -> Array:
        if "bias" not in params:
            return right(layer, x, params)
        return right(layer, x, params | {"bias": factor * params["bias"]})

    return faulty


def _border(mode: Any) -> Faulty:
    def faulty(layer: nw.Conv, x: Sequence[Array], params: Params) -> Array:
        k = layer.side // 2
        if k == 0 or (mode == "reflect" and min(x[0].shape[1:3]) <= k):
            return right(layer, x, params)
        padded = np.pad(x[0], ((0, 0), (k, k), (k, k), (0, 0)), mode=mode)
        return right(layer, [padded], params)[:, k:-k, k:-k]

    return faulty


def _border_left_out(layer: nw.Conv, x: Sequence[Array], params: Params) -> Array:
    k = layer.side // 2
    y = np.zeros_like(full := right(layer, x, params))
    inner = (slice(None), *(slice(k, -k or None),) * 2)
    y[inner] = full[inner]
    return y


def _moved(rows: int, columns: int) -> Faulty:
    """Shift the padding by one: each pixel gets its neighbour's value, zeros beyond the border."""

    def faulty(layer: nw.Layer, x: Sequence[Array], params: Params) -> Array:
        pad = [np.pad(a, ((0, 0), (1, 1), (1, 1), (0, 0))) for a in x]
        y = right(layer, pad, params)
        ratio = y.shape[1] // pad[0].shape[1]
        top, left = ratio + rows, ratio + columns
        height, width = (size * ratio for size in x[0].shape[1:3])
        return y[:, top : top + height, left : left + width]

    return faulty


def convolution_faults() -> list[Named]:
    """List the mistakes that any convolution may have, transposed ones included."""
    weights: dict[str, Callable[[Array], Array]] = {
        "kernel flipped (convolution instead of correlation)": lambda w: w[::-1, ::-1],
        "kernel's height and width swapped": lambda w: w.transpose(1, 0, 2, 3),
        "kernel flipped vertically": lambda w: w[::-1],
        "kernel flipped horizontally": lambda w: w[:, ::-1],
        "input and output channels swapped (HWOI)": _swapped_channels,
        "OIHW weight read as HWIO": _from_layout((3, 2, 0, 1)),
        "HWIO weight read as OIHW": _to_layout((3, 2, 0, 1)),
        "OHWI weight read as HWIO": _from_layout((3, 0, 1, 2)),
        "HWIO weight read as OHWI": _to_layout((3, 0, 1, 2)),
        "IHWO weight read as HWIO": _from_layout((2, 0, 1, 3)),
        "HWIO weight read as IHWO": _to_layout((2, 0, 1, 3)),
        "output channels reversed": lambda w: w[..., ::-1],
        "input channels reversed": lambda w: w[:, :, ::-1],
        "weight negated": lambda w: -w,
        "short residual missing": _plus_identity(-1.0),
        "short residual added twice": _plus_identity(1.0),
    }
    places = [(r, c) for r in (-1, 0, 1) for c in (-1, 0, 1) if r or c]
    return [
        *((name, _with_weight(change)) for name, change in weights.items()),
        ("bias missing", _bias_times(0.0)),
        ("bias added twice", _bias_times(2.0)),
        ("bias subtracted", _bias_times(-1.0)),
        *((f"padding off by one ({r:+d} rows, {c:+d} columns)", _moved(r, c)) for r, c in places),
    ]


BORDERS: list[Named] = [
    ("border repeated instead of zero", _border("edge")),
    ("border mirrored instead of zero", _border("reflect")),
    ("border left out (valid convolution)", _border_left_out),
]
