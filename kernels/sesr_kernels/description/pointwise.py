"""Layers that compute each value alone, as functions of the value and two numbers of its channel.

A new kind is its Protocol in `layers`, a row here, and, unless a function fits that is there, a row
in `blocks.pointwise`; inference and training read both tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sesr_kernels.description.layers import (
    Clip,
    FakeQuantize,
    Layer,
    LeakyReLU,
    PReLU,
    Scale,
    Shift,
    parameter,
)

Floats = npt.NDArray[np.float32]
Params = Mapping[str, npt.NDArray[Any]]
Number = float | Floats
"""One for all channels, or one for each."""


class Pointwise(NamedTuple):
    """A kind of layer: the function's name, its two numbers, and which parameter is learnt.

    The name may depend on the layer's fields, in braces.
    """

    function: str
    numbers: Callable[[Any, Params], tuple[Number, Number]]
    learnt: str = ""
    per_channel: bool = False
    """Whether channels differ: such a layer cannot change places with a shuffle."""


def _prelu(layer: PReLU, params: Params) -> tuple[Number, Number]:
    return params[parameter(layer, "slope")], 0.0


def _none(layer: Layer, params: Params) -> tuple[Number, Number]:
    return 0.0, 0.0


def _leaky_relu(layer: LeakyReLU, params: Params) -> tuple[Number, Number]:
    return layer.slope, 0.0


def _shift(layer: Shift, params: Params) -> tuple[Number, Number]:
    return 1.0, layer.offset


def _scale(layer: Scale, params: Params) -> tuple[Number, Number]:
    return layer.factor, 0.0


def _clip(layer: Clip, params: Params) -> tuple[Number, Number]:
    return layer.low, layer.high


def _grid(layer: FakeQuantize, params: Params) -> tuple[Number, Number]:
    scale = np.exp(params[parameter(layer, "log_scale")].astype(np.float32))
    return float(scale[0]), layer.zero_point


POINTWISE: dict[str, Pointwise] = {
    "PReLU": Pointwise("prelu", _prelu, learnt="slope", per_channel=True),
    "ReLU": Pointwise("relu", _none),
    "LeakyReLU": Pointwise("prelu", _leaky_relu),
    "Shift": Pointwise("affine", _shift),
    "Scale": Pointwise("affine", _scale),
    "Clip": Pointwise("clip", _clip),
    "FakeQuantize": Pointwise("grid{layer.bits}", _grid, learnt="log_scale"),
}
"""Kind of layer: what it computes."""


def pointwise_of(layer: Layer) -> Pointwise | None:
    """What a layer computes of each value alone; None for other layers."""
    row = POINTWISE.get(type(layer).__name__)
    return row and row._replace(function=row.function.format(layer=layer))


def numbers_of(layer: Layer, params: Params, channels: int) -> Floats:
    """Both numbers of every channel, (2, channels); zero for channels that only fill a block."""
    result = np.zeros((2, channels), np.float32)
    numbers = POINTWISE[type(layer).__name__].numbers(layer, params)
    for row, number in zip(result, numbers, strict=True):
        row[: np.size(number) if np.ndim(number) else channels] = number
    return result
