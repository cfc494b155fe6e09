"""QuantizeLinear and DequantizeLinear: an image that is rounded to a grid and stays real."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from sesr_ref import network as nw
from sesr_ref.exchange.layouts import Stored
from sesr_ref.exchange.onnx.search import Found, Search
from sesr_ref.exchange.onnx.writer import Graph
from sesr_ref.limits import check
from sesr_ref.ops.arrays import Params

INT16_OPSET = 21
"""The first opset whose QuantizeLinear makes 16 bits."""
CODES = ("int8", "uint8", "int16", "uint16")
"""Types of integers that are read."""


class Grid(NamedTuple):
    """Scale, zero point and bits of signed integers."""

    scale: float
    zero_point: int
    bits: int


def write_grid(graph: Graph, layer: nw.FakeQuantize, inputs: tuple[str, ...], p: Params) -> None:
    """Append the two nodes that a rounding is."""
    fits = layer.bits == 8 or graph.opset >= INT16_OPSET
    check(fits, f"{layer.name}: the opset for 16 bits", f"{INT16_OPSET} or newer", graph.opset)
    dtype = np.int8 if layer.bits == 8 else np.int16
    grid = (
        graph.number(f"{layer.name}.scale", np.exp(p["log_scale"][0])),
        graph.constant(f"{layer.name}.zero_point", np.array(layer.zero_point, dtype)),
    )
    codes = graph.node("QuantizeLinear", (*inputs, *grid), f"{layer.name}.codes")
    graph.node("DequantizeLinear", (codes, *grid), layer.name)


def find_grids(graph: Any) -> dict[str, Found]:
    """Find the pairs of QuantizeLinear and DequantizeLinear with one grid for all values.

    Parameters
    ----------
    graph : onnx.GraphProto
        Any graph.

    Returns
    -------
    dict of Found
        By the name of the tensor that DequantizeLinear makes.
    """
    search = Search(graph)
    last = [node for node in graph.node if node.op_type == "DequantizeLinear"]
    return {node.output[0]: found for node in last if (found := _found(search, node)) is not None}


def _found(search: Search, last: Any) -> Found | None:
    first = search.made("QuantizeLinear", last.input[0])
    if first is None:
        return None
    grid = _grid(search, first)
    if grid is None or grid != _grid(search, last):
        return None
    layer = partial(_layer, zero_point=grid.zero_point, bits=grid.bits)
    log_scale = np.array([np.log(grid.scale)], np.float32)
    return Found(first.input[0], layer, params={"log_scale": log_scale})


def _layer(name: str, inputs: tuple[str, ...], zero_point: int, bits: int) -> nw.FakeQuantize:
    return nw.FakeQuantize(name, zero_point, bits, inputs=inputs)


def _grid(search: Search, node: Any) -> Grid | None:
    """The grid that a node states; unsigned integers are signed ones, half their range lower."""
    scale = search.number(node.input[1])
    zero: Stored | None = np.zeros((), np.uint8)
    if len(node.input) > 2 and node.input[2]:
        zero = search.array(node.input[2])
    elif "output_dtype" in search.attributes(node):
        return None
    if scale is None or zero is None or zero.size != 1 or zero.dtype.name not in CODES:
        return None
    bits = 8 * zero.dtype.itemsize
    half = (1 << (bits - 1)) if zero.dtype.kind == "u" else 0
    inside = 0 < scale <= nw.MAX_NUMBER
    return Grid(scale, int(zero.reshape(())) - half, bits) if inside else None
