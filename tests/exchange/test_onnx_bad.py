"""ONNX files that are damaged, hostile or not understood: one line that says what and where."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnx_tools as tools
import sesr_ref as sr
from onnx_tools import conv, node
from sesr_ref import cli
from sesr_ref.exchange.onnx import file as onnx_file
from sesr_ref.exchange.onnx.fold import MAX_FOLDED_BYTES

onnx = tools.onnx

W = np.ones((1, 1, 3, 3), np.float32)
FOUR = np.ones((4, 4, 3, 3), np.float32)
ONE = np.float32(1)


def refusal(path: Path) -> str:
    """The message, which must be one line that starts with the file's path."""
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        sr.from_onnx(path)
    assert str(error.value).startswith(f"{path}: ")
    return str(error.value)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_rejected(share: float, tmp_path: Path) -> None:
    net = sr.sesr(1, 4, 2, expand=5)
    sr.to_onnx(tmp_path / "m.onnx", net, sr.initialise(net))
    data = (tmp_path / "m.onnx").read_bytes()
    (tmp_path / "m.onnx").write_bytes(data[: int(share * len(data))])
    assert "truncated" in refusal(tmp_path / "m.onnx")


@pytest.mark.parametrize("data", [b"not onnx at all", b"\x00" * 64, b"\xff" * 64])
def test_another_format_is_rejected(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(data)
    assert "ONNX" in refusal(tmp_path / "m.onnx")


@pytest.mark.parametrize("position", range(0, 4000, 97))
def test_a_damaged_file_never_ends_in_anything_but_an_error_or_a_network(
    position: int, tmp_path: Path
) -> None:
    net = sr.sesr(1, 2, 2, expand=3)
    sr.to_onnx(tmp_path / "m.onnx", net, sr.initialise(net))
    data = bytearray((tmp_path / "m.onnx").read_bytes())
    data[position % len(data)] ^= 0x55
    (tmp_path / "m.onnx").write_bytes(data)
    try:
        back, params = sr.from_onnx(tmp_path / "m.onnx")
    except ValueError as error:
        message = str(error)
    else:
        message = str(sr.run(back, params, np.zeros((1, 3, 4, 1), np.float32)).shape)
    assert "\n" not in message
    assert message.startswith(str(tmp_path)) or message == "(1, 6, 8, 1)"


@pytest.mark.parametrize("name", ["/deep/Relu", "deep", "graph"])
def test_text_that_is_not_utf_8_is_rejected(name: str, tmp_path: Path) -> None:
    proto = tools.model([node("Relu", "x", "deep"), node("Relu", "deep", "y")], {})
    data = proto.SerializeToString()
    (tmp_path / "m.onnx").write_bytes(data.replace(name.encode(), b"\xff" * len(name)))
    assert "is not UTF-8" in refusal(tmp_path / "m.onnx")


def test_a_cycle_is_named(tmp_path: Path) -> None:
    nodes = [node("Add", "x b", "a"), node("Relu", "a", "b")]
    message = refusal(tools.saved(tmp_path / "m.onnx", tools.model(nodes, {})))
    assert "node 0 (Add '/a/Add') reads 'b', which is made by node 1 (Relu '/b/Relu')" in message
    assert "cycle" in message


def test_a_node_that_reads_its_own_output_is_a_cycle(tmp_path: Path) -> None:
    nodes = [node("Add", "x a", "a")]
    message = refusal(tools.saved(tmp_path / "m.onnx", tools.model(nodes, {})))
    assert "node 0 (Add '/a/Add') reads 'a'" in message


@pytest.mark.parametrize(
    "location",
    ["../secret.bin", "/etc/hostname", "sub/../../secret.bin", "link.bin", "C:\\x.bin", ""],
)
def test_external_data_outside_the_folder_is_rejected(location: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "sub").mkdir()
    (tmp_path / "secret.bin").write_bytes(W.tobytes())
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    proto = tools.model([conv("x w", "y", 3)], {"w": W})
    tools.externalise(proto, location)
    message = refusal(tools.saved(folder / "m.onnx", proto))
    assert f"'w' wants external data from {location!r}, outside the model's folder" in message


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"length": 1 << 40}, "wants bytes 0 to 1099511627776 of 'w.bin', which has 36"),
        ({"offset": 30, "length": 36}, "wants bytes 30 to 66 of 'w.bin'"),
        ({"offset": -4}, "wants bytes -4"),
        ({"offset": "much"}, "offset or length is no number"),
        ({"length": 20}, "w"),
    ],
)
def test_external_data_must_be_there(stated: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(W.tobytes())
    proto = tools.model([conv("x w", "y", 3)], {"w": W})
    tools.externalise(proto, "w.bin", **stated)
    assert message in refusal(tools.saved(tmp_path / "m.onnx", proto))


def test_external_data_that_is_missing_is_named(tmp_path: Path) -> None:
    proto = tools.model([conv("x w", "y", 3)], {"w": W})
    tools.externalise(proto, "w.bin")
    assert "there is no file 'w.bin'" in refusal(tools.saved(tmp_path / "m.onnx", proto))


@pytest.mark.parametrize("dims", [[1 << 40], [1 << 30, 1 << 30], [-1, 9], [1, 1, 3, 4]])
def test_sizes_that_are_not_the_datas_are_rejected(dims: list[int], tmp_path: Path) -> None:
    proto = tools.model([conv("x w", "y", 3)], {"w": W})
    del proto.graph.initializer[0].dims[:]
    proto.graph.initializer[0].dims.extend(dims)
    assert "nsor" in refusal(tools.saved(tmp_path / "m.onnx", proto))


@pytest.mark.parametrize("kind", ["INT4", "STRING", "COMPLEX64"])
def test_unsupported_types_of_constants_are_named(kind: str, tmp_path: Path) -> None:
    proto = tools.model([conv("x w", "y", 3)], {})
    value = b"a" if kind == "STRING" else 1
    elem = onnx.TensorProto.DataType.Value(kind)
    proto.graph.initializer.append(onnx.helper.make_tensor("w", elem, [1], [value]))
    assert f"tensor 'w' holds {kind}" in refusal(tools.saved(tmp_path / "m.onnx", proto))


def test_an_unsupported_type_of_the_input_is_named(tmp_path: Path) -> None:
    proto = tools.model([node("Identity", "x", "y")], {}, kind="INT16")
    assert "input 'x' has ONNX type" in refusal(tools.saved(tmp_path / "m.onnx", proto))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        (
            [conv("x w", "a", 3), node("InstanceNormalization", "a s s", "b")],
            "node 1 (InstanceNormalization '/b/InstanceNormalization'): operator InstanceNorm",
        ),
        ([node("Softplus", "x", "y")], "node 0 (Softplus '/y/Softplus')"),
        ([node("Relu", "x", "y", domain="custom")], "operator custom.Relu is not supported"),
        ([node("Div", "x x", "y")], "only division by constants other than 0"),
        ([node("Max", "x x", "y")], "only Max of an image and one number is supported"),
        ([node("Div", "k x", "y")], "only division by constants other than 0"),
        ([conv("x x", "y", 1)], "input 1 ('x') must be a constant"),
        ([conv("x w", "y", 3, strides=[2, 2])], "strides [2, 2]; only 1"),
        ([conv("x w", "y", 3, dilations=[2, 2])], "dilations [2, 2]; only 1"),
        ([conv("x w", "y", 1)], "must be (16, 24, 1) (upscale 1), got (14, 22, 1)"),
        ([node("Resize", "x", "y")], "states 0 scale(s) for 4 axes"),
        ([conv("x flat", "y", 1)], "with (0, 1, 0, 1) pixels cut off"),
        ([node("ConvTranspose", "x flat", "y")], "of transposed ones only square is supported"),
        ([conv("x even", "y", 2)], "kernel (2, 2) with pads [1, 1, 1, 1] and auto_pad NOTSET"),
        ([conv("x four", "y", 3)], "weight (4, 4, 3, 3) in 1 group(s) does not fit 1 input"),
        ([conv("x w four1", "y", 3)], "input 2 ('four1') must be a float tensor of 1 axes"),
        ([conv("x nan", "y", 3)], "numbers that are not finite"),
        ([node("ConvTranspose", "x w", "y", strides=[2, 2])], "do not make an output exactly 2"),
        ([node("ConvTranspose", "x w", "y", strides=[1, 2])], "unequal strides"),
        ([node("Add", "x pixels", "y")], "neither one number nor one for each of the 1 channels"),
        ([node("Transpose", "x", "t", perm=[0, 1, 3, 2]), conv("t w", "y", 3)], "not NCHW"),
        ([node("Concat", "x x", "y", axis=2)], "axis 2 is not the channels'"),
        ([node("Cast", "x", "y", to=6)], "casts the image"),
        ([node("DepthToSpace", "x", "y", blocksize=2)], "1 channels are not a multiple of 2**2"),
        ([node("Resize", "x - uneven", "y")], "only height and width by one whole number"),
        ([node("Identity", "x", "y")], "the output 'y' is the input itself"),
        ([node("Identity", "k", "y")], "the output 'y' does not depend on the image"),
        ([node("Transpose", "x", "y", perm=[0, 1, 3, 2])], "axes in the order (0, 1, 3, 2)"),
        ([conv("x wide", "y", 1)], "must be (16, 24, 1) (upscale 1), got (16, 24, 4)"),
    ],
)
def test_what_is_not_understood_is_named_with_its_place(
    nodes: list[Any], message: str, tmp_path: Path
) -> None:
    constants = {
        "w": W,
        "k": ONE,
        "s": np.ones(1, "f4"),
        "flat": np.ones((1, 1, 1, 3), "f4"),
        "four": FOUR,
        "four1": np.ones((1, 1), "f4"),
        "nan": W * np.float32("nan"),
        "pixels": np.ones((4, 4), "f4"),
        "uneven": np.array([1, 1, 2, 3], "f4"),
        "wide": np.ones((4, 1, 1, 1), "f4"),
        "even": np.ones((1, 1, 2, 2), "f4"),
    }
    assert message in refusal(tools.saved(tmp_path / "m.onnx", tools.model(nodes, constants)))


