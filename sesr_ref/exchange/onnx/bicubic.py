"""MATLAB's bicubic enlargement in ONNX, which has no operator for it: written, and found again.

ONNX's cubic Resize repeats the edge pixel; MATLAB's imresize mirrors.  So the edges are mirrored by
Slice and Concat, each channel is convolved to its phases, and the phases are shuffled to pixels.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from sesr_ref.exchange.onnx.file import tensor_array
from sesr_ref.exchange.onnx.search import Found, Search
from sesr_ref.exchange.onnx.writer import Graph
from sesr_ref.exchange.phases import MIRROR, TAPS, phase_weights
from sesr_ref.network import Resize

FROM_START = -(2**31)
ENDS = {"first": (MIRROR - 1, FROM_START), "last": (-1, -1 - MIRROR)}
"""Start and stop of the slices, by steps of -1, that stand mirrored beside the image."""


def write_bicubic(graph: Graph, name: str, upscale: int, x: str, channels: int) -> None:
    """Append the nodes that enlarge `x`; the last one makes `name`."""
    for axis, letters in ((2, "rows"), (3, "columns")):
        x = _mirrored(graph, x, f"{name}.{letters}", axis)
    phases = np.tile(phase_weights(upscale), (channels, 1, 1, 1))
    weight = graph.number(f"{name}.phases.weight", phases)
    graph.node("Conv", (x, weight), f"{name}.phases", kernel_shape=[TAPS, TAPS], group=channels)
    graph.node("DepthToSpace", (f"{name}.phases",), name, blocksize=upscale, mode="CRD")


def _mirrored(graph: Graph, x: str, name: str, axis: int) -> str:
    """Two more samples at each end of an axis, mirrored with the edge repeated."""
    for end, bounds in ENDS.items():
        values = {"start": bounds[0], "stop": bounds[1], "axis": axis, "step": -1}
        constants = [
            graph.constant(f"{name}.{end}.{key}", np.array([value], np.int64))
            for key, value in values.items()
        ]
        graph.node("Slice", (x, *constants), f"{name}.{end}")
    return graph.node("Concat", (f"{name}.first", x, f"{name}.last"), name, axis=axis)


def find_bicubic(graph: Any) -> dict[str, Found]:
    """Find the enlargements that `write_bicubic` wrote.

    Parameters
    ----------
    graph : onnx.GraphProto
        Any graph.

    Returns
    -------
    dict of Found
        By the name of the enlarged tensor.
    """
    search = _Mirrored(graph)
    shuffles = [node for node in graph.node if node.op_type == "DepthToSpace"]
    return {node.output[0]: found for node in shuffles if (found := search.bicubic(node))}


class _Mirrored(Search):
    def bicubic(self, shuffle: Any) -> Found | None:
        upscale = self.attributes(shuffle).get("blocksize", 0)
        conv = self.made("Conv", shuffle.input[0])
        if conv is None or len(conv.input) != 2 or upscale < 2:
            return None
        columns = self.unmirrored(conv.input[0], 3)
        source = columns and self.unmirrored(columns, 2)
        if not source or not self.has_phases(conv, upscale):
            return None
        if self.attributes(shuffle).get("mode") != b"CRD":
            return None
        channels = self.attributes(conv).get("group", 1)
        return Found(source, partial(_layer, upscale=upscale), channels)

    def unmirrored(self, name: str, axis: int) -> str | None:
        """The tensor whose edges were mirrored to make this one."""
        joined = self.made("Concat", name)
        if joined is None or len(joined.input) != 3 or self.attributes(joined)["axis"] != axis:
            return None
        first, source, last = (str(each) for each in joined.input)
        for end, bounds in ((first, ENDS["first"]), (last, ENDS["last"])):
            cut = self.made("Slice", end)
            if cut is None or cut.input[0] != source or len(cut.input) != 5:
                return None
            if [self.number(n) for n in cut.input[1:]] != [*bounds, axis, -1]:
                return None
        return source

    def has_phases(self, conv: Any, upscale: int) -> bool:
        attributes = self.attributes(conv)
        channels = attributes.pop("group", 1)
        attributes.pop("kernel_shape", None)
        tensor = self.constants.get(conv.input[1])
        if tensor is None or attributes or list(tensor.dims[1:]) != [1, TAPS, TAPS]:
            return False
        weight = tensor_array(tensor)
        tiled = np.tile(phase_weights(upscale), (channels, 1, 1, 1))
        close = 2 * float(np.finfo(weight.dtype).eps) if weight.dtype.kind == "f" else 0.0
        return weight.shape == tiled.shape and np.allclose(weight, tiled, rtol=close, atol=close)


def _layer(name: str, inputs: tuple[str, ...], upscale: int) -> Resize:
    return Resize(name, upscale, "bicubic", inputs=inputs)
