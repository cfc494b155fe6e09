"""GELU is found however other people spell it, and nothing else is."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnx_tools as tools
import sesr_ref as sr
from onnx_tools import kinds, node, read
from sesr_ref import network as nw

onnx = tools.onnx
Array = tools.Array
Nodes = list[Any]


# GELU as exporters and libraries spell it; HALF, ONE and so on are constants.
SPELLINGS: dict[str, tuple[str, Nodes]] = {
    "x / sqrt 2, then times x, then times 1/2": (
        "none",
        [
            node("Div", "x root", "a"),
            node("Erf", "a", "b"),
            node("Add", "b one", "c"),
            node("Mul", "x c", "d"),
            node("Mul", "d half", "y"),
        ],
    ),
    "x / 2 times the rest": (
        "none",
        [
            node("Div", "x root", "a"),
            node("Erf", "a", "b"),
            node("Add", "one b", "c"),
            node("Mul", "x half", "d"),
            node("Mul", "d c", "y"),
        ],
    ),
    "with a power of three": (
        "tanh",
        [
            node("Pow", "x three", "p"),
            node("Mul", "p small", "q"),
            node("Add", "x q", "r"),
            node("Mul", "r pi", "s"),
            node("Tanh", "s", "t"),
            node("Add", "t one", "u"),
            node("Mul", "x half", "h"),
            node("Mul", "h u", "y"),
        ],
    ),
    "with x taken out of the sum": (
        "tanh",
        [
            node("Mul", "x x", "p"),
            node("Mul", "p small", "q"),
            node("Add", "q one", "r"),
            node("Mul", "x r", "s"),
            node("Mul", "s pi", "v"),
            node("Tanh", "v", "t"),
            node("Add", "t one", "u"),
            node("Mul", "u x", "h"),
            node("Mul", "half h", "y"),
        ],
    ),
}
GELU_CONSTANTS = {
    "one": 1.0,
    "half": 0.5,
    "root": math.sqrt(2),
    "three": 3.0,
    "small": 0.044715,
    "pi": math.sqrt(2 / math.pi),
}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_gelu_is_found_however_it_is_spelt(
    spelling: str, dtype: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    approximate, nodes = SPELLINGS[spelling]
    constants = {name: np.array(value, dtype) for name, value in GELU_CONSTANTS.items()}
    kind = {"float32": "FLOAT", "float16": "FLOAT16"}[dtype]
    proto = tools.model(nodes, constants, channels=2, kind=kind)
    net, params = sr.from_onnx(tools.saved(tmp_path / "m.onnx", proto))
    assert net.layers == (nw.GELU("y", approximate, inputs=("input",)),)
    x = rng.normal(0, 2, (1, 5, 4, 2)).astype(np.float32)
    expected = tools.evaluated(tmp_path / "m.onnx", x.astype(dtype))
    close = 3e-6 if dtype == "float32" else 1e-2
    np.testing.assert_allclose(sr.run(net, params, x), expected, rtol=0, atol=close)


def test_what_only_resembles_gelu_is_read_as_it_is(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    _, nodes = SPELLINGS["with a power of three"]
    nodes = [node("Mul", "x x", "xx"), node("Mul", "xx x", "p"), *nodes[1:]]
    constants = {name: np.float32(value) for name, value in GELU_CONSTANTS.items()}
    constants["small"] = np.float32(0.0448)
    net = read(tmp_path, nodes, constants, rng.normal(0, 2, (1, 5, 4, 2)).astype(np.float32))
    assert "Tanh" in kinds(net)
    assert "GELU" not in kinds(net)


def test_gelus_in_a_row_and_beside_others_are_each_found(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    layers = (
        nw.Tanh("t"),
        nw.GELU("g"),
        nw.GELU("h", "tanh"),
        nw.Multiply("m", inputs=("h", "t")),
        nw.GELU("i"),
        nw.Add("y", inputs=("i", "g")),
    )
    net = nw.Network("gelus", 1, 2, layers)
    sr.to_onnx(tmp_path / "m.onnx", net, {})
    back, _ = sr.from_onnx(tmp_path / "m.onnx")
    assert kinds(back) == kinds(net)
    x = rng.normal(0, 2, (1, 5, 4, 2)).astype(np.float32)
    np.testing.assert_allclose(sr.run(back, {}, x), sr.run(net, {}, x), rtol=0, atol=1e-6)
