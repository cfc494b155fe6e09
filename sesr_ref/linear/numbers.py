"""The numbers that each linear kind of layer computes with, and its parameters' gradients."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sesr_ref import network as nw

Values = npt.NDArray[Any]
"""Floats, or objects such as fractions."""
Params = dict[str, Values]


class Taps(NamedTuple):
    """A convolution by a dense kernel, with a bias or without."""

    weight: Values
    bias: Values | None


class Affine(NamedTuple):
    """One factor per channel, then one constant per channel or none."""

    factor: Values
    shift: Values | None


def _conv(layer: nw.Conv, own: Params, channels: int) -> Taps:
    return Taps(dense(own["weight"], layer.groups), own.get("bias"))


def _stencil(layer: nw.Stencil, own: Params, channels: int) -> Taps:
    taps = like(np.asarray(layer.taps, np.float64), own[LIKE])
    weight = np.zeros((*layer.sides, channels, channels), taps.dtype)
    for i in range(channels):
        weight[..., i, i] = taps
    return Taps(weight * own["factor"] if layer.factor else weight, own.get("bias"))


def _batch_norm(layer: nw.BatchNorm, own: Params, channels: int) -> Affine:
    factor = own["scale"] * _inverse_deviation(layer, own)
    return Affine(factor, own["offset"] - own["mean"] * factor)


def _inverse_deviation(layer: nw.BatchNorm, own: Params) -> Values:
    return like(1 / np.sqrt(own["var"].astype(np.float64) + layer.eps), own["var"])


def _scale(layer: nw.Scale, own: Params, channels: int) -> Affine:
    return Affine(like(np.full(channels, layer.factor, np.float64), own[LIKE]), None)


def _gain(layer: nw.Gain, own: Params, channels: int) -> Affine:
    return Affine(own["gain"], None)


def like(values: Values, other: Values) -> Values:
    """Convert floats to the arithmetic of another array: its dtype, or fractions."""
    if other.dtype != object:
        return values.astype(other.dtype)
    exact = np.empty(values.shape, object)
    exact.ravel()[:] = [Fraction(float(value)) for value in values.ravel()]
    return exact


LIKE = ""
"""Key, among a layer's parameters, of an array that shows the arithmetic: some have no other."""


def _conv_vjp(layer: nw.Conv, own: Params, d: Taps) -> Params:
    grads = {"weight": diagonal_blocks(d.weight, layer.groups)}
    return grads | ({"bias": d.bias} if layer.bias and d.bias is not None else {})


def _stencil_vjp(layer: nw.Stencil, own: Params, d: Taps) -> Params:
    grads: Params = {}
    if layer.factor:
        diagonal = d.weight[..., np.arange(d.weight.shape[3]), np.arange(d.weight.shape[3])]
        grads["factor"] = (diagonal * np.asarray(layer.taps, d.weight.dtype)[..., None]).sum((0, 1))
    return grads | ({"bias": d.bias} if layer.bias and d.bias is not None else {})


def _batch_norm_vjp(layer: nw.BatchNorm, own: Params, d: Affine) -> Params:
    shift = np.zeros_like(own["mean"]) if d.shift is None else d.shift
    dfactor = d.factor - own["mean"] * shift
    still = np.zeros_like(own["mean"])  # statistics are stored, not learned
    scale = dfactor * _inverse_deviation(layer, own)
    return {"scale": scale, "offset": shift, "mean": still, "var": still}


class NumbersRule(NamedTuple):
    """The numbers of a kind of layer, and its parameters' gradients from the numbers' gradients."""

    numbers: Callable[[Any, Params, int], Taps | Affine]
    vjp: Callable[[Any, Params, Any], Params]


NUMBERS: dict[type[nw.Layer], NumbersRule] = {
    nw.Conv: NumbersRule(_conv, _conv_vjp),
    nw.Stencil: NumbersRule(_stencil, _stencil_vjp),
    nw.BatchNorm: NumbersRule(_batch_norm, _batch_norm_vjp),
    nw.Scale: NumbersRule(_scale, lambda layer, own, d: {}),
    nw.Gain: NumbersRule(_gain, lambda layer, own, d: {"gain": d.factor}),
}
"""Linear kinds that compute; Add, Concat and Slice only join or cut tensors."""


def dense(weight: Values, groups: int) -> Values:
    """Expand a grouped weight to a dense one, with zeros between the groups."""
    if groups == 1:
        return weight
    rows, columns, channels, features = weight.shape
    dense = np.zeros((rows, columns, channels * groups, features), weight.dtype)
    each = features // groups
    for g in range(groups):
        own = slice(g * each, (g + 1) * each)
        dense[:, :, g * channels : (g + 1) * channels, own] = weight[..., own]
    return dense


def diagonal_blocks(dense: Values, groups: int) -> Values:
    """Extract the grouped weight from a dense one."""
    if groups == 1:
        return dense
    channels, each = dense.shape[2] // groups, dense.shape[3] // groups
    parts = [
        dense[:, :, g * channels : (g + 1) * channels, g * each : (g + 1) * each]
        for g in range(groups)
    ]
    return np.concatenate(parts, axis=3)
