"""Every kind of layer goes out as ONNX and comes back, in every opset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnx_tools as tools
import sesr_ref as sr
from onnx_tools import kinds, node, numbers, read
from sesr_ref import network as nw
from sesr_ref.architectures.blocks import BLOCKS
from sesr_ref.exchange.onnx.write import OPSETS

onnx = tools.onnx
Array = tools.Array
Nodes = list[Any]


ALL = nw.Network(
    "all",
    2,
    2,
    layers=(
        nw.Sigmoid("gate"),
        nw.SiLU("silu", inputs=("input",)),
        nw.Tanh("tanh"),
        nw.GELU("gelu"),
        nw.GELU("curve", "tanh"),
        nw.FakeQuantize("grid", -3),
        nw.Gain("gain"),
        nw.BatchNorm("norm"),
        nw.Stencil("edge", ((1.0, 0.0, -1.0), (0.5, 2.0, 0.25), (0.0, 1.0, 0.0)), True, True),
        nw.Multiply("product", inputs=("edge", "gate")),
        nw.Conv("tall", 12, (3, 1), bias=True),
        nw.Slice("cut", 2, 10),
        nw.Conv("one", 1, (1, 5), inputs=("cut",)),
        nw.Multiply("masked", inputs=("cut", "one")),
        nw.Pad("wide", 2),
        nw.Conv("inside", 8, 3),
        nw.ReLU("relu"),
        nw.Pad("same", -2),
        nw.LeakyReLU("leaky", 0.2),
        nw.PReLU("prelu"),
        nw.Clip("clip", -0.5, 1.0),
        nw.DepthToSpace("shuffle", 2),
        nw.Resize("nearest", 2, "nearest", inputs=("input",)),
        nw.Add("sum", inputs=("shuffle", "nearest")),
        nw.Resize("bilinear", 2, "bilinear", inputs=("input",)),
        nw.Resize("bicubic", 2, "bicubic", inputs=("input",)),
        nw.Concat("joined", inputs=("sum", "bilinear", "bicubic")),
        nw.Conv("last", 2, 1),
        nw.Resize("up", 2, "bicubic75", inputs=("input",)),
        nw.Add("total", inputs=("last", "up")),
        nw.Shift("shift", 0.25),
        nw.Scale("scale", 0.5),
        nw.ConvTranspose("up1", 2, 3, 1, True),
    ),
)


def parameters(net: sr.Network, rng: np.random.Generator) -> dict[str, Array]:
    params = tools.random_params(net, rng, 0.3)
    return {k: np.abs(v) + np.float32(0.1) if k.endswith("var") else v for k, v in params.items()}


def test_every_primitive_is_among_them() -> None:
    assert {type(layer) for layer in ALL.layers} == set(nw.PRIMITIVES)


@pytest.mark.parametrize("opset", OPSETS)
def test_every_primitive_goes_out_and_comes_back_in_every_opset(
    opset: int, tmp_path: Path, rng: np.random.Generator
) -> None:
    params = parameters(ALL, rng)
    sr.to_onnx(tmp_path / "m.onnx", ALL, params, opset=opset)
    proto = onnx.load(tmp_path / "m.onnx")
    assert [o.version for o in proto.opset_import] == [opset]
    assert [n.op_type for n in proto.graph.node].count("Gelu") == (2 if opset >= 20 else 0)
    back, got = sr.from_onnx(tmp_path / "m.onnx", find_blocks=False)
    assert [la.name for la in back.layers] == [la.name for la in ALL.layers]
    x = rng.random((1, 6, 5, 2), dtype=np.float32)
    expected = sr.run(ALL, params, x)
    np.testing.assert_allclose(sr.run(back, got, x), expected, rtol=0, atol=3e-6)
    same = [a for a, b in zip(back.layers, ALL.layers, strict=True) if type(a) is type(b)]
    assert len(same) == len(ALL.layers) - 1  # a stencil is a depthwise convolution


@pytest.mark.parametrize("opset", [11, 12, 13, 18, 19, 20, 21])
def test_onnx_runtime_runs_every_opset(
    opset: int, tmp_path: Path, rng: np.random.Generator
) -> None:
    params = parameters(ALL, rng)
    x = rng.random((1, 6, 5, 2), dtype=np.float32)
    sr.to_onnx(tmp_path / "m.onnx", ALL, params, opset=opset, every_tensor=True)
    session = tools.runtime(tmp_path / "m.onnx")
    names = [output.name for output in session.get_outputs()]
    values = session.run(names, {"input": x.transpose(0, 3, 1, 2)})
    tensors = sr.forward(ALL, params, x)
    for name, value in zip(names, values, strict=True):
        got = value.transpose(0, 2, 3, 1)
        np.testing.assert_allclose(got, tensors[name], rtol=0, atol=5e-6, err_msg=name)


def test_lengths_that_are_open_are_stated_in_words(tmp_path: Path) -> None:
    layers = (nw.Pad("wide", 2), nw.Resize("up", 2, "nearest"), nw.Pad("y", -4))
    sr.to_onnx(tmp_path / "m.onnx", nw.Network("pads", 2, 1, layers), {}, every_tensor=True)
    stated = {
        o.name: [d.dim_param for d in o.type.tensor_type.shape.dim[2:]]
        for o in onnx.load(tmp_path / "m.onnx").graph.output
    }
    assert stated == {
        "wide": ["height+4", "width+4"],
        "up": ["2*height+8", "2*width+8"],
        "y": ["2*height", "2*width"],
    }


@pytest.mark.parametrize("block", BLOCKS)
def test_every_linear_block_goes_out_uncollapsed_and_comes_back(
    block: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    net = sr.sesr(1, 4, 2, expand=6, block=block)
    params = parameters(net, rng)
    full, full_params = sr.expanded(net), sr.expand_params(net, params)
    sr.to_onnx(tmp_path / "m.onnx", full, full_params, every_tensor=True)
    back, got = sr.from_onnx(tmp_path / "m.onnx", find_blocks=False)
    x = rng.random((1, 6, 5, 1), dtype=np.float32)
    np.testing.assert_allclose(sr.run(back, got, x), sr.run(net, params, x), rtol=0, atol=1e-5)
    ours, theirs = (
        [la.name for la in each.layers if isinstance(la, (nw.Conv, nw.Pad, nw.BatchNorm))]
        for each in (full, back)
    )
    assert set(ours) <= set(theirs)


def test_clips_written_as_minimum_and_maximum(tmp_path: Path, rng: np.random.Generator) -> None:
    nodes = [
        node("Max", "x low", "a"),
        node("Min", "high a", "b"),
        node("Neg", "b", "c"),
        node("Max", "zero c", "y"),
    ]
    constants = {"low": np.float32(0.2), "high": np.float32(0.7), "zero": np.float32(0)}
    net = read(tmp_path, nodes, constants, rng.normal(0, 1, (1, 4, 5, 2)).astype(np.float32))
    assert kinds(net) == ["Clip", "Clip", "Scale", "ReLU"]


def test_batch_normalisation_and_the_new_activations(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    nodes = [
        node("BatchNormalization", "x g b m v", "n", epsilon=1e-3),
        node("Sigmoid", "n", "s"),
        node("Mul", "s n", "silu"),
        node("Mul", "s x", "gated"),
        node("Tanh", "gated", "t"),
        node("Squeeze", "t", "flat"),
        node("Unsqueeze", "flat one", "back"),
        node("Add", "back silu", "y"),
    ]
    constants = {
        "g": numbers(rng, 2),
        "b": numbers(rng, 2),
        "m": numbers(rng, 2),
        "v": np.abs(numbers(rng, 2)),
        "one": np.array([0]),
    }
    x = rng.random((1, 4, 5, 2), dtype=np.float32)
    net = read(tmp_path, nodes, constants, x, shape=[1, 2, 4, 5], opset=17)
    assert kinds(net) == ["BatchNorm", "Sigmoid", "SiLU", "Multiply", "Tanh", "Add"]
    assert net.layers[0] == nw.BatchNorm("n", 1e-3, inputs=("input",))
