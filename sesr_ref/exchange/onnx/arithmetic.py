"""Sums, products and slopes of an ONNX graph: with constants for each channel."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from sesr_ref import network as nw
from sesr_ref.exchange.onnx import axes as ax
from sesr_ref.exchange.onnx.graph import Builder, Constant, Image, Node, View
from sesr_ref.ops.arrays import Array


def check_same_order(node: Node, images: Sequence[Image]) -> None:
    """Raise ValueError unless the images have their axes in the same order."""
    if len({image.order for image in images}) > 1:
        raise node.error(f"its inputs' axes are in the orders {[i.order for i in images]}")


def add(node: Node, b: Builder) -> View:
    """Add and Sum: of images, or an image and a constant for each channel."""
    values = [b.value(node, i) for i in range(len(node.inputs))]
    if len(values) == 2 and not all(isinstance(v, View) for v in values):
        image, constant = _image_and_constant(node, b)
        offset = _channel_values(node, image, constant)
        fused = _into_bias(node, b, image, offset)
        return fused or _shifted(node, b, image, offset)
    return _sum(node, b, [b.image(node, i) for i in range(len(node.inputs))])


def _sum(node: Node, b: Builder, images: Sequence[Image]) -> View:
    widest_first = sorted(images, key=lambda image: -image.channels)
    first = widest_first[0]
    check_same_order(node, widest_first)
    layer = nw.Add(b.name_for(node), inputs=tuple(i.source for i in widest_first))
    return b.emit(node, layer, *(i.shape for i in widest_first), order=first.order)


def _into_bias(node: Node, b: Builder, image: Image, offset: Array) -> View | None:
    """Add to the convolution just made, if it has no bias and nobody else reads it."""
    conv = b.layers[-1] if b.layers else None
    tensor = b.tensors.get(image.source, "")
    if not isinstance(conv, nw.Conv) or conv.bias or conv.name != image.source:
        return None
    if tensor not in node.inputs or b.readers[tensor] != 1:
        return None
    b.layers.pop()
    weight = b.params.pop(f"{conv.name}.weight")
    bias = np.broadcast_to(offset, (image.channels,)).copy()
    layer = dataclasses.replace(conv, name=b.name_for(node), bias=True)
    b.layers.append(layer)
    b.tensors[layer.name] = node.outputs[0]
    b.params |= {f"{layer.name}.weight": weight, f"{layer.name}.bias": bias}
    return View(layer.name, image.shape, ax.transposed(ax.image_axes(image.shape), image.order))


def sub(node: Node, b: Builder) -> View:
    """Sub: of two images, or an image and a constant either way round."""
    if all(isinstance(b.value(node, i), View) for i in (0, 1)):
        first, second = b.image(node, 0), b.image(node, 1)
        return _sum(node, b, [first, _scaled(node, b, second, -1.0)])
    image, constant = _image_and_constant(node, b)
    offset = _channel_values(node, image, constant)
    if isinstance(b.value(node, 0), View):
        return _shifted(node, b, image, -offset)
    return _shifted(node, b, _scaled(node, b, image, -1.0), offset)


def _scaled(node: Node, b: Builder, image: Image, factor: float) -> Image:
    name = b.fresh(f"{image.source}.scaled")
    view = b.emit(node, nw.Scale(name, factor, inputs=(image.source,)), image.shape)
    return Image(view.source, view.shape, image.order)


def mul(node: Node, b: Builder) -> View:
    """Mul by a constant."""
    image, constant = _image_and_constant(node, b)
    return _multiplied(node, b, image, _channel_values(node, image, constant))


def div(node: Node, b: Builder) -> View:
    """Div by a constant."""
    image, constant = _image_and_constant(node, b)
    divisor = _channel_values(node, image, constant)
    if isinstance(b.value(node, 1), View) or not divisor.all():
        raise node.error("only division by constants other than 0 is supported")
    return _multiplied(node, b, image, 1 / divisor.astype(np.float64))


def _image_and_constant(node: Node, b: Builder) -> tuple[Image, Constant]:
    values = [b.value(node, i) for i in (0, 1)]
    for index, other in ((0, values[1]), (1, values[0])):
        if isinstance(values[index], View) and isinstance(other, np.ndarray):
            return b.image(node, index), other
    raise node.error(f"{node.kind} of two tensors that depend on the image is not supported")


def _channel_values(node: Node, image: Image, value: Constant) -> Array:
    """(1,) or (channels,): a constant as it is broadcast to the image's NCHW tensor."""
    if value.ndim > 4 or value.dtype.kind != "f":
        raise node.error(f"a constant of {value.dtype} and shape {value.shape} is not supported")
    full = value.reshape((1,) * (4 - value.ndim) + value.shape)
    plain = full.transpose(np.argsort(image.order))
    if plain.shape not in ((1, 1, 1, 1), (1, image.channels, 1, 1)):
        raise node.error(
            f"a constant of shape {value.shape} is neither one number nor one for each of the "
            f"{image.channels} channels"
        )
    return Builder.finite(node, plain.reshape(-1))


def _multiplied(node: Node, b: Builder, image: Image, factor: Array) -> View:
    """``x * factor``: one number, or a depthwise convolution."""
    name, inputs, c = b.name_for(node), (image.source,), image.channels
    if (factor == factor[0]).all():
        layer = nw.Scale(name, float(factor[0]), inputs=inputs)
        return b.emit(node, layer, image.shape, order=image.order)
    params = {"weight": factor.astype(np.float32).reshape(1, 1, 1, c)}
    depthwise = nw.Conv(name, c, 1, groups=c, inputs=inputs)
    return b.emit(node, depthwise, image.shape, order=image.order, params=params)


def _shifted(node: Node, b: Builder, image: Image, offset: Array) -> View:
    """``x + offset``: one number, or a depthwise convolution's bias."""
    name, inputs, c = b.name_for(node), (image.source,), image.channels
    if (offset == offset[0]).all():
        layer = nw.Shift(name, float(offset[0]), inputs=inputs)
        return b.emit(node, layer, image.shape, order=image.order)
    params = {"weight": np.ones((1, 1, 1, c), np.float32), "bias": offset}
    depthwise = nw.Conv(name, c, 1, groups=c, bias=True, inputs=inputs)
    return b.emit(node, depthwise, image.shape, order=image.order, params=params)


def prelu(node: Node, b: Builder) -> View:
    """PRelu with one slope, or one for each channel."""
    x, slope = b.image(node, 0), b.constant(node, 1)
    slopes = np.broadcast_to(_channel_values(node, x, slope), (x.channels,)).copy()
    layer = nw.PReLU(b.name_for(node), inputs=(x.source,))
    return b.emit(node, layer, x.shape, order=x.order, params={"slope": slopes})
