"""Functions of each value in an ONNX graph."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from sesr_ref import network as nw
from sesr_ref.exchange.onnx.builder import Builder
from sesr_ref.exchange.onnx.graph import Node, View
from sesr_ref.exchange.values import MAX_VARIANCE, MAX_WEIGHT

Rule = Callable[[Node, Builder], View]


def plain(kind: type[nw.Pointwise]) -> Rule:
    """Rule for a function of each value that has no attributes."""

    def rule(node: Node, b: Builder) -> View:
        return _made(node, b, lambda name, inputs: kind(name, inputs=inputs))

    return rule


def leaky_relu(node: Node, b: Builder) -> View:
    """LeakyRelu with its slope."""
    slope = node.number("alpha", 0.01)
    return _made(node, b, lambda name, inputs: nw.LeakyReLU(name, slope, inputs=inputs))


def gelu(node: Node, b: Builder) -> View:
    """Gelu, an operator from opset 20 on."""
    approximate = node.attribute("approximate", "none")
    return _made(node, b, lambda name, inputs: nw.GELU(name, approximate, inputs=inputs))


def clip(node: Node, b: Builder) -> View:
    """Clip; its limits are attributes before opset 11, inputs since."""
    return _clipped(node, b, _limit(node, b, 1, "min"), _limit(node, b, 2, "max"), 0)


def maximum(node: Node, b: Builder) -> View:
    """Max of an image and one number."""
    place, number = _bounded(node, b)
    return _clipped(node, b, number, math.inf, place)


def minimum(node: Node, b: Builder) -> View:
    """Min of an image and one number."""
    place, number = _bounded(node, b)
    return _clipped(node, b, -math.inf, number, place)


def batch_norm(node: Node, b: Builder) -> View:
    """BatchNormalization with stored statistics."""
    node.require(not node.attribute("training_mode", 0), "normalises by the batch's own statistics")
    x = b.nchw(node, b.image(node, 0))
    keys, limits = ("scale", "offset", "mean", "var"), (*[MAX_WEIGHT] * 3, MAX_VARIANCE)
    params = {
        key: b.parameter(node, i, b.constant(node, i), 1, limit)
        for i, (key, limit) in enumerate(zip(keys, limits, strict=True), 1)
    }
    shapes = {array.shape for array in params.values()}
    node.require(shapes == {(x.channels,)}, f"parameters {shapes} for {x.channels} channels")
    node.require(bool((params["var"] >= 0).all()), "a variance is negative")
    layer = nw.BatchNorm(b.name_for(node), node.number("epsilon", 1e-5), inputs=(x.source,))
    return b.emit(node, layer, x.shape, params=params)


def _made(node: Node, b: Builder, make: Callable[[str, tuple[str, ...]], nw.Layer]) -> View:
    x = b.image(node, 0)
    try:
        layer = make(b.name_for(node), (x.source,))
    except ValueError as error:
        raise node.error(str(error)) from None
    return b.emit(node, layer, x.shape, order=x.order)


def _clipped(node: Node, b: Builder, low: float, high: float, place: int) -> View:
    x = b.image(node, place)
    name = b.name_for(node)
    if low == 0 and high == math.inf:
        return b.emit(node, nw.ReLU(name, inputs=(x.source,)), x.shape, order=x.order)
    low, high = max(low, -nw.MAX_NUMBER), min(high, nw.MAX_NUMBER)
    return b.emit(node, nw.Clip(name, low, high, inputs=(x.source,)), x.shape, order=x.order)


def _limit(node: Node, b: Builder, index: int, key: str) -> float:
    """A limit of Clip, infinite when left out."""
    value = b.optional(node, index)
    if value is None:
        return float(node.attribute(key, -math.inf if key == "min" else math.inf))
    number = value.size == 1 and value.dtype.kind == "f" and not np.isnan(value).any()
    node.require(bool(number), f"{key} must be one number")
    return float(value.reshape(()))


def _bounded(node: Node, b: Builder) -> tuple[int, float]:
    """Which of two inputs is the image, and the number that the other one is."""
    place = 0 if isinstance(b.value(node, 0), View) else 1
    constant = len(node.inputs) == 2 and not isinstance(b.value(node, 1 - place), View)
    node.require(constant, f"only {node.kind} of an image and one number is supported")
    return place, _limit(node, b, 1 - place, "the other input")
