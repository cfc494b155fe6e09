"""What pads, cuts, repeats and rearranges in ONNX comes in as the layers that it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnx_tools as tools
import sesr_ref as sr
from onnx_tools import conv, kinds, node, numbers, read
from sesr_ref import network as nw

onnx = tools.onnx
Array = tools.Array
Nodes = list[Any]


@pytest.mark.parametrize(
    ("nodes", "made"),
    [
        (  # the convolution takes the zeros as its own
            [node("Pad", "x ones", "p"), conv("p w", "y", 3, pads=[0] * 4)],
            ["Conv"],
        ),
        (  # all but one of the zeros are added ahead of it
            [
                node("Pad", "x twos", "p"),
                conv("p w", "q", 3, pads=[0] * 4),
                node("Pad", "q less", "y"),
            ],
            ["Pad", "Conv", "Pad"],
        ),
        (
            [conv("x w", "a", 1), node("Relu", "a", "b"), node("Pad", "b ones", "y")],
            ["Conv", "Pad", "ReLU", "Pad"],
        ),
        (
            [conv("x w", "a", 3), node("Pad", "a less", "b"), node("Pad", "b ones", "y")],
            ["Conv", "Pad", "Pad"],
        ),
        ([node("Pad", "x ones", "p"), node("Pad", "p less", "q"), conv("q w", "y", 3)], ["Conv"]),
        (  # a rectangle is cut along one axis, the other axis' cut follows
            [conv("x long", "a", 1), conv("a tall", "b", 1), node("Pad", "b ones", "y")],
            ["Conv", "Conv", "Pad", "Pad"],
        ),
        ([conv("x long", "y", 1, pads=[0, 1, 0, 1])], ["Conv"]),
        (
            [conv("x tall", "a", 1, pads=[1, 1, 1, 1]), conv("a long", "y", 1, pads=[0, 0, 0, 0])],
            ["Pad", "Conv", "Conv", "Pad"],
        ),
        (
            [
                node("Slice", "x from_one till_end rows", "a"),
                node("Slice", "a from_one till_end columns", "b"),
                conv("b w", "c", 3),
                node("Pad", "c ones", "y"),
            ],
            ["Pad", "Conv", "Pad"],
        ),
    ],
)
def test_padding_and_cutting(
    nodes: Nodes, made: list[str], tmp_path: Path, rng: np.random.Generator
) -> None:
    constants = {
        "w": numbers(rng, 3, 3, 3, 3),
        "long": numbers(rng, 3, 3, 1, 3),
        "tall": numbers(rng, 3, 3, 3, 1),
        "ones": np.array([0, 0, 1, 1] * 2),
        "twos": np.array([0, 0, 2, 2] * 2),
        "less": np.array([0, 0, -1, -1] * 2),
        "from_one": np.array([1]),
        "till_end": np.array([-1]),
        "rows": np.array([2]),
        "columns": np.array([3]),
    }
    net = read(tmp_path, nodes, constants, rng.random((1, 7, 6, 3), dtype=np.float32))
    assert kinds(net) == made


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([node("Pad", "x left", "y")], "with (0, -1, 0, 0) pixels cut off (negative: zeros added)"),
        ([node("Pad", "x ones", "y", mode="reflect")], "mode 'reflect'; only zeros are supported"),
        ([node("Pad", "x ones half", "y")], "only zeros are supported"),
        ([node("Pad", "x channels", "y")], "pads batch or channels"),
        ([node("Slice", "x zero one row step", "y")], "only steps of 1"),
        ([node("Slice", "x one one row", "y")], "leaves nothing of"),
        ([node("Split", "x three", "y", axis=1)], "[3] are not the 2 channels in 1 parts"),
        ([node("Split", "x one", "y", axis=2)], "axis 2 is not the channels'"),
        ([node("Expand", "x wide", "y")], "does not expand to [1, 3, 1, 1]"),
        ([node("Tile", "x three", "y")], "repeats [3] of a tensor of shape"),
        (
            [node("Tile", "x batch", "y")],
            "which is no depth-to-space, nor channels or pixels repeated",
        ),
        ([node("Squeeze", "x one", "y")], "axes [1] of"),
        ([node("Round", "x", "a"), node("Relu", "a", "y")], "rounds elsewhere than ahead of"),
        ([node("BatchNormalization", "x g g g minus", "y")], "a variance is negative"),
        ([node("BatchNormalization", "x h h h h", "y")], "parameters {(3,)} for 2 channels"),
        ([node("Gelu", "x", "y", approximate="sigmoid")], "approximate must be 'none' or 'tanh'"),
        ([node("Erf", "x", "y")], "operator Erf is not supported"),
    ],
)
def test_what_has_no_layer_is_named_with_its_place(
    nodes: Nodes, message: str, tmp_path: Path
) -> None:
    constants = {
        "left": np.array([0, 0, 0, 1, 0, 0, 0, 0]),
        "ones": np.array([0, 0, 1, 1] * 2),
        "channels": np.array([0, 1, 0, 0] * 2),
        "half": np.float32(0.5),
        "zero": np.array([0]),
        "one": np.array([1]),
        "row": np.array([2]),
        "step": np.array([2]),
        "three": np.array([3]),
        "wide": np.array([1, 3, 1, 1]),
        "batch": np.array([2, 1, 1, 1]),
        "g": np.ones(2, "f4"),
        "h": np.ones(3, "f4"),
        "minus": -np.ones(2, "f4"),
    }
    path = tools.saved(tmp_path / "m.onnx", tools.model(nodes, constants, channels=2, opset=20))
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        sr.from_onnx(path)
    assert message in str(error.value)


@pytest.mark.parametrize("axis", ["1", "-3"])
def test_slices_and_splits_of_channels(axis: str, tmp_path: Path, rng: np.random.Generator) -> None:
    nodes = [
        node("Slice", "x one end axis", "a"),
        onnx.helper.make_node("Split", ["x", "sizes"], ["b", "c", "d"], axis=int(axis)),
        onnx.helper.make_node("Split", ["d"], ["e", "f"], axis=int(axis)),
        node("Concat", "f a e", "j", axis=1),
        node("Relu", "j", "r"),
        conv("r w", "y", 1),
    ]
    constants = {
        "one": np.array([1]),
        "end": np.array([3]),
        "axis": np.array([int(axis)]),
        "sizes": np.array([1, 2, 2]),
        "w": numbers(rng, 5, 4, 1, 1),
    }
    x = rng.random((1, 4, 3, 5), dtype=np.float32)
    net = read(tmp_path, nodes, constants, x)
    cut = [(la.start, la.stop) for la in net.layers if isinstance(la, nw.Slice)]
    assert cut == [(1, 3), (3, 5), (0, 1), (1, 2)]  # what nobody reads is not there


REPEATS: dict[str, tuple[Nodes, int]] = {
    "tiled": ([node("Tile", "x four", "t")], 1),
    "expanded": ([node("Expand", "x wide", "t")], 1),
    "joined": ([node("Concat", "x x x x", "t", axis=1)], 1),
    "tiled colours": ([node("Tile", "x four", "t")], 3),
    "each colour repeated": (
        [
            node("Unsqueeze", "x two", "u"),
            node("Expand", "u five", "v"),
            node("Reshape", "v flat", "t"),
        ],
        3,
    ),
}


@pytest.mark.parametrize("case", REPEATS)
def test_an_input_that_is_repeated_for_every_subpixel(
    case: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    nodes, channels = REPEATS[case]
    nodes = [
        conv("x w", "a", 3),
        *nodes,
        node("Add", "t a", "s"),
        node("DepthToSpace", "s", "y", blocksize=2),
    ]
    constants = {
        "w": numbers(rng, 4 * channels, channels, 3, 3),
        "four": np.array([1, 4, 1, 1]),
        "wide": np.array([1, 4, 1, 1]),
        "two": np.array([2]),
        "five": np.array([1, 3, 4, 1, 1]),
        "flat": np.array([0, 12, -1, 6]),
    }
    x = rng.random((1, 5, 6, channels), dtype=np.float32)
    net = read(tmp_path, nodes, constants, x, shape=[1, channels, 5, 6])
    joined = ["Concat"] if case in ("joined", "tiled colours") else []
    if case == "each colour repeated":
        joined = ["Slice", "Slice", "Slice", "Concat"]
    assert kinds(net) == ["Conv", *joined, "Add", "DepthToSpace"]
    assert [la.name for la in net.layers if la.param_shapes(1)] == ["a"]


def test_one_channel_that_is_repeated_alone_is_a_concat(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    nodes = [
        node("Tile", "x four", "t"),
        node("Add", "t t", "s"),
        node("Relu", "s", "r"),
        node("DepthToSpace", "r", "y", blocksize=2),
    ]
    x = rng.random((1, 5, 6, 1), dtype=np.float32)
    net = read(tmp_path, nodes, {"four": np.array([1, 4, 1, 1])}, x)
    assert kinds(net) == ["Concat", "Add", "ReLU", "DepthToSpace"]


def test_repeated_pixels_are_the_nearest_ones(tmp_path: Path, rng: np.random.Generator) -> None:
    nodes = [
        node("Reshape", "x six", "a"),
        node("Expand", "a twice", "b"),
        node("Reshape", "b four", "y"),
    ]
    constants = {
        "six": np.array([1, 2, 5, 1, 4, 1]),
        "twice": np.array([1, 2, 5, 2, 4, 2]),
        "four": np.array([1, 2, 10, 8]),
    }
    x = rng.random((1, 5, 4, 2), dtype=np.float32)
    net = read(tmp_path, nodes, constants, x, shape=[1, 2, 5, 4])
    assert net.layers == (nw.Resize("input.nearest", 2, "nearest", inputs=("input",)),)


def test_channels_that_are_shuffled_are_a_concat_of_slices(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    nodes = [
        conv("x w", "a", 1),
        node("Reshape", "a groups", "g"),
        node("Transpose", "g", "t", perm=[0, 2, 1, 3, 4]),
        node("Reshape", "t flat", "f"),
        conv("f v", "y", 1),
    ]
    constants = {
        "w": numbers(rng, 6, 2, 1, 1),
        "v": numbers(rng, 2, 6, 1, 1),
        "groups": np.array([1, 2, 3, 5, 4]),
        "flat": np.array([1, 6, 5, 4]),
    }
    x = rng.random((1, 5, 4, 2), dtype=np.float32)
    net = read(tmp_path, nodes, constants, x, shape=[1, 2, 5, 4])
    assert kinds(net) == ["Conv", *["Slice"] * 6, "Concat", "Conv"]
