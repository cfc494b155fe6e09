"""What each layer becomes in ONNX: one table, one small rule a kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sesr_ref import network as nw
from sesr_ref.exchange.onnx_file import require_onnx
from sesr_ref.exchange.rounding import rounded
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.ops.resampling import resample_matrix

MIRROR = 2
"""Pixels that bicubic enlargement reads beyond the edge."""


class Graph:
    """The nodes and constants written so far."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Append an operator; its output's name, which is also its own."""
        make = require_onnx().helper.make_node
        self.nodes.append(make(kind, list(inputs), [output], name=output, **attributes))
        return output

    def number(self, name: str, value: Array | float) -> str:
        """Append a constant in the graph's dtype; its name."""
        return self.constant(name, rounded(name, np.asarray(value), self.dtype))

    def constant(self, name: str, array: np.ndarray[Any, Any]) -> str:
        """Append a constant as it is; its name."""
        tensor = require_onnx().numpy_helper.from_array(np.ascontiguousarray(array), name)
        self.constants.append(tensor)
        return name


Names = tuple[str, ...]
Rule = Callable[[Graph, Any, Names, Params, int], object]
"""``rule(graph, layer, inputs, its parameters, channels of its first input)``."""


def _conv(graph: Graph, layer: nw.Conv, inputs: Names, p: Params, channels: int) -> None:
    weight = graph.number(f"{layer.name}.weight", p["weight"].transpose(3, 2, 0, 1))
    k = layer.kernel_size
    graph.node(
        "Conv", (*inputs, weight, *_bias(graph, layer, p)), layer.name,
        kernel_shape=[k, k], pads=[k // 2] * 4, strides=[1, 1], group=layer.groups,
    )  # fmt: skip


def _conv_transpose(
    graph: Graph, layer: nw.ConvTranspose, inputs: Names, p: Params, channels: int
) -> None:
    weight = graph.number(f"{layer.name}.weight", p["weight"].transpose(2, 3, 0, 1))
    k, stride, crop = layer.kernel_size, layer.stride, layer.crop
    more = stride - k + 2 * crop  # rows that symmetric cropping takes too many
    end = crop if 0 <= more < stride else k - stride - crop
    if end < 0:
        raise ValueError(f"{layer.name}: ONNX has no transposed convolution with padding {crop}")
    graph.node(
        "ConvTranspose", (*inputs, weight, *_bias(graph, layer, p)), layer.name,
        kernel_shape=[k, k], strides=[stride, stride], pads=[crop, crop, end, end],
        output_padding=[more if end == crop else 0] * 2,
    )  # fmt: skip


def _bias(graph: Graph, layer: nw.Conv | nw.ConvTranspose, p: Params) -> Names:
    return (graph.number(f"{layer.name}.bias", p["bias"]),) if layer.bias else ()


def _prelu(graph: Graph, layer: nw.PReLU, inputs: Names, p: Params, channels: int) -> None:
    slope = graph.number(f"{layer.name}.slope", p["slope"].reshape(-1, 1, 1))
    graph.node("PRelu", (*inputs, slope), layer.name)


def _add(graph: Graph, layer: nw.Add, inputs: Names, p: Params, channels: int) -> None:
    total, *others = inputs
    if not others:
        graph.node("Identity", (total,), layer.name)
    for i, other in enumerate(others, 1):
        output = layer.name if i == len(others) else f"{layer.name}.{i}"
        total = graph.node("Add", (total, other), output)


def _clip(graph: Graph, layer: nw.Clip, inputs: Names, p: Params, channels: int) -> None:
    bounds = [
        graph.number(f"{layer.name}.{key}", value) if abs(value) < nw.MAX_NUMBER else ""
        for key, value in (("low", layer.low), ("high", layer.high))
    ]
    graph.node("Clip", (*inputs, *bounds), layer.name)


def _scalar(kind: str, field: str) -> Rule:
    def rule(graph: Graph, layer: nw.Layer, inputs: Names, p: Params, channels: int) -> None:
        value = graph.number(f"{layer.name}.{field}", getattr(layer, field))
        graph.node(kind, (*inputs, value), layer.name)

    return rule


RESIZE_ATTRIBUTES: dict[str, dict[str, Any]] = {
    "nearest": {
        "mode": "nearest",
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    },
    "bilinear": {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
    "bicubic75": {
        "mode": "cubic",
        "coordinate_transformation_mode": "half_pixel",
        "cubic_coeff_a": -0.75,
    },
}


def _resize(graph: Graph, layer: nw.Resize, inputs: Names, p: Params, channels: int) -> None:
    if layer.mode == "bicubic":
        _bicubic(graph, layer, inputs[0], channels)
        return
    scales = graph.constant(
        f"{layer.name}.scales", np.array([1, 1, layer.upscale, layer.upscale], np.float32)
    )
    graph.node("Resize", (*inputs, "", scales), layer.name, **RESIZE_ATTRIBUTES[layer.mode])


def _bicubic(graph: Graph, layer: nw.Resize, x: str, channels: int) -> None:
    """Mirror the edges, convolve each channel to its phases, shuffle them to pixels.

    ONNX's own Resize cannot do it: its cubic mode repeats the edge pixel, MATLAB mirrors.
    """
    name, s = layer.name, layer.upscale
    for axis, letter in ((2, "rows"), (3, "columns")):
        x = _mirrored(graph, x, f"{name}.{letter}", axis)
    middle = resample_matrix(2 * MIRROR + 1, s, "bicubic")
    along = np.zeros((s, 2 * MIRROR + 1))
    for phase, row in enumerate(range(MIRROR * s, (MIRROR + 1) * s)):
        np.add.at(along[phase], middle.taps[row], middle.weights[row])
    phases = np.einsum("ai,bj->abij", along, along).reshape(s * s, 1, 5, 5)
    weight = graph.number(f"{name}.phases.weight", np.tile(phases, (channels, 1, 1, 1)))
    graph.node("Conv", (x, weight), f"{name}.phases", kernel_shape=[5, 5], group=channels)
    graph.node("DepthToSpace", (f"{name}.phases",), name, blocksize=s, mode="CRD")


def _mirrored(graph: Graph, x: str, name: str, axis: int) -> str:
    """Two more samples at each end of an axis, mirrored with the edge repeated."""
    ends = {"first": (MIRROR - 1, -(2**31)), "last": (-1, -1 - MIRROR)}
    axes, step = (
        graph.constant(f"{name}.{key}", np.array([value], np.int64))
        for key, value in (("axes", axis), ("step", -1))
    )
    for key, bounds in ends.items():
        start, stop = (
            graph.constant(f"{name}.{key}.{edge}", np.array([value], np.int64))
            for edge, value in zip(("start", "stop"), bounds, strict=True)
        )
        graph.node("Slice", (x, start, stop, axes, step), f"{name}.{key}")
    return graph.node("Concat", (f"{name}.first", x, f"{name}.last"), name, axis=axis)


RULES: dict[type[nw.Layer], Rule] = {
    nw.Conv: _conv,
    nw.ConvTranspose: _conv_transpose,
    nw.PReLU: _prelu,
    nw.ReLU: lambda graph, layer, inputs, p, c: graph.node("Relu", inputs, layer.name),
    nw.LeakyReLU: lambda graph, layer, inputs, p, c: graph.node(
        "LeakyRelu", inputs, layer.name, alpha=layer.slope
    ),
    nw.Add: _add,
    nw.Concat: lambda graph, layer, inputs, p, c: graph.node("Concat", inputs, layer.name, axis=1),
    nw.DepthToSpace: lambda graph, layer, inputs, p, c: graph.node(
        "DepthToSpace", inputs, layer.name, blocksize=layer.block, mode=layer.mode
    ),
    nw.Shift: _scalar("Add", "offset"),
    nw.Scale: _scalar("Mul", "factor"),
    nw.Clip: _clip,
    nw.Resize: _resize,
}
"""How each primitive is written."""
