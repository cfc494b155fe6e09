"""What each ONNX operator becomes: one table, one small rule an operator."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from sesr_ref import network as nw
from sesr_ref.exchange.onnx import arithmetic as arithmetic
from sesr_ref.exchange.onnx import axes as ax
from sesr_ref.exchange.onnx import conv as conv
from sesr_ref.exchange.onnx.graph import Builder, Node, Value, View
from sesr_ref.exchange.onnx.resize import resize_mode, resize_scale

Rule = Callable[[Node, Builder], Value]


def _plain(kind: type[nw.Pointwise]) -> Rule:
    """Read a function of each value that has no attributes."""

    def rule(node: Node, b: Builder) -> View:
        x = b.image(node, 0)
        return b.emit(node, kind(b.name_for(node), inputs=(x.source,)), x.shape, order=x.order)

    return rule


def _leaky_relu(node: Node, b: Builder) -> View:
    x = b.image(node, 0)
    layer = nw.LeakyReLU(b.name_for(node), float(node.attribute("alpha", 0.01)), inputs=(x.source,))
    return b.emit(node, layer, x.shape, order=x.order)


def _clip(node: Node, b: Builder) -> View:
    x = b.image(node, 0)
    low, high = (_bound(node, b, i, key) for i, key in ((1, "min"), (2, "max")))
    name = b.name_for(node)
    if low == 0 and high == math.inf:
        return b.emit(node, nw.ReLU(name, inputs=(x.source,)), x.shape, order=x.order)
    low, high = max(low, -nw.MAX_NUMBER), min(high, nw.MAX_NUMBER)
    return b.emit(node, nw.Clip(name, low, high, inputs=(x.source,)), x.shape, order=x.order)


def _bound(node: Node, b: Builder, index: int, key: str) -> float:
    """A limit of Clip: an attribute before opset 11, an input since; infinite when left out."""
    value = b.optional(node, index)
    if value is None:
        return float(node.attribute(key, -math.inf if key == "min" else math.inf))
    if value.size != 1 or value.dtype.kind != "f" or np.isnan(value).any():
        raise node.error(f"{key} must be one number")
    return float(value.reshape(()))


def _concat(node: Node, b: Builder) -> View:
    images = [b.image(node, i) for i in range(len(node.inputs))]
    arithmetic.check_same_order(node, images)
    order = images[0].order
    if order[int(node.attribute("axis")) % 4] != 1:
        raise node.error(f"axis {node.attribute('axis')} is not the channels'")
    layer = nw.Concat(b.name_for(node), inputs=tuple(i.source for i in images))
    return b.emit(node, layer, *(i.shape for i in images), order=order)


def _depth_to_space(node: Node, b: Builder) -> View:
    x = b.nchw(node, 0)
    block, mode = int(node.attribute("blocksize", 0)), node.attribute("mode", "DCR")
    layer = nw.DepthToSpace(b.name_for(node), block, mode, inputs=(x.source,))
    return b.emit(node, layer, x.shape)


def _transpose(node: Node, b: Builder) -> View:
    view = _view(node, b)
    order = [int(i) for i in node.attribute("perm", range(len(view.axes))[::-1])]
    if sorted(order) != list(range(len(view.axes))):
        raise node.error(f"perm {order} of a tensor with {len(view.axes)} axes")
    return View(view.source, view.shape, ax.transposed(view.axes, order))


def _reshape(node: Node, b: Builder) -> View:
    view, shape = _view(node, b), b.constant(node, 1)
    lengths = [int(n) for n in shape.reshape(-1)]
    if not node.attribute("allowzero", 0):
        old = (*view.lengths, *[0] * len(lengths))
        lengths = [n or old[i] for i, n in enumerate(lengths)]
    if lengths.count(-1) == 1:
        known = -math.prod(lengths)
        lengths[lengths.index(-1)] = math.prod(view.lengths) // max(known, 1)
    if any(n < 1 for n in lengths):
        raise node.error(f"a tensor of shape {view.lengths} has no shape {lengths}")
    try:
        return View(view.source, view.shape, ax.reshaped(view.axes, lengths))
    except ValueError as error:
        raise node.error(str(error)) from None


def _resize(node: Node, b: Builder) -> View:
    x = b.image(node, 0)
    scale = resize_scale(node, b, x)
    layer = nw.Resize(b.name_for(node), scale, resize_mode(node, scale), inputs=(x.source,))
    return b.emit(node, layer, x.shape, order=x.order)


def _same(node: Node, b: Builder) -> View:
    return _view(node, b)


def _cast(node: Node, b: Builder) -> View:
    if int(node.attribute("to", 0)) not in FLOAT_TYPES:
        raise node.error("casts the image to something other than float, float16 or double")
    return _view(node, b)


def _view(node: Node, b: Builder) -> View:
    value = b.value(node, 0)
    if not isinstance(value, View):
        raise node.error("its first input must depend on the image")
    return value


FLOAT_TYPES = {1: "float32", 10: "float16", 11: "float64", 16: "bfloat16"}
"""ONNX's numbers for the types that images may have."""

RULES: dict[str, Rule] = {
    "Add": arithmetic.add,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": conv.conv,
    "ConvTranspose": conv.conv_transpose,
    "DepthToSpace": _depth_to_space,
    "Div": arithmetic.div,
    "Dropout": _same,
    "Identity": _same,
    "LeakyRelu": _leaky_relu,
    "Mul": arithmetic.mul,
    "PRelu": arithmetic.prelu,
    "Relu": _plain(nw.ReLU),
    "Reshape": _reshape,
    "Resize": _resize,
    "Sigmoid": _plain(nw.Sigmoid),
    "Sub": arithmetic.sub,
    "Sum": arithmetic.add,
    "Transpose": _transpose,
    "Upsample": _resize,
}
"""The operators that are understood where an image passes through them."""
