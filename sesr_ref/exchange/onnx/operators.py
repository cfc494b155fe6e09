"""What each ONNX operator becomes: one table, its rules in the files of their kinds."""

from __future__ import annotations

from collections.abc import Callable

from sesr_ref import network as nw
from sesr_ref.exchange.onnx import arithmetic, conv, cuts, grids, pointwise, rearrange
from sesr_ref.exchange.onnx.builder import Builder
from sesr_ref.exchange.onnx.graph import Node, Value, View

Rule = Callable[[Node, Builder], Value | list[View]]

RULES: dict[str, Rule] = {
    "Add": arithmetic.add,
    "BatchNormalization": pointwise.batch_norm,
    "Cast": rearrange.cast,
    "Clip": pointwise.clip,
    "Concat": rearrange.concat,
    "Conv": conv.conv,
    "ConvTranspose": conv.conv_transpose,
    "DepthToSpace": rearrange.depth_to_space,
    "DequantizeLinear": grids.dequantize_linear,
    "Div": arithmetic.div,
    "Dropout": rearrange.same,
    "Expand": rearrange.expand,
    "Gelu": pointwise.gelu,
    "Identity": rearrange.same,
    "LeakyRelu": pointwise.leaky_relu,
    "Max": pointwise.maximum,
    "Min": pointwise.minimum,
    "Mul": arithmetic.mul,
    "Neg": arithmetic.neg,
    "PRelu": arithmetic.prelu,
    "Pad": cuts.pad,
    "QuantizeLinear": grids.quantize_linear,
    "Relu": pointwise.plain(nw.ReLU),
    "Reshape": rearrange.reshape,
    "Resize": rearrange.resize,
    "Round": rearrange.rounding,
    "Sigmoid": pointwise.plain(nw.Sigmoid),
    "Slice": cuts.slices,
    "Split": cuts.split,
    "Squeeze": rearrange.squeeze,
    "Sub": arithmetic.sub,
    "Sum": arithmetic.add,
    "Tanh": pointwise.plain(nw.Tanh),
    "Tile": rearrange.tile,
    "Transpose": rearrange.transpose,
    "Unsqueeze": rearrange.unsqueeze,
    "Upsample": rearrange.resize,
}
"""The operators that are understood where an image passes through them."""
