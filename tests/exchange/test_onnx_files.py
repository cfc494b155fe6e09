"""Other people's ONNX files: bytes, order of nodes, outputs, constants, links."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnx_tools as tools
import sesr_ref as sr
from onnx_tools import conv, kinds, node, numbers, read

onnx = tools.onnx
Array = tools.Array
Nodes = list[Any]


BYTE_CONSTANTS = {
    "k": np.float32(255),
    "r": np.float32(1 / 255),
    "zero": np.float32(0),
    "w": np.ones(1),
}


@pytest.mark.parametrize("scaled", ["Div k", "Mul r", ""])
@pytest.mark.parametrize("out", ["FLOAT", "UINT8"])
def test_images_of_bytes(scaled: str, out: str, tmp_path: Path, rng: np.random.Generator) -> None:
    kind, _, factor = scaled.partition(" ")
    nodes = [
        node("Cast", "x", "f", to=onnx.TensorProto.FLOAT),
        *([node(kind, f"f {factor}", "n")] if kind else [node("Identity", "f", "n")]),
        conv("n w", "a", 3),
    ]
    if out == "UINT8":
        nodes += [
            *([node("Mul", "a k", "b")] if kind else [node("Identity", "a", "b")]),
            node("Clip", "b zero k", "c"),
            node("Round", "c", "d"),
            node("Cast", "d", "y", to=onnx.TensorProto.UINT8),
        ]
    constants = BYTE_CONSTANTS | {"w": np.abs(numbers(rng, 1, 1, 3, 3))}
    proto = tools.model(nodes, constants, kind="UINT8")
    proto.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.DataType.Value(out)
    path = tools.saved(tmp_path / "m.onnx", proto)
    net, params = sr.from_onnx(path)
    codes = rng.integers(0, 256, (1, 5, 4, 1)).astype(np.uint8)
    got = sr.run(net, params, codes.astype(np.float32) / 255)
    expected = tools.evaluated(path, codes)
    if out == "UINT8":
        np.testing.assert_array_equal(np.rint(got * 255), expected)
    else:
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6 if kind else 1e-3)
    if kind and out == "FLOAT":
        assert kinds(net) == ["Conv"]


def test_nodes_out_of_order_are_put_in_order(tmp_path: Path, rng: np.random.Generator) -> None:
    nodes = [
        node("Relu", "a", "b"),
        node("Add", "b c", "y"),
        conv("x w", "a", 3),
        node("Sigmoid", "x", "c"),
    ]
    proto = tools.model(nodes, {"w": numbers(rng, 1, 1, 3, 3)}, outputs=["y"])
    net, params = sr.from_onnx(tools.saved(tmp_path / "m.onnx", proto))
    assert [la.name for la in net.layers] == ["a", "b", "c", "y"]
    ordered = [nodes[i] for i in (2, 0, 3, 1)]
    x = rng.random((1, 4, 5, 1), dtype=np.float32)
    sorted_net = read(tmp_path, ordered, {"w": params["a.weight"].transpose(3, 2, 0, 1)}, x)
    assert sorted_net == net


def test_what_the_chosen_output_does_not_need_is_not_read(tmp_path: Path) -> None:
    nodes = [node("Relu", "x", "y"), node("Softplus", "y", "other")]
    proto = tools.model(nodes, {}, outputs=["y", "other"])
    path = tools.saved(tmp_path / "m.onnx", proto)
    assert kinds(sr.from_onnx(path, output="y")[0]) == ["ReLU"]
    with pytest.raises(ValueError, match=r"node 1 \(Softplus"):
        sr.from_onnx(path, output="other")


def test_constants_are_computed_from_others(tmp_path: Path, rng: np.random.Generator) -> None:
    """Weights normalised in the graph, half precision widened there, sizes from arithmetic."""
    nodes = [
        node("ReduceL2", "v", "norm", axes=[1, 2, 3], keepdims=1),
        node("Div", "v norm", "unit"),
        node("Mul", "unit g", "w"),
        node("Cast", "half", "bias", to=onnx.TensorProto.FLOAT),
        conv("x w bias", "a", 3),
        node("ConstantOfShape", "four", "ones", value=tools.one(1)),
        node("Equal", "ones four", "equal"),
        node("Where", "equal four ones", "shape"),
        node("Expand", "a shape", "y"),
    ]
    constants = {
        "v": numbers(rng, 2, 2, 3, 3),
        "g": numbers(rng, 2, 1, 1, 1),
        "half": np.ones(2, np.float16),
        "four": np.array([4]),
    }
    read(tmp_path, nodes, constants, rng.random((1, 4, 5, 2), dtype=np.float32))


@pytest.mark.parametrize("value", [np.inf, np.nan, 1e30, -2e6])
def test_weights_that_are_not_finite_or_absurd_are_named(value: float, tmp_path: Path) -> None:
    weight = np.full((1, 1, 3, 3), value, np.float32)
    path = tools.saved(tmp_path / "m.onnx", tools.model([conv("x w", "y", 3)], {"w": weight}))
    what = "absurd" if np.isfinite(value) else "not finite"
    with pytest.raises(ValueError, match=rf"node 0 .*input 1 \('w'\) holds numbers .* {what}"):
        sr.from_onnx(path)


def test_a_cache_whose_files_are_links_is_read(tmp_path: Path, rng: np.random.Generator) -> None:
    """As model hubs lay it out: snapshots of links to blobs."""
    weight = numbers(rng, 1, 1, 3, 3)
    snapshot, blobs = tmp_path / "snapshots" / "main", tmp_path / "blobs"
    for folder in (snapshot, blobs):
        folder.mkdir(parents=True)
    proto = tools.model([conv("x w", "y", 3)], {"w": weight})
    tools.externalise(proto, "model.onnx.data")
    tools.saved(blobs / "0a1b", proto)
    (blobs / "2c3d").write_bytes(weight.tobytes())
    (snapshot / "model.onnx").symlink_to("../../blobs/0a1b")
    with pytest.raises(ValueError, match=r"there is no file 'model\.onnx\.data'"):
        sr.from_onnx(snapshot / "model.onnx")
    (snapshot / "model.onnx.data").symlink_to("../../blobs/2c3d")
    _, params = sr.from_onnx(snapshot / "model.onnx")
    np.testing.assert_array_equal(params["y.weight"].transpose(3, 2, 0, 1), weight)
    (snapshot / "model.onnx.data").unlink()
    (snapshot / "model.onnx.data").symlink_to("/etc/hostname")
    with pytest.raises(ValueError, match="outside the model's folder"):
        sr.from_onnx(snapshot / "model.onnx")


def test_external_data_lies_beside_the_link_or_beside_the_file(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    weight = numbers(rng, 1, 1, 3, 3)
    proto = tools.model([conv("x w", "y", 3)], {"w": weight})
    tools.externalise(proto, "w.bin")
    for place in ("blobs", "links"):
        blobs, links = tmp_path / place / "blobs", tmp_path / place / "links"
        blobs.mkdir(parents=True)
        links.mkdir()
        tools.saved(blobs / "m.onnx", proto)
        (links / "m.onnx").symlink_to(blobs / "m.onnx")
        (tmp_path / place / place / "w.bin").write_bytes(weight.tobytes())
        _, params = sr.from_onnx(links / "m.onnx")
        np.testing.assert_array_equal(params["y.weight"].transpose(3, 2, 0, 1), weight)
