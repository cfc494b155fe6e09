"""Pairs of QuantizeLinear and DequantizeLinear are layers that round to a grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import onnx_tools as tools
import sesr_ref as sr
from sesr_ref import network as nw

onnx = tools.onnx


def file(tmp_path: Path, second: dict[str, object], reader: str = "DequantizeLinear") -> Path:
    """A model that rounds its input to uint8 and convolves with int8 weights of scale 1/64."""
    h, n = onnx.helper, onnx.numpy_helper.from_array
    given = {"s": np.float32(1 / 255), "z": np.uint8(3)} | second
    constants = [
        n(np.array(np.float32(1 / 255)), "scale"),
        n(np.array(np.uint8(3)), "zero"),
        n(np.array(given["s"]), "s"),
        n(np.array(given["z"]), "z"),
        n(np.array([[[[64]]]], np.int8), "w8"),
        n(np.array([1 / 64], np.float32), "ws"),
        n(np.array([0], np.int8), "wz"),
    ]
    inputs = ["codes", "s", "z"] if reader == "DequantizeLinear" else ["codes"]
    nodes = [
        h.make_node("QuantizeLinear", ["x", "scale", "zero"], ["codes"], name="q"),
        h.make_node(reader, inputs, ["real"], name="d"),
        h.make_node("DequantizeLinear", ["w8", "ws", "wz"], ["w"], axis=0),
        h.make_node("Conv", ["real", "w"], ["y"]),
    ]
    kind = onnx.TensorProto.FLOAT
    ends = [h.make_tensor_value_info(name, kind, [1, 1, 5, 7]) for name in "xy"]
    graph = h.make_graph(nodes, "g", ends[:1], ends[1:], constants)
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def test_a_pair_is_one_layer_and_integer_weights_are_real(tmp_path: Path) -> None:
    net, params = sr.from_onnx(file(tmp_path, {}))
    assert net.layers[0] == nw.FakeQuantize("real", 3 - 128, inputs=("input",))
    x = np.linspace(-0.1013, 1.0971, 35, dtype=np.float32).reshape(1, 5, 7, 1)
    expected = (np.clip(np.rint(x * 255), -3, 252) / 255).astype(np.float32)
    np.testing.assert_allclose(sr.run(net, params, x), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("second", "reader", "message"),
    [
        ({"s": np.float32(0.1)}, "DequantizeLinear", "its grid is not that of the Quantize"),
        ({"z": np.uint8(4)}, "DequantizeLinear", "its grid is not that of the Quantize"),
        ({"s": np.float32(-1)}, "DequantizeLinear", "one positive float32 number"),
        ({"z": np.int32(3)}, "DequantizeLinear", "8 or 16 bits, got int32"),
        ({}, "Relu", "holds integers: only DequantizeLinear reads them"),
    ],
)
def test_other_uses_of_integers_are_rejected(
    tmp_path: Path, second: dict[str, object], reader: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        sr.from_onnx(file(tmp_path, second, reader))


def test_an_output_of_integers_is_no_image(tmp_path: Path) -> None:
    h = onnx.helper
    nodes = [h.make_node("QuantizeLinear", ["x", "scale"], ["y"])]
    ends = [
        h.make_tensor_value_info(name, kind, [1, 1, 5, 7])
        for name, kind in (("x", onnx.TensorProto.FLOAT), ("y", onnx.TensorProto.UINT8))
    ]
    scale = onnx.numpy_helper.from_array(np.array(np.float32(0.5)), "scale")
    graph = h.make_graph(nodes, "g", ends[:1], ends[1:], [scale])
    path = tmp_path / "m.onnx"
    onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid("", 13)], ir_version=8), path)
    with pytest.raises(ValueError, match="the output 'y' holds integers, not an image"):
        sr.from_onnx(path)


def test_sixteen_bits_need_a_new_opset(tmp_path: Path) -> None:
    net = nw.Network("n", 1, 1, (nw.FakeQuantize("grid", 0, 16, inputs=("input",)),))
    params = {"grid.log_scale": np.array([-3.0], np.float32)}
    with pytest.raises(ValueError, match="grid: the opset for 16 bits must be 21 or newer, got 13"):
        sr.to_onnx(tmp_path / "m.onnx", net, params, opset=13)
    sr.to_onnx(tmp_path / "m.onnx", net, params, opset=21)
    assert sr.from_onnx(tmp_path / "m.onnx")[0].layers == net.layers
