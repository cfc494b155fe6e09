"""Sums and products of an ONNX graph: of images, and with constants for each channel."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from sesr_ref import network as nw
from sesr_ref.exchange.onnx.builder import Builder
from sesr_ref.exchange.onnx.graph import Constant, Image, Node, View
from sesr_ref.exchange.onnx.settle import settled
from sesr_ref.ops.arrays import Array


def check_same_order(node: Node, images: Sequence[Image]) -> None:
    """Raise ValueError unless the images have their axes in the same order."""
    orders = [image.order for image in images]
    node.require(len(set(orders)) == 1, f"its inputs' axes are in the orders {orders}")


def add(node: Node, b: Builder) -> View:
    """Add and Sum: of images, or an image and a constant for each channel."""
    if not _has_constant(node, b):
        return _sum(node, b, _operands(node, b))
    image, constant = _image_and_constant(node, b)
    offset = channel_values(node, image, constant)
    return _into_bias(node, b, image, offset) or _shifted(node, b, image, offset)


def sub(node: Node, b: Builder) -> View:
    """Sub: of two images, or an image and a constant either way round."""
    if not _has_constant(node, b):
        first, second = b.image(node, 0), b.image(node, 1)
        return _sum(node, b, [first, _negative(node, b, second)])
    image, constant = _image_and_constant(node, b)
    offset = channel_values(node, image, constant)
    if isinstance(b.value(node, 0), View):
        return _shifted(node, b, image, -offset)
    return _shifted(node, b, _negative(node, b, settled(b, node, image.view)), offset)


def mul(node: Node, b: Builder) -> View:
    """Mul: of two images, or an image and a constant for each channel."""
    if _has_constant(node, b):
        image, constant = _image_and_constant(node, b)
        return _multiplied(node, b, image, channel_values(node, image, constant))
    first, second = widest_first(node, _operands(node, b))
    if (source := _gated(b, first, second)) is not None:
        silu = nw.SiLU(b.name_for(node), inputs=(source,))
        return b.emit(node, silu, first.shape, order=first.order)
    layer = nw.Multiply(b.name_for(node), inputs=(first.source, second.source))
    return b.emit(node, layer, first.shape, second.shape, order=first.order)


def div(node: Node, b: Builder) -> View:
    """Div by a constant."""
    divisor = b.value(node, 1)
    node.require(
        isinstance(divisor, np.ndarray) and bool(divisor.all()),
        "only division by constants other than 0 is supported",
    )
    image, constant = _image_and_constant(node, b)
    divisors = channel_values(node, image, constant)
    return _multiplied(node, b, image, 1 / divisors.astype(np.float64))


def neg(node: Node, b: Builder) -> View:
    """Neg: times -1."""
    return _negative(node, b, b.image(node, 0), b.name_for(node)).view


def prelu(node: Node, b: Builder) -> View:
    """PRelu with one slope, or one for each channel."""
    x, slope = b.image(node, 0), b.constant(node, 1)
    slopes = np.broadcast_to(channel_values(node, x, slope), (x.channels,)).copy()
    layer = nw.PReLU(b.name_for(node), inputs=(x.source,))
    return b.emit(node, layer, x.shape, order=x.order, params={"slope": slopes})


def widest_first(node: Node, images: Sequence[Image]) -> list[Image]:
    """Images of the same order of axes, that of the most channels first."""
    check_same_order(node, images)
    return sorted(images, key=lambda image: -image.channels)


def channel_values(node: Node, image: Image, value: Constant) -> Array:
    """(1,) or (channels,): a constant as it is broadcast to the image's NCHW tensor."""
    node.require(
        value.ndim <= 4 and value.dtype.kind == "f",
        f"a constant of {value.dtype} and shape {value.shape} is not supported",
    )
    full = value.reshape((1,) * (4 - value.ndim) + value.shape)
    plain = full.transpose(np.argsort(image.order))
    node.require(
        plain.shape in ((1, 1, 1, 1), (1, image.channels, 1, 1)),
        f"a constant of shape {value.shape} is neither one number nor one for each of the "
        f"{image.channels} channels",
    )
    return Builder.finite(node, plain.reshape(-1))