def test_a_rearrangement_that_is_no_depth_to_space_is_named(tmp_path: Path) -> None:
    nodes = [
        conv("x w", "a", 1),
        node("Reshape", "a six", "r"),
        node("Transpose", "r", "t", perm=[0, 1, 2, 4, 3, 5]),
        node("Reshape", "t four", "y"),
    ]
    constants = {
        "w": np.ones((4, 1, 1, 1), "f4"),
        "six": np.array([1, 1, 2, 2, 3, 3]),
        "four": np.array([1, 1, 6, 6]),
    }
    proto = tools.model(nodes, constants, shape=[1, 1, 3, 3])
    assert "which is no depth-to-space" in refusal(tools.saved(tmp_path / "m.onnx", proto))


def test_a_reshape_that_tears_pixels_apart_is_named(tmp_path: Path) -> None:
    nodes = [node("Reshape", "x shape", "y")]
    proto = tools.model(nodes, {"shape": np.array([1, 1, 5, 9])}, shape=[1, 1, 3, 15])
    message = refusal(tools.saved(tmp_path / "m.onnx", proto))
    assert "node 0 (Reshape '/y/Reshape'): a length of 5 would tear an axis of 3" in message


def test_groups_that_become_zeros_do_not_take_memory_without_end(tmp_path: Path) -> None:
    channels = 1 << 15
    nodes = [node("ConvTranspose", "x w", "y", group=channels, kernel_shape=[1, 1])]
    constants = {"w": np.ones((channels, 1, 1, 1), "f4")}
    proto = tools.model(nodes, constants, channels=channels)
    assert "is too large without groups" in refusal(tools.saved(tmp_path / "m.onnx", proto))


