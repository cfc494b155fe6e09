"""What each layer becomes in ONNX: one table, one small rule a kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sesr_ref import network as nw
from sesr_ref.exchange.onnx.bicubic import write_bicubic
from sesr_ref.exchange.onnx.gelu import write_gelu
from sesr_ref.exchange.onnx.writer import Graph
from sesr_ref.limits import check
from sesr_ref.ops.arrays import Params

Names = tuple[str, ...]
Rule = Callable[[Graph, Any, Names, Params, int], object]
"""``rule(graph, layer, inputs, its parameters, channels of its first input)``."""

INT16_OPSET = 21
"""The first one whose QuantizeLinear makes 16 bits."""


def _conv(graph: Graph, layer: nw.Conv, inputs: Names, p: Params, channels: int) -> None:
    weight = graph.number(f"{layer.name}.weight", p["weight"].transpose(3, 2, 0, 1))
    rows, columns = layer.sides
    graph.node(
        "Conv",
        (*inputs, weight, *_bias(graph, layer, p)),
        layer.name,
        kernel_shape=[rows, columns],
        pads=[rows // 2, columns // 2] * 2,
        strides=[1, 1],
        group=layer.groups,
    )


def _stencil(graph: Graph, layer: nw.Stencil, inputs: Names, p: Params, channels: int) -> None:
    taps = np.repeat(np.asarray(layer.taps, np.float64)[..., None, None], channels, axis=3)
    weight = {"weight": taps * p.get("factor", 1.0)}
    depthwise = nw.Conv(layer.name, channels, layer.sides, channels, layer.bias)
    _conv(graph, depthwise, inputs, p | weight, channels)


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
        "ConvTranspose",
        (*inputs, weight, *_bias(graph, layer, p)),
        layer.name,
        kernel_shape=[k, k],
        strides=[stride, stride],
        pads=[crop, crop, end, end],
        output_padding=[more if end == crop else 0] * 2,
    )


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


def _gain(graph: Graph, layer: nw.Gain, inputs: Names, p: Params, channels: int) -> None:
    gain = graph.number(f"{layer.name}.gain", p["gain"].reshape(-1, 1, 1))
    graph.node("Mul", (*inputs, gain), layer.name)


def _fake_quantize(
    graph: Graph, layer: nw.FakeQuantize, inputs: Names, p: Params, channels: int
) -> None:
    fits = layer.bits == 8 or graph.opset >= INT16_OPSET
    check(fits, f"{layer.name}: the opset for 16 bits", f"{INT16_OPSET} or newer", graph.opset)
    dtype = np.int8 if layer.bits == 8 else np.int16
    grid = (
        graph.number(f"{layer.name}.scale", np.exp(p["log_scale"][0])),
        graph.constant(f"{layer.name}.zero_point", np.array(layer.zero_point, dtype)),
    )
    codes = graph.node("QuantizeLinear", (*inputs, *grid), f"{layer.name}.codes")
    graph.node("DequantizeLinear", (codes, *grid), layer.name)


def _norm(graph: Graph, layer: nw.BatchNorm, inputs: Names, p: Params, channels: int) -> None:
    keys = ("scale", "offset", "mean", "var")
    numbers = [graph.number(f"{layer.name}.{key}", p[key]) for key in keys]
    graph.node("BatchNormalization", (*inputs, *numbers), layer.name, epsilon=layer.eps)


def _silu(graph: Graph, layer: nw.SiLU, inputs: Names, p: Params, channels: int) -> None:
    gate = graph.node("Sigmoid", inputs, f"{layer.name}.gate")
    graph.node("Mul", (*inputs, gate), layer.name)


def _slice(graph: Graph, layer: nw.Slice, inputs: Names, p: Params, channels: int) -> None:
    bounds = [
        graph.constant(f"{layer.name}.{key}", np.array([value], np.int64))
        for key, value in (("start", layer.start), ("stop", layer.stop), ("axis", 1))
    ]
    graph.node("Slice", (*inputs, *bounds), layer.name)


def _pad(graph: Graph, layer: nw.Pad, inputs: Names, p: Params, channels: int) -> None:
    pads = np.array([0, 0, layer.size, layer.size] * 2, np.int64)
    graph.node("Pad", (*inputs, graph.constant(f"{layer.name}.pads", pads)), layer.name)


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
    if layer.upscale == 1:
        graph.node("Identity", inputs, layer.name)
        return
    if layer.mode == "bicubic":
        write_bicubic(graph, layer.name, layer.upscale, inputs[0], channels)
        return
    sizes = np.array([1, 1, layer.upscale, layer.upscale], np.float32)
    scales = graph.constant(f"{layer.name}.scales", sizes)
    region = ""  # which opset 11 does not let out, though nothing reads it
    if graph.opset < 13:
        region = graph.constant(f"{layer.name}.region", np.zeros(0, np.float32))
    graph.node("Resize", (*inputs, region, scales), layer.name, **RESIZE_ATTRIBUTES[layer.mode])


RULES: nw.Rules[Rule] = nw.Rules(
    {
        nw.Conv: _conv,
        nw.ConvTranspose: _conv_transpose,
        nw.PReLU: _prelu,
        nw.ReLU: lambda graph, layer, inputs, p, c: graph.node("Relu", inputs, layer.name),
        nw.LeakyReLU: lambda graph, layer, inputs, p, c: graph.node(
            "LeakyRelu", inputs, layer.name, alpha=layer.slope
        ),
        nw.Sigmoid: lambda graph, layer, inputs, p, c: graph.node("Sigmoid", inputs, layer.name),
        nw.Stencil: _stencil,
        nw.SiLU: _silu,
        nw.Tanh: lambda graph, layer, inputs, p, c: graph.node("Tanh", inputs, layer.name),
        nw.GELU: lambda graph, layer, inputs, p, c: write_gelu(
            graph, layer.name, inputs[0], layer.approximate
        ),
        nw.FakeQuantize: _fake_quantize,
        nw.Gain: _gain,
        nw.BatchNorm: _norm,
        nw.Multiply: lambda graph, layer, inputs, p, c: graph.node("Mul", inputs, layer.name),
        nw.Slice: _slice,
        nw.Pad: _pad,
        nw.Add: _add,
        nw.Concat: lambda graph, layer, inputs, p, c: graph.node(
            "Concat", inputs, layer.name, axis=1
        ),
        nw.DepthToSpace: lambda graph, layer, inputs, p, c: graph.node(
            "DepthToSpace", inputs, layer.name, blocksize=layer.block, mode=layer.mode
        ),
        nw.Shift: _scalar("Add", "offset"),
        nw.Scale: _scalar("Mul", "factor"),
        nw.Clip: _clip,
        nw.Resize: _resize,
    }
)
"""How each primitive is written."""