def _has_constant(node: Node, b: Builder) -> bool:
    values = [b.value(node, i) for i in range(len(node.inputs))]
    return len(values) == 2 and any(isinstance(value, np.ndarray) for value in values)


def _image_and_constant(node: Node, b: Builder) -> tuple[Image, Constant]:
    """The two inputs, whichever comes first; the image with its margins still to cut."""
    first = 0 if isinstance(b.value(node, 0), View) else 1
    return b.uncut(node, first), b.constant(node, 1 - first)


def _operands(node: Node, b: Builder) -> list[Image]:
    """The images that are added or multiplied; one repeated channel comes once if it may."""
    places = range(len(node.inputs))
    once = [b.once(node, i) for i in places]
    channels = [b.view(node, i).lengths[once[i].order.index(1)] for i in places]
    if max(channels) == max(image.channels for image in once):
        return once
    return [b.image(node, i) for i in places]


def _sum(node: Node, b: Builder, images: Sequence[Image]) -> View:
    ordered = widest_first(node, images)
    layer = nw.Add(b.name_for(node), inputs=tuple(image.source for image in ordered))
    return b.emit(node, layer, *(image.shape for image in ordered), order=ordered[0].order)


def _into_bias(node: Node, b: Builder, image: Image, offset: Array) -> View | None:
    """Add to the convolution just made, if it has no bias and nobody else reads it."""
    conv = b.layers.get(image.source)
    tensor = b.tensors.get(image.source, "")
    if not isinstance(conv, nw.Conv) or conv.bias:
        return None
    if tensor not in node.inputs or b.readers[tensor] != 1:
        return None
    del b.layers[conv.name]
    weight = b.params.pop(f"{conv.name}.weight")
    bias = np.broadcast_to(offset, (image.channels,)).copy()
    layer = dataclasses.replace(conv, name=b.name_for(node), bias=True)
    b.layers[layer.name] = layer
    b.tensors[layer.name] = node.outputs[0]
    b.params |= {f"{layer.name}.weight": weight, f"{layer.name}.bias": bias}
    return dataclasses.replace(image, source=layer.name).view


def _gated(b: Builder, *images: Image) -> str | None:
    """The tensor that is multiplied by its own sigmoid, None for other products."""
    for image, gate in (images, images[::-1]):
        maker = b.layers.get(gate.source)
        if isinstance(maker, nw.Sigmoid) and maker.inputs == (image.source,):
            return image.source
    return None


def _negative(node: Node, b: Builder, image: Image, name: str = "") -> Image:
    layer = nw.Scale(name or b.fresh(f"{image.source}.negative"), -1.0, inputs=(image.source,))
    view = b.emit(node, layer, image.shape)
    return Image(view.source, view.shape, image.order)


def _multiplied(node: Node, b: Builder, image: Image, factor: Array) -> View:
    """``x * factor``: one number, or one a channel."""
    x = settled(b, node, image.view)
    one = float(factor[0])
    if not (factor == factor[0]).all():
        gain = nw.Gain(b.name_for(node), inputs=(x.source,))
        params = {"gain": factor.astype(np.float32)}
        return b.emit(node, gain, x.shape, order=x.order, params=params)
    if x.source == b.bytes:  # which are 255 times the image already
        one, x = 255 * one, dataclasses.replace(x, source="input")
        if abs(one - 1) < 1e-6:
            return x.view
    layer = nw.Scale(b.name_for(node), one, inputs=(x.source,))
    return b.emit(node, layer, x.shape, order=x.order)


def _shifted(node: Node, b: Builder, image: Image, offset: Array) -> View:
    """``x + offset``: one number, or a depthwise convolution's bias."""
    x = settled(b, node, image.view)
    name, inputs, c = b.name_for(node), (x.source,), x.channels
    if (offset == offset[0]).all():
        layer = nw.Shift(name, float(offset[0]), inputs=inputs)
        return b.emit(node, layer, x.shape, order=x.order)
    params = {"weight": np.ones((1, 1, 1, c), np.float32), "bias": offset}
    depthwise = nw.Conv(name, c, 1, groups=c, bias=True, inputs=inputs)
    return b.emit(node, depthwise, x.shape, order=x.order, params=params)
