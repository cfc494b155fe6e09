"""Exported networks compute what the reference computes, in onnx's evaluator and ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnx_tools as tools
import sesr_ref as sr
from sesr_ref import network as nw
from sesr_ref.exchange.onnx.write import OPSET
from sesr_ref.exchange.shuffle_order import with_shuffle_mode

onnx = tools.onnx

ALL_KINDS = nw.Network(
    "all-kinds",
    2,
    3,
    layers=(
        nw.Shift("shift", -0.25),
        nw.Conv("head", 12, 5, bias=True),
        nw.PReLU("act"),
        nw.Conv("grouped", 12, 3, groups=4),
        nw.LeakyReLU("leaky", 0.2),
        nw.Add("sum", inputs=("leaky", "act", "head")),
        nw.ReLU("relu"),
        nw.Conv("thin", 4, 1),
        nw.Concat("joined", inputs=("relu", "thin")),
        nw.Scale("scaled", 0.5),
        nw.ConvTranspose("up", 3, 5, 2, bias=True),
        nw.Conv("wide", 12, 3, inputs=("joined",)),
        nw.DepthToSpace("shuffle", 2),
        nw.Resize("enlarged", 2, inputs=("input",)),
        nw.Add("total", inputs=("shuffle", "up", "enlarged")),
        nw.Clip("clip", 0.0, 1.0),
    ),
)
NETWORKS: dict[str, Callable[[], sr.Network]] = {
    "x2": lambda: sr.sesr(2, 5, 2, expand=9),
    "x4, biased": lambda: sr.sesr(1, 4, 4, expand=7, block_bias="true"),
    "arm, leaky": lambda: sr.sesr(1, 4, 4, expand=7, dialect="arm", block_bias="leaky"),
    "fsrcnn x3": lambda: sr.fsrcnn(3, features=6, shrink=4, maps=1),
    "all kinds": lambda: ALL_KINDS,
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [None, (7, 10)])
def test_exported_equals_the_reference(
    name: str, size: tuple[int, int] | None, tmp_path: Path, rng: np.random.Generator
) -> None:
    net = NETWORKS[name]()
    params = tools.random_params(net, rng)
    x = rng.random((1 if size else 2, 7, 10, net.channels), dtype=np.float32)
    sr.to_onnx(tmp_path / "m.onnx", net, params, size=size)
    y = tools.evaluated(tmp_path / "m.onnx", x)
    np.testing.assert_allclose(y, sr.run(net, params, x), rtol=0, atol=3e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_onnx_runtime_agrees_tensor_by_named_tensor(
    name: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    net = sr.collapsed(NETWORKS[name]())
    params = tools.random_params(net, rng)
    x = rng.random((2, 7, 10, net.channels), dtype=np.float32)
    sr.to_onnx(tmp_path / "m.onnx", net, params, every_tensor=True)
    session = tools.runtime(tmp_path / "m.onnx")
    names = [output.name for output in session.get_outputs()]
    values = session.run(names, {"input": x.transpose(0, 3, 1, 2)})
    tensors = sr.forward(net, params, x)
    assert names[0] == net.output
    assert {*names, "input"} == set(tensors)
    for tensor, value in zip(names, values, strict=True):
        np.testing.assert_allclose(
            value.transpose(0, 2, 3, 1), tensors[tensor], rtol=0, atol=3e-6, err_msg=tensor
        )


@pytest.mark.parametrize("name", ["x2", "x4, biased", "fsrcnn x3", "all kinds"])
def test_the_oracle_accepts_onnx_runtime_layer_by_layer(
    name: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    net = NETWORKS[name]()
    params = tools.random_params(net, rng)
    x = rng.random((1, 11, 14, net.channels), dtype=np.float32)
    sr.to_onnx(tmp_path / "m.onnx", net, params, every_tensor=True)
    session = tools.runtime(tmp_path / "m.onnx")
    names = [output.name for output in session.get_outputs()]
    values = session.run(names, {"input": x.transpose(0, 3, 1, 2)})
    tensors = {n: v.transpose(0, 2, 3, 1) for n, v in zip(names, values, strict=True)}
    report = sr.compare(net, params, x, tensors)
    assert report.agrees, report.first_wrong
    assert not report.missing


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic", "bicubic75"])
@pytest.mark.parametrize("upscale", [2, 3])
@pytest.mark.parametrize("size", [(2, 2), (5, 4)])
def test_every_resizing_agrees_at_the_border_too(
    mode: str, upscale: int, size: tuple[int, int], tmp_path: Path, rng: np.random.Generator
) -> None:
    net = nw.Network("resize", upscale, 2, (nw.Resize("resized", upscale, mode),))
    x = rng.random((1, *size, 2), dtype=np.float32)
    sr.to_onnx(tmp_path / "m.onnx", net, {})
    expected = sr.run(net, {}, x)
    np.testing.assert_allclose(tools.evaluated(tmp_path / "m.onnx", x), expected, atol=2e-6)
    got = tools.runtime(tmp_path / "m.onnx").run(None, {"input": x.transpose(0, 3, 1, 2)})[0]
    np.testing.assert_allclose(got.transpose(0, 2, 3, 1), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [(4, 2, None), (4, 3, 0), (5, 2, 0), (3, 2, 0), (4, 2, 2), (9, 4, None)],
)
def test_transposed_convolutions_agree_whatever_their_padding(
    kernel: int, stride: int, padding: int | None, tmp_path: Path, rng: np.random.Generator
) -> None:
    up = nw.ConvTranspose("up", 2, kernel, stride, padding=padding)
    net = nw.Network("up", stride, 2, (up,))
    params = tools.random_params(net, rng)
    x = rng.random((1, 4, 5, 2), dtype=np.float32)
    sr.to_onnx(tmp_path / "m.onnx", net, params)
    y = tools.evaluated(tmp_path / "m.onnx", x)
    np.testing.assert_allclose(y, sr.run(net, params, x), rtol=0, atol=2e-6)


def test_a_transposed_convolution_that_onnx_cannot_state_is_rejected(
    tmp_path: Path,
) -> None:
    net = nw.Network("up", 2, 1, (nw.ConvTranspose("up", 1, 3, 2, padding=2),))
    with pytest.raises(ValueError, match=r"up: ONNX has no transposed convolution with padding 2"):
        sr.to_onnx(tmp_path / "m.onnx", net, {"up.weight": np.ones((3, 3, 1, 1), np.float32)})
    assert not list(tmp_path.iterdir())


def test_expanded_export_keeps_every_convolution_and_the_blocks_tensors(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    net = sr.sesr(2, 4, 2, expand=6, block_bias="true")
    params = tools.random_params(net, rng)
    sr.to_onnx(tmp_path / "m.onnx", sr.expanded(net), sr.expand_params(net, params))
    nodes = onnx.load(tmp_path / "m.onnx").graph.node
    assert [n.op_type for n in nodes].count("Conv") == 2 * 4
    assert not [n for n in nodes if n.op_type == "Identity"]
    assert {"head", "block0", "block1", "tail"} <= {n.output[0] for n in nodes}
    x = rng.random((1, 6, 5, 1), dtype=np.float32)
    y = tools.evaluated(tmp_path / "m.onnx", x)
    np.testing.assert_allclose(y, sr.run(net, params, x), rtol=0, atol=3e-6)


def test_float16_export_is_float16_throughout_and_near(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    net = sr.sesr(2, 5, 2, expand=9)
    params = tools.random_params(net, rng)
    sr.to_onnx(tmp_path / "m.onnx", net, params, dtype="float16")
    proto = onnx.load(tmp_path / "m.onnx")
    kinds = {t.data_type for t in proto.graph.initializer} | {
        v.type.tensor_type.elem_type for v in (*proto.graph.input, *proto.graph.output)
    }
    assert kinds == {onnx.TensorProto.FLOAT16}
    x = rng.random((1, 6, 5, 1), dtype=np.float32)
    y = tools.evaluated(tmp_path / "m.onnx", x.astype(np.float16))
    assert y.dtype == np.float16
    np.testing.assert_allclose(y, sr.run(net, params, x), rtol=0, atol=0.02)


def test_a_weight_beyond_float16_is_rejected_by_name(tmp_path: Path) -> None:
    net = nw.Network("one", 1, 1, (nw.Conv("conv", 1, 1),))
    params = {"conv.weight": np.full((1, 1, 1, 1), 7e4, np.float32)}
    with pytest.raises(ValueError, match=r"conv\.weight does not fit float16: at most 65504"):
        sr.to_onnx(tmp_path / "m.onnx", net, params, dtype="float16")
    assert not list(tmp_path.iterdir())


def test_the_file_states_opset_sizes_and_every_tensors_shape(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    net = sr.sesr(1, 4, 4, expand=5)
    sr.to_onnx(tmp_path / "m.onnx", net, tools.random_params(net, rng), size=(9, 14))
    proto = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(proto, full_check=True)
    assert [(o.domain, o.version) for o in proto.opset_import] == [("", OPSET)]
    assert proto.ir_version == 8
    stated = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in (*proto.graph.input, *proto.graph.value_info, *proto.graph.output)
    }
    shapes = sr.collapsed(net).shapes(9, 14)
    assert stated == {name: [1, c, h, w] for name, (h, w, c) in shapes.items()}


def test_layers_that_share_parameters_get_constants_of_their_own(tmp_path: Path) -> None:
    layers = (
        nw.Conv("a", 1, 3),
        nw.PReLU("p"),
        nw.Conv("b", 1, 3, shares="a"),
        nw.PReLU("q", shares="p"),
    )
    params = {"a.weight": np.ones((3, 3, 1, 1), "f4"), "p.slope": np.ones(1, "f4")}
    sr.to_onnx(tmp_path / "m.onnx", nw.Network("shared", 1, 1, layers), params)
    read = [n for node in onnx.load(tmp_path / "m.onnx").graph.node for n in node.input[1:]]
    assert sorted(read) == ["a.weight", "b.weight", "p.slope", "q.slope"]


def test_the_same_network_gives_the_same_bytes(tmp_path: Path, rng: np.random.Generator) -> None:
    net = sr.sesr(1, 4, 2, expand=5)
    params = tools.random_params(net, rng)
    for name in ("a", "b"):
        sr.to_onnx(tmp_path / name, net, params)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float64"}, "dtype must be one of"),
        ({"mode": "crd"}, "mode must be 'DCR' or 'CRD', got 'crd'"),
        ({"size": (0, 5)}, r"size must be height and width from 1 on, got \(0, 5\)"),
    ],
)
def test_unknown_options_are_rejected(
    options: dict[str, Any], message: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    net = sr.sesr(1, 4, 2, expand=5)
    with pytest.raises(ValueError, match=message):
        sr.to_onnx(tmp_path / "m.onnx", net, tools.random_params(net, rng), **options)


def test_a_layer_called_like_a_parameter_is_rejected_in_one_line(tmp_path: Path) -> None:
    net = nw.Network("clash", 1, 1, (nw.Conv("a", 1, 1), nw.ReLU("a.weight")))
    with pytest.raises(ValueError, match=r"^clash makes no valid ONNX: [^\n]*a\.weight[^\n]*$"):
        sr.to_onnx(tmp_path / "m.onnx", net, sr.initialise(net))


def test_an_existing_file_is_kept_unless_it_may_be_replaced(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    net = sr.sesr(1, 4, 2, expand=5)
    (tmp_path / "m.onnx").write_text("mine")
    with pytest.raises(FileExistsError):
        sr.to_onnx(tmp_path / "m.onnx", net, tools.random_params(net, rng), overwrite=False)
    assert (tmp_path / "m.onnx").read_text() == "mine"


RGB = nw.Network(
    "rgb",
    4,
    3,
    layers=(
        nw.Conv("head", 48, 3, bias=True),
        nw.PReLU("act"),
        nw.Conv("anchor", 48, 1, inputs=("input",)),
        nw.Add("sum", inputs=("act", "anchor")),
        nw.DepthToSpace("first", 2, "DCR"),
        nw.LeakyReLU("leaky", 0.1),
        nw.DepthToSpace("second", 2, "CRD"),
    ),
)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_either_order_of_channels_gives_the_same_image(
    mode: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    params = tools.random_params(RGB, rng)
    x = rng.random((1, 5, 6, 3), dtype=np.float32)
    sr.to_onnx(tmp_path / "m.onnx", RGB, params, mode=mode)
    modes = [
        onnx.helper.get_attribute_value(a)
        for node in onnx.load(tmp_path / "m.onnx").graph.node
        for a in node.attribute
        if a.name == "mode"
    ]
    assert modes == [mode.encode()] * 2
    y = tools.evaluated(tmp_path / "m.onnx", x)
    np.testing.assert_allclose(y, sr.run(RGB, params, x), rtol=0, atol=3e-6)
    net, moved = with_shuffle_mode(RGB, params, mode)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(sr.run(net, moved, wide), sr.run(RGB, params, wide), atol=1e-12)


def test_channels_that_somebody_else_reads_keep_their_order() -> None:
    layers = (
        nw.Conv("a", 12, 1),
        nw.DepthToSpace("up", 2),
        nw.Conv("b", 12, 3, inputs=("a",)),
        nw.DepthToSpace("up2", 2, "CRD"),
        nw.Add("sum", inputs=("up", "up2")),
    )
    net = nw.Network("fork", 2, 3, layers)
    params = sr.initialise(net)
    with pytest.raises(ValueError, match=r"'a' cannot be put in another order: 'b' reads it too"):
        with_shuffle_mode(net, params, "CRD")


def test_linear_blocks_must_be_rewritten_before_their_channels_move() -> None:
    net = sr.sesr(1, 4, 2, expand=5)
    with pytest.raises(ValueError, match="layer 'head' is a LinearBlock"):
        with_shuffle_mode(net, sr.initialise(net), "CRD")
