"""QuantizeLinear and DequantizeLinear: a tensor that is rounded to a grid and stays real."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sesr_ref import network as nw
from sesr_ref.exchange.onnx.builder import Builder
from sesr_ref.exchange.onnx.graph import Node, View


class Codes(NamedTuple):
    """The grid of a tensor of integers: as int8 or int16 has it."""

    scale: float
    zero_point: int
    bits: int


def quantize_linear(node: Node, b: Builder) -> View:
    """Note the grid; what reads the integers must be a DequantizeLinear with the same one."""
    b.codes[node.outputs[0]] = _grid(node, b)
    return b.view(node, 0)


def dequantize_linear(node: Node, b: Builder) -> View:
    """The layer that the pair of both is."""
    x, name = b.image(node, 0), node.inputs[0]
    node.require(name in b.codes, f"{name!r} is not made by a QuantizeLinear")
    grid = b.codes[name]
    same = _grid(node, b) == grid
    node.require(same, f"its grid is not that of the QuantizeLinear, {tuple(grid)}")
    layer = nw.FakeQuantize(b.name_for(node), grid.zero_point, grid.bits, inputs=(x.source,))
    params = {"log_scale": np.log(np.float32(grid.scale)).reshape(1)}
    return b.emit(node, layer, x.shape, order=x.order, params=params)


def _grid(node: Node, b: Builder) -> Codes:
    scale, zero = b.constant(node, 1), b.optional(node, 2)
    one = scale.size == 1 and scale.dtype == np.float32 and 0 < scale.reshape(()) < np.inf
    node.require(bool(one), "the scale of a tensor must be one positive float32 number")
    stated = zero is not None or not node.attribute("output_dtype", 0)
    node.require(stated, "output_dtype without a zero point is not supported")
    zero = np.zeros(1, np.uint8) if zero is None else zero
    known = zero.size == 1 and zero.dtype in (np.int8, np.uint8, np.int16, np.uint16)
    node.require(known, f"a zero point must be one number of 8 or 16 bits, got {zero.dtype}")
    bits = 8 * zero.dtype.itemsize
    shift = 1 << (bits - 1) if zero.dtype.kind == "u" else 0
    return Codes(float(scale.reshape(())), int(zero.reshape(())) - shift, bits)
