"""Convolutions of an ONNX graph."""

from __future__ import annotations

import numpy as np

from sesr_ref import network as nw
from sesr_ref.exchange.onnx.graph import Builder, Node, View
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.params import MAX_PARAMETERS


def conv(node: Node, b: Builder) -> View:
    """Conv: stride 1, no dilation, odd square kernels padded to 'same', groups."""
    x, weight, bias = b.nchw(node, 0), b.weight(node, 1), b.bias(node, 2)
    groups = int(node.attribute("group", 1))
    k = _kernel_size(node, weight)
    if any(s != 1 for s in node.attribute("strides", [1])):
        raise node.error(f"strides {node.attribute('strides')}; only 1 is supported")
    if k % 2 == 0 or not _pads_same(node, k):
        pads, auto = node.attribute("pads", [0] * 4), node.attribute("auto_pad", "NOTSET")
        raise node.error(
            f"kernel {k} with pads {pads} and auto_pad {auto}; "
            "only odd kernels padded to 'same' are supported"
        )
    if groups < 1 or x.channels != weight.shape[1] * groups:
        raise node.error(
            f"weight {weight.shape} in {groups} group(s) does not fit {x.channels} input channels"
        )
    params = {"weight": np.ascontiguousarray(weight.transpose(2, 3, 1, 0))}
    params |= _bias(node, bias, len(weight))
    layer = nw.Conv(b.name_for(node), len(weight), k, groups, bias is not None, inputs=(x.source,))
    return b.emit(node, layer, x.shape, params=params)


def conv_transpose(node: Node, b: Builder) -> View:
    """ConvTranspose whose output is a whole number of times the input; groups become zeros."""
    x, weight, bias = b.nchw(node, 0), b.weight(node, 1), b.bias(node, 2)
    groups = int(node.attribute("group", 1))
    k = _kernel_size(node, weight)
    stride, top = _transpose_geometry(node, k)
    if x.channels != len(weight) or groups < 1 or len(weight) % groups:
        raise node.error(
            f"weight {weight.shape} in {groups} group(s) does not fit {x.channels} input channels"
        )
    if weight.size * groups > MAX_PARAMETERS:
        raise node.error(f"weight {weight.shape} in {groups} groups is too large without groups")
    dense = _ungrouped(weight, groups).transpose(2, 3, 0, 1)
    features = dense.shape[3]
    name, has_bias = b.name_for(node), bias is not None
    layer = nw.ConvTranspose(name, features, k, stride, has_bias, top, inputs=(x.source,))
    params = {"weight": np.ascontiguousarray(dense), **_bias(node, bias, features)}
    return b.emit(node, layer, x.shape, params=params)


def _transpose_geometry(node: Node, k: int) -> tuple[int, int]:
    """Stride and rows cut from the top of an output exactly `stride` times the input."""
    strides = node.attribute("strides", [1, 1])
    top, left, bottom, right = node.attribute("pads", [0] * 4)
    more = node.attribute("output_padding", [0, 0])
    unusual = node.attribute("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    if unusual or "output_shape" in node.attributes or len(set(strides)) != 1:
        raise node.error("auto_pad, output_shape and unequal strides are not supported")
    stride = int(strides[0])
    excess = {k - stride + more[0] - top - bottom, k - stride + more[1] - left - right}
    if top != left or excess != {0}:
        raise node.error(
            f"kernel {k}, stride {stride}, pads {[top, left, bottom, right]} and output_padding "
            f"{list(more)} do not make an output exactly {stride} times the input"
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


def _kernel_size(node: Node, weight: Array) -> int:
    height, width = weight.shape[2:]
    stated = list(node.attribute("kernel_shape", [height, width]))
    if height != width or stated != [height, width]:
        raise node.error(
            f"kernel_shape {stated} of a weight {weight.shape}; only square kernels are supported"
        )
    if any(d != 1 for d in node.attribute("dilations", [1])):
        raise node.error(f"dilations {node.attribute('dilations')}; only 1 is supported")
    return int(height)


def _pads_same(node: Node, k: int) -> bool:
    if (auto := node.attribute("auto_pad", "NOTSET")) != "NOTSET":
        return auto in ("SAME_UPPER", "SAME_LOWER") or (auto == "VALID" and k == 1)
    return list(node.attribute("pads", [0] * 4)) == [k // 2] * 4


def _bias(node: Node, bias: Array | None, features: int) -> Params:
    if bias is None:
        return {}
    if bias.shape != (features,):
        raise node.error(f"a bias of shape {bias.shape} for {features} output channels")
    return {"bias": bias}
