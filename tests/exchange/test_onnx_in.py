"""Models as PyTorch and TensorFlow export them come in and compute the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnx_tools as tools
import sesr_ref as sr
from aimet import aimet_state
from onnx_tools import conv, node, numbers
from sesr_ref import network as nw
from sesr_ref.exchange.onnx.operators import RULES
from sesr_ref.exchange.state import from_state

onnx = tools.onnx
Array = tools.Array
ASYMMETRIC = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}


def check(
    path: Path, x: Array, upscale: int, nhwc: bool = False, atol: float = 2e-6
) -> tuple[sr.Network, dict[str, Array]]:
    """Read the model; what it computes must be what onnx's own evaluator computes."""
    net, params = sr.from_onnx(path)
    assert net.upscale == upscale
    expected = tools.evaluated(path, x, nhwc)
    got = sr.run(net, params, x.astype(np.float32))
    np.testing.assert_allclose(got, expected.astype(np.float32), rtol=0, atol=atol)
    return net, params


@pytest.mark.parametrize(
    "make",
    [
        lambda: sr.sesr(2, 5, 2, expand=9),
        lambda: sr.sesr(1, 4, 4, expand=20, block_bias="true"),
        lambda: sr.sesr(1, 4, 2, expand=9, dialect="arm", block_bias="true"),
        lambda: sr.fsrcnn(3, features=6, shrink=4, maps=1),
    ],
)
def test_our_own_expanded_export_comes_back_as_the_same_network(
    make: Any, tmp_path: Path, rng: np.random.Generator
) -> None:
    net = make()
    params = tools.random_params(net, rng)
    sr.to_onnx(tmp_path / "m.onnx", sr.expanded(net), sr.expand_params(net, params))
    back, got = sr.from_onnx(tmp_path / "m.onnx")
    assert [type(a) for a in back.layers] == [type(b) for b in net.layers]
    assert [inputs for _, inputs in back.steps()] == [inputs for _, inputs in net.steps()]
    assert back.name == net.name
    assert got.keys() == params.keys()
    for name, array in params.items():
        np.testing.assert_array_equal(got[name], array)


def test_every_operator_in_the_table_is_exercised_here() -> None:
    files = [*Path(__file__).parent.glob("test_onnx_*.py"), Path(tools.__file__)]
    source = "".join(path.read_text("utf-8") for path in files)
    assert [kind for kind in RULES if f'"{kind}"' not in source] == []