FAR = np.array([1 << 20, 1 << 20])


@pytest.mark.parametrize(
    "made",
    [
        node("Gather", "big many", "huge", axis=0),
        node("Expand", "one far", "huge"),
        node("Tile", "flat far", "huge"),
        node("ConstantOfShape", "far", "huge"),
        node("Range", "none end step", "huge"),
        node("Mul", "tall big", "huge"),
    ],
)
def test_constants_do_not_grow_by_arithmetic(made: Any, tmp_path: Path) -> None:
    constants = {
        "big": np.ones((1, 30_000), "f4"),
        "many": np.zeros(30_000, np.int64),
        "far": FAR,
        "one": ONE,
        "flat": np.ones((1, 1), "f4"),
        "none": np.float32(0),
        "step": np.float32(1e-9),
        "end": ONE,
        "tall": np.ones((30_000, 1), "f4"),
    }
    proto = tools.model([made, node("Add", "x huge", "y")], constants)
    message = refusal(tools.saved(tmp_path / "m.onnx", proto))
    assert f"node 0 ({made.op_type} '/huge/{made.op_type}'): constants that" in message
    assert f"take more than {MAX_FOLDED_BYTES} bytes" in message


def test_constants_do_not_grow_by_their_number(tmp_path: Path) -> None:
    kinds = [onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT]
    casts = [node("Cast", f"c{i}", f"c{i + 1}", to=kinds[i % 2]) for i in range(100)]
    nodes = [*casts, node("Mul", "x c100", "y")]
    proto = tools.model(nodes, {"c0": np.ones((1 << 20, 1), "f4")})
    message = refusal(tools.saved(tmp_path / "m.onnx", proto))
    assert "node 32 (Cast '/c33/Cast'): constants that are computed" in message


