"""Convolutions of an ONNX graph."""

from __future__ import annotations

import numpy as np

from sesr_ref import network as nw
from sesr_ref.exchange.onnx.builder import Builder
from sesr_ref.exchange.onnx.graph import NCHW, Image, Margins, Node, View
from sesr_ref.exchange.onnx.settle import settled
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.params import MAX_PARAMETERS

Pair = tuple[int, int]
"""Rows and columns."""


def conv(node: Node, b: Builder) -> View:
    """Conv: stride 1, no dilation, odd kernels; where it pads less than 'same', a cut is left."""
    x, weight, bias = b.nchw(node, b.uncut(node, 0)), b.weight(node, 1), b.bias(node, 2)
    groups = int(node.attribute("group", 1))
    sides = _kernel_sides(node, weight)
    node.require(
        set(node.attribute("strides", [1])) == {1},
        f"strides {node.attribute('strides')}; only 1 is supported",
    )
    pads = _pads(node, sides)
    node.require(
        groups >= 1 and x.channels == weight.shape[1] * groups,
        f"weight {weight.shape} in {groups} group(s) does not fit {x.channels} input channels",
    )
    params = {"weight": np.ascontiguousarray(weight.transpose(2, 3, 1, 0))}
    params |= _bias(node, bias, len(weight))
    source, margins = _same(node, b, x, sides, pads)
    name, inputs = b.name_for(node), (source.source,)
    size = sides[0] if sides[0] == sides[1] else sides
    layer = nw.Conv(name, len(weight), size, groups, bias is not None, inputs=inputs)
    made = b.emit(node, layer, source.shape, params=params)
    return Image(name, made.shape, NCHW).cut(margins, f"{name}.cut").view


def _same(node: Node, b: Builder, x: Image, sides: Pair, pads: Margins) -> tuple[Image, Margins]:
    """What a 'same' convolution reads for this one, and what is to be cut off its output."""
    # zeros that x is padded with count as the convolution's own, as far as 'same' has them; more of
    # them, and what is cut off x where the convolution pads, come ahead of it
    if any(margin > 0 and pad for margin, pad in zip(x.margins, pads, strict=True)):
        x = settled(b, node, x.view)
    half = [side // 2 for side in (*sides, *sides)]
    left = [h - p + m for h, p, m in zip(half, pads, x.margins, strict=True)]
    more = max(0, -min(left))
    top, before, bottom, after = (cut + more for cut in left)
    source = settled(b, node, x.whole.cut((-more, -more, -more, -more), x.label).view)
    return source, (top, before, bottom, after)


def conv_transpose(node: Node, b: Builder) -> View:
    """ConvTranspose whose output is a whole number of times the input; groups become zeros."""
    x, weight, bias = b.nchw(node, b.image(node, 0)), b.weight(node, 1), b.bias(node, 2)
    groups = int(node.attribute("group", 1))
    k, columns = _kernel_sides(node, weight)
    node.require(
        k == columns, f"kernel_shape {[k, columns]}; of transposed ones only square is supported"
    )
    stride, top = _transpose_geometry(node, k)
    node.require(
        x.channels == len(weight) and groups >= 1 and len(weight) % max(groups, 1) == 0,
        f"weight {weight.shape} in {groups} group(s) does not fit {x.channels} input channels",
    )
    node.require(
        weight.size * groups <= MAX_PARAMETERS,
        f"weight {weight.shape} in {groups} groups is too large without groups",
    )
    dense = _ungrouped(weight, groups).transpose(2, 3, 0, 1)
    features = dense.shape[3]
    name, has_bias = b.name_for(node), bias is not None
    layer = nw.ConvTranspose(name, features, k, stride, has_bias, top, inputs=(x.source,))
    params = {"weight": np.ascontiguousarray(dense), **_bias(node, bias, features)}
    return b.emit(node, layer, x.shape, params=params)


def _transpose_geometry(node: Node, k: int) -> Pair:
    """Stride and rows cut from the top of an output exactly `stride` times the input."""
    strides = node.attribute("strides", [1, 1])
    top, left, bottom, right = node.attribute("pads", [0] * 4)
    more = node.attribute("output_padding", [0, 0])
    usual = node.attribute("auto_pad", "NOTSET") in ("NOTSET", "VALID")
    node.require(
        usual and "output_shape" not in node.attributes and len(set(strides)) == 1,
        "auto_pad, output_shape and unequal strides are not supported",
    )
    stride = int(strides[0])
    excess = {k - stride + more[0] - top - bottom, k - stride + more[1] - left - right}
    node.require(
        top == left and excess == {0},
        f"kernel {k}, stride {stride}, pads {[top, left, bottom, right]} and output_padding "
        f"{list(more)} do not make an output exactly {stride} times the input",
    )
    return stride, int(top)


def _ungrouped(weight: Array, groups: int) -> Array:
    """(in, out // groups, k, k) of groups as (in, out, k, k) with zeros between them."""
    if groups == 1:
        return weight
    rows, columns = len(weight) // groups, weight.shape[1]
    dense = np.zeros((len(weight), columns * groups, *weight.shape[2:]), weight.dtype)
    for g in range(groups):
        own = slice(g * rows, (g + 1) * rows)
        dense[own, g * columns : (g + 1) * columns] = weight[own]
    return dense


def _kernel_sides(node: Node, weight: Array) -> Pair:
    rows, columns = weight.shape[2:]
    stated = list(node.attribute("kernel_shape", [rows, columns]))
    node.require(
        stated == [rows, columns], f"kernel_shape {stated} does not fit a weight {weight.shape}"
    )
    node.require(
        set(node.attribute("dilations", [1])) == {1},
        f"dilations {node.attribute('dilations')}; only 1 is supported",
    )
    return rows, columns


def _pads(node: Node, sides: Pair) -> Margins:
    """Zeros above, left, below and right; ValueError for an even kernel, which has no middle."""
    pads, auto = list(node.attribute("pads", [0] * 4)), node.attribute("auto_pad", "NOTSET")
    node.require(
        all(side % 2 for side in sides) and len(pads) == 4 and min(pads) >= 0,
        f"kernel {sides} with pads {pads} and auto_pad {auto}; only odd kernels are supported",
    )
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        return sides[0] // 2, sides[1] // 2, sides[0] // 2, sides[1] // 2
    top, left, bottom, right = (0, 0, 0, 0) if auto == "VALID" else pads
    return int(top), int(left), int(bottom), int(right)


def _bias(node: Node, bias: Array | None, features: int) -> Params:
    if bias is None:
        return {}
    node.require(
        bias.shape == (features,),
        f"a bias of shape {bias.shape} for {features} output channels",
    )
    return {"bias": bias}