def test_per_channel_constants_become_gains_and_depthwise_convolutions(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    nodes = [
        node("Sub", "x mean", "centred"),
        node("Mul", "centred factor", "scaled"),
        node("Div", "scaled deviation", "normal"),
        node("Add", "mean normal", "back"),
        node("Sub", "one back", "mirrored"),
        node("Mul", "half mirrored", "halved"),
        node("Div", "halved half", "doubled"),
        node("Sub", "doubled x", "difference"),
    ]
    constants = {
        "mean": numbers(rng, 1, 3, 1, 1),
        "factor": numbers(rng, 3, 1, 1),
        "deviation": numbers(rng, 3, 1, 1) + 1,
        "one": np.ones(1, "f4"),
        "half": np.float32(0.5),
    }
    path = tools.saved(tmp_path / "m.onnx", tools.model(nodes, constants, channels=3))
    net, _ = check(path, rng.random((2, 5, 4, 3), dtype=np.float32), upscale=1)
    depthwise = [la for la in net.layers if isinstance(la, nw.Conv)]
    assert [(la.kernel_size, la.groups, la.bias) for la in depthwise] == [(1, 3, True)] * 2
    kinds = [type(la) for la in net.layers]
    assert kinds == [
        *(nw.Conv, nw.Gain, nw.Gain, nw.Conv),
        *(nw.Scale, nw.Shift, nw.Scale, nw.Scale, nw.Scale, nw.Add),
    ]


def test_a_bias_added_after_a_convolution_becomes_its_bias(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    nodes = [
        conv("x w", "a", 3),
        node("Add", "a b", "biased"),
        conv("biased v", "c", 1),
        node("Add", "c b", "forked"),
        node("Add", "forked c", "y"),
    ]
    constants = {"w": numbers(rng, 3, 3, 3, 3), "b": numbers(rng, 3, 1, 1)}
    constants["v"] = numbers(rng, 3, 3, 1, 1)
    path = tools.saved(tmp_path / "m.onnx", tools.model(nodes, constants, channels=3))
    x = rng.random((1, 5, 4, 3), dtype=np.float32)
    check(path, x, upscale=1)
    net, _ = sr.from_onnx(path, find_blocks=False)
    convs = [la for la in net.layers if isinstance(la, nw.Conv)]
    assert [(la.name, la.bias) for la in convs] == [
        ("biased", True),
        ("c", False),
        ("forked", True),
    ]


def test_activations_groups_sums_and_joins(tmp_path: Path, rng: np.random.Generator) -> None:
    nodes = [
        conv("x w", "a", 3, group=3),
        node("Relu", "a", "r"),
        node("Conv", "r g b", "c", group=2, auto_pad="SAME_UPPER"),
        node("LeakyRelu", "c", "l", alpha=0.3),
        node("PRelu", "l one", "p"),
        node("PRelu", "p each", "q"),
        node("Clip", "q - high", "k"),
        node("Clip", "k zero", "z"),
        node("Clip", "z low high", "m"),
        node("Identity", "m", "i"),
        node("Dropout", "i", "d"),
        node("Cast", "d", "t", to=1),
        node("Concat", "t r", "j", axis=-3),
        conv("j last", "o", 5),
        node("Sum", "o x o", "y"),
    ]
    constants = {
        "w": numbers(rng, 6, 1, 3, 3),
        "g": numbers(rng, 4, 3, 1, 1),
        "b": numbers(rng, 4),
        "one": np.full(1, 0.5, "f4"),
        "each": numbers(rng, 4, 1, 1),
        "low": np.float32(0.05),
        "high": np.float32(0.2),
        "zero": np.float32(0),
        "last": numbers(rng, 3, 10, 5, 5),
    }
    path = tools.saved(tmp_path / "m.onnx", tools.model(nodes, constants, channels=3))
    check(path, rng.random((2, 6, 5, 3), dtype=np.float32), upscale=1)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
@pytest.mark.parametrize("size", ["fixed", "dynamic"])
def test_depth_to_space_spelt_as_reshape_and_transpose(
    mode: str, size: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    n, c, h, w = 1, 3, 5, 4
    six, order = {
        "DCR": ([n, 2, 2, c, h, w], [0, 3, 4, 1, 5, 2]),
        "CRD": ([n, c, 2, 2, h, w], [0, 1, 4, 2, 5, 3]),
    }[mode]
    four = [n, c, 2 * h, 2 * w]
    constants = {"k": numbers(rng, 12, 3, 3, 3)}
    nodes = [conv("x k", "a", 3)]
    if size == "fixed":
        constants |= {"six": np.array(six), "four": np.array(four)}
    else:
        constants |= {
            "two": np.array(2),
            "twos": np.array([2, 2]),
            "c": np.array([c]),
            "zero": np.array([0]),
            "b": np.array([0]),
            "i2": np.array([2]),
            "i3": np.array([3]),
            "end": np.array([4]),
        }
        ahead = "zero twos c hw" if mode == "DCR" else "zero c twos hw"
        nodes += [
            node("Shape", "a", "shape"),
            node("Slice", "shape i2 end", "hw"),
            node("Concat", ahead, "six", axis=0),
            node("Mul", "hw two", "hw2"),
            node("Gather", "shape b", "n", axis=0),
            node("Concat", "n c hw2", "four", axis=0),
        ]
    nodes += [
        node("Reshape", "a six", "r"),
        node("Transpose", "r", "t", perm=order),
        node("Reshape", "t four", "y"),
    ]
    shape = [n, 3, h, w] if size == "fixed" else ["n", 3, "h", "w"]
    proto = tools.model(nodes, constants, shape=shape)
    path = tools.saved(tmp_path / "m.onnx", proto)
    net, _ = check(path, rng.random((n, h, w, 3), dtype=np.float32), upscale=2)
    assert [type(la) for la in net.layers] == [nw.Conv, nw.DepthToSpace]
    assert net.layers[-1] == nw.DepthToSpace("a.shuffle", 2, mode, inputs=("a",))


def test_fixed_sizes_of_any_magnitude_take_no_memory(tmp_path: Path) -> None:
    side = 1 << 15
    six, four = [1, 1, 2, 2, side, side], [1, 1, 2 * side, 2 * side]
    nodes = [
        conv("x k", "a", 1),
        node("Reshape", "a six", "r"),
        node("Transpose", "r", "t", perm=[0, 1, 4, 2, 5, 3]),
        node("Reshape", "t four", "y"),
    ]
    constants = {"k": np.ones((4, 1, 1, 1), "f4"), "six": np.array(six), "four": np.array(four)}
    proto = tools.model(nodes, constants, shape=[1, 1, side, side])
    net, _ = sr.from_onnx(tools.saved(tmp_path / "m.onnx", proto))
    assert net.upscale == 2


def test_tensorflow_models_keep_channels_last(tmp_path: Path, rng: np.random.Generator) -> None:
    nodes = [
        node("Transpose", "x", "first", perm=[0, 3, 1, 2]),
        conv("first w", "a", 3),
        node("Transpose", "a", "last", perm=[0, 2, 3, 1]),
        node("Mul", "last gain", "m"),
        node("Relu", "m", "r"),
        node("PRelu", "r slope", "p"),
        node("Sigmoid", "p", "s"),
        node("Concat", "s r", "j", axis=3),
        node("Transpose", "j", "back", perm=[0, 3, 1, 2]),
        conv("back v", "b", 1),
        node("DepthToSpace", "b", "d", blocksize=2),
        node("Transpose", "d", "y", perm=[0, 2, 3, 1]),
    ]
    constants = {
        "w": numbers(rng, 4, 3, 3, 3),
        "v": numbers(rng, 12, 8, 1, 1),
        "gain": numbers(rng, 4),
        "slope": numbers(rng, 1, 1, 4),
    }
    proto = tools.model(nodes, constants, shape=["n", "h", "w", 3])
    path = tools.saved(tmp_path / "m.onnx", proto)
    check(path, rng.random((2, 5, 4, 3), dtype=np.float32), upscale=2, nhwc=True)


def test_luma_in_channels_last_by_reshape(tmp_path: Path, rng: np.random.Generator) -> None:
    nodes = [
        node("Reshape", "x first", "f"),
        conv("f w", "a", 3),
        node("DepthToSpace", "a", "d", blocksize=2),
        node("Reshape", "d last", "y"),
    ]
    constants = {
        "w": numbers(rng, 4, 1, 3, 3),
        "first": np.array([1, 1, 6, 5]),
        "last": np.array([1, 12, 10, 1]),
    }
    proto = tools.model(nodes, constants, shape=[1, 6, 5, 1])
    path = tools.saved(tmp_path / "m.onnx", proto)
    check(path, rng.random((1, 6, 5, 1), dtype=np.float32), upscale=2, nhwc=True)


@pytest.mark.parametrize(
    ("attributes", "mode"),
    [
        ({**ASYMMETRIC, "nearest_mode": "floor"}, "nearest"),
        ({"mode": "nearest"}, "nearest"),
        ({"mode": "linear"}, "bilinear"),
        ({"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"}, "bilinear"),
        ({"mode": "cubic", "coordinate_transformation_mode": "half_pixel"}, "bicubic75"),
    ],
)
@pytest.mark.parametrize("by", ["scales", "sizes"])
@pytest.mark.parametrize("scale", [2, 3])
def test_resizings_that_have_an_equal(
    attributes: dict[str, Any],
    mode: str,
    by: str,
    scale: int,
    tmp_path: Path,
    rng: np.random.Generator,
) -> None:
    inputs = {"scales": "x - scales", "sizes": "x - - sizes"}[by]
    constants = {
        "scales": np.array([1, 1, scale, scale], "f4"),
        "sizes": np.array([1, 2, 4 * scale, 5 * scale]),
    }
    nodes = [node("Resize", inputs, "y", **attributes)]
    proto = tools.model(nodes, constants, shape=[1, 2, 4, 5])
    path = tools.saved(tmp_path / "m.onnx", proto)
    net, _ = check(path, rng.random((1, 4, 5, 2), dtype=np.float32), upscale=scale)
    assert net.layers == (nw.Resize("y", scale, mode, inputs=("input",)),)


@pytest.mark.parametrize(
    "attributes",
    [
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
        {"mode": "linear", "coordinate_transformation_mode": "asymmetric"},
        {"mode": "cubic", "cubic_coeff_a": -0.5},
        {"mode": "cubic", "exclude_outside": 1},
        {"mode": "nearest", "nearest_mode": "ceil"},
        ASYMMETRIC,
    ],
)
def test_resizings_without_an_equal_are_named(attributes: dict[str, Any], tmp_path: Path) -> None:
    nodes = [node("Resize", "x - scales", "y", **attributes)]
    proto = tools.model(nodes, {"scales": np.array([1, 1, 2, 2], "f4")})
    path = tools.saved(tmp_path / "m.onnx", proto)
    with pytest.raises(ValueError, match=r"node 0 \(Resize '/y/Resize'\): mode .* supported are"):
        sr.from_onnx(path)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_our_own_bicubic_comes_back_and_no_other(
    dtype: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    layers = (nw.Resize("bicubic", 3), nw.ReLU("y"))
    sr.to_onnx(tmp_path / "m.onnx", nw.Network("enlarge", 3, 2, layers), {}, dtype=dtype)
    net, _ = sr.from_onnx(tmp_path / "m.onnx")
    assert net.layers == (
        nw.Resize("bicubic", 3, inputs=("input",)),
        nw.ReLU("y", inputs=("bicubic",)),
    )
    proto = onnx.load(tmp_path / "m.onnx")
    changed = next(t for t in proto.graph.initializer if t.name == "bicubic.phases.weight")
    weight = onnx.numpy_helper.to_array(changed).copy()
    weight[4, 0, 2, 2] *= 1.01
    changed.CopyFrom(onnx.numpy_helper.from_array(weight, changed.name))
    with pytest.raises(ValueError, match=r"node 0 \(Slice 'bicubic\.rows\.first'\)"):
        sr.from_onnx(tools.saved(tmp_path / "m.onnx", proto))


def test_old_upsample_and_old_clip(tmp_path: Path, rng: np.random.Generator) -> None:
    nodes = [
        node("Upsample", "x scales", "u", mode="nearest"),
        node("Clip", "u", "y", min=0.2, max=0.7),
    ]
    proto = tools.model(nodes, {"scales": np.array([1, 1, 2, 2], "f4")}, channels=2, opset=9)
    path = tools.saved(tmp_path / "m.onnx", proto)
    net, params = sr.from_onnx(path)
    x = rng.random((1, 4, 3, 2), dtype=np.float32)
    expected = np.clip(x.repeat(2, axis=1).repeat(2, axis=2), np.float32(0.2), np.float32(0.7))
    np.testing.assert_array_equal(sr.run(net, params, x), expected)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    ("kernel", "attributes", "stride"),
    [
        (4, {"strides": [2, 2], "pads": [1, 1, 1, 1]}, 2),
        (9, {"strides": [3, 3], "pads": [4, 4, 4, 4], "output_padding": [2, 2]}, 3),
        (3, {"strides": [3, 3]}, 3),
        (5, {"pads": [2, 2, 2, 2]}, 1),
    ],
)
def test_transposed_convolutions(
    groups: int,
    kernel: int,
    attributes: dict[str, Any],
    stride: int,
    tmp_path: Path,
    rng: np.random.Generator,
) -> None:
    nodes = [node("ConvTranspose", "x w b", "y", group=groups, **attributes)]
    constants = {"w": numbers(rng, 4, 4 // groups, kernel, kernel), "b": numbers(rng, 4)}
    path = tools.saved(tmp_path / "m.onnx", tools.model(nodes, constants, channels=4))
    x = rng.random((1, 3, 5, 4), dtype=np.float32)
    if groups == 1:  # onnx's own evaluator cannot do groups here
        check(path, x, upscale=stride)
    net, params = sr.from_onnx(path)
    y = tools.runtime(path).run(None, {"x": x.transpose(0, 3, 1, 2)})[0]
    np.testing.assert_allclose(sr.run(net, params, x), y.transpose(0, 2, 3, 1), rtol=0, atol=2e-6)


@pytest.mark.parametrize("kind", ["FLOAT16", "DOUBLE", "BFLOAT16"])
def test_other_float_types_are_widened_or_kept(
    kind: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    elem = onnx.TensorProto.DataType.Value(kind)
    weight = numbers(rng, 1, 1, 3, 3)
    proto = tools.model([conv("x w", "y", 3)], {}, kind=kind)
    proto.graph.initializer.append(
        onnx.helper.make_tensor("w", elem, weight.shape, weight.ravel().tolist())
    )
    net, params = sr.from_onnx(tools.saved(tmp_path / "m.onnx", proto))
    assert net.layers == (nw.Conv("y", 1, 3, inputs=("input",)),)
    assert params["y.weight"].dtype == (np.float64 if kind == "DOUBLE" else np.float32)
    np.testing.assert_allclose(params["y.weight"].transpose(3, 2, 0, 1), weight, rtol=2**-8)


def test_layers_are_called_after_the_tensors_they_make(tmp_path: Path) -> None:
    nodes = [
        onnx.helper.make_node("Relu", ["x"], ["/body/act 1/Relu_output_0"]),
        onnx.helper.make_node("Relu", ["/body/act 1/Relu_output_0"], ["input"]),
        onnx.helper.make_node("Relu", ["input"], ["body.act.1.Relu"]),
    ]
    net, _ = sr.from_onnx(tools.saved(tmp_path / "m.onnx", tools.model(nodes, {})))
    assert [la.name for la in net.layers] == ["body.act.1.Relu", "input.2", "body.act.1.Relu.2"]


def test_constants_in_nodes_and_branches_nobody_reads(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    weight = onnx.numpy_helper.from_array(numbers(rng, 1, 1, 3, 3), "w")
    nodes = [
        node("Constant", "", "w", value=weight),
        node("Constant", "", "s", value_float=0.5),
        node("Constant", "", "perm", value_ints=[0, 1, 3, 2]),
        node("Shape", "w", "of_weight"),
        conv("x w", "a", 3),
        node("Relu", "x", "unread"),
        node("Mul", "a s", "y"),
    ]
    path = tools.saved(tmp_path / "m.onnx", tools.model(nodes, {}))
    net, _ = check(path, rng.random((1, 4, 5, 1), dtype=np.float32), upscale=1)
    assert [la.name for la in net.layers] == ["a", "y"]


def test_one_of_several_outputs_is_chosen_by_name(tmp_path: Path) -> None:
    nodes = [node("Relu", "x", "a"), node("Relu", "a", "b")]
    path = tools.saved(tmp_path / "m.onnx", tools.model(nodes, {}, outputs=["a", "b"]))
    with pytest.raises(ValueError, match=r"has the outputs \['a', 'b'\]; say which one"):
        sr.from_onnx(path)
    assert sr.from_onnx(path, output="a")[0].output == "a"
    with pytest.raises(ValueError, match=r"has no output 'c', only \['a', 'b'\]"):
        sr.from_onnx(path, output="c")


def test_external_data_beside_the_model_is_read(tmp_path: Path, rng: np.random.Generator) -> None:
    weight = numbers(rng, 1, 1, 3, 3)
    (tmp_path / "sub").mkdir()
    proto = tools.model([conv("x w", "y", 3)], {"w": weight})
    tools.externalise(proto, "sub/data.bin", offset=8)
    (tmp_path / "sub" / "data.bin").write_bytes(b"\0" * 8 + weight.tobytes())
    _, params = sr.from_onnx(tools.saved(tmp_path / "m.onnx", proto))
    np.testing.assert_array_equal(params["y.weight"].transpose(3, 2, 0, 1), weight)


def test_the_oracle_accepts_an_uncollapsed_foreign_model_expanded_and_collapsed(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    net, params = from_state(aimet_state(rng, 2, 2, 8, 64))
    full, full_params = sr.expanded(net), sr.expand_params(net, params)
    sr.to_onnx(tmp_path / "m.onnx", full, full_params)
    back, got = sr.from_onnx(tmp_path / "m.onnx")
    assert sum(isinstance(la, nw.LinearBlock) for la in back.layers) == 4
    x = rng.random((1, 9, 12, 3), dtype=np.float32)
    y = tools.runtime(tmp_path / "m.onnx").run(None, {"input": x.transpose(0, 3, 1, 2)})[0]
    y = y.transpose(0, 2, 3, 1)
    assert sr.compare(sr.expanded(back), sr.expand_params(back, got), x, y).agrees
    small = sr.run(back, got, x)
    assert sr.compare(back, got, x, small).agrees
    np.testing.assert_allclose(small, y, rtol=0, atol=2e-6)