@pytest.mark.parametrize("shape", [["n", "c", "h", "w"], [1, 1 << 40, 4, 4], [1, 1, 4], None])
def test_an_input_must_state_four_axes_and_its_channels(shape: Any, tmp_path: Path) -> None:
    proto = tools.model([node("Relu", "x", "y")], {}, shape=shape or [])
    message = refusal(tools.saved(tmp_path / "m.onnx", proto))
    assert "axes instead of 4" in message or "does not state 1 to 65536 channels" in message


def test_a_graph_of_too_many_nodes_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "MAX_NODES", 1)
    nodes = [node("Relu", "x", "a"), node("Relu", "a", "b")]
    message = refusal(tools.saved(tmp_path / "m.onnx", tools.model(nodes, {})))
    assert "2 nodes, more than 1" in message


def test_without_onnx_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    net = sr.sesr(1, 2, 2, expand=3)
    with pytest.raises(ImportError, match=r"pip install 'sesr-ref\[onnx\]'"):
        sr.to_onnx(tmp_path / "m.onnx", net, sr.initialise(net))
    (tmp_path / "m.onnx").write_bytes(b"")
    with pytest.raises(ImportError, match=r"pip install 'sesr-ref\[onnx\]'"):
        sr.from_onnx(tmp_path / "m.onnx")


def test_an_opset_before_7_is_rejected(tmp_path: Path) -> None:
    proto = tools.model([node("Relu", "x", "y")], {}, opset=6)
    message = refusal(tools.saved(tmp_path / "m.onnx", proto))
    assert "needs opset 7 or newer, got 6" in message


def test_the_command_line_says_it_in_one_line_and_exits_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tools.saved(tmp_path / "m.onnx", tools.model([node("Softplus", "x", "y")], {}))
    assert cli.main(["export", str(path), "-o", str(tmp_path / "out.npz")]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "node 0 (Softplus" in captured.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx"]
