"""SESR with every option, and FSRCNN: layers, names and counts as in the papers."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

import sesr_ref as sr
from generate import images, parameters
from sesr_ref.network import Conv, DepthToSpace, LinearBlock, Network

OPTIONS = [
    {
        "activation": a,
        "input_residual": i,
        "short_residuals": s,
        "linear_blocks": linear,
        "dialect": dialect,
        "block_bias": bias,
    }
    for a, i, s, linear in itertools.product(("prelu", "relu"), *((True, False),) * 3)
    for dialect, bias in (("paper", "none"), ("paper", "true"), ("arm", "true"), ("arm", "leaky"))
    if linear or bias != "leaky"
]


def weights(net: Network) -> int:
    """Convolution weights of the collapsed network, which is what the paper counts."""
    shapes = sr.collapsed(net).param_shapes()
    return sum(math.prod(s) for name, s in shapes.items() if name.endswith(".weight"))


@pytest.mark.parametrize(
    ("blocks", "features", "upscale", "thousands"),
    [
        (3, 16, 2, 8.91),
        (5, 16, 2, 13.52),
        (7, 16, 2, 18.12),
        (11, 16, 2, 27.34),
        (11, 32, 2, 105.37),
        (3, 16, 4, 13.71),
        (5, 16, 4, 18.32),
        (7, 16, 4, 22.92),
        (11, 16, 4, 32.14),
        (11, 32, 4, 114.97),
    ],
)
def test_parameters_are_those_of_tables_1_and_2(
    blocks: int, features: int, upscale: int, thousands: float
) -> None:
    net = sr.sesr(blocks, features, upscale)
    f, m, s = features, blocks, upscale
    assert weights(net) == 25 * f + 9 * m * f**2 + 25 * f * s**2
    assert weights(net) // 10 / 100 == thousands  # the tables cut off, 18 128 is their 18.12 K


@pytest.mark.parametrize("upscale", [2, 3, 4])
def test_fsrcnn_has_the_papers_count(upscale: int) -> None:
    assert weights(sr.fsrcnn(upscale)) == 12_464


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("upscale", [2, 4])
def test_every_option_describes_a_network_that_runs(upscale: int, options: dict[str, Any]) -> None:
    net = sr.sesr(blocks=2, features=4, upscale=upscale, expand=5, **options)
    params, x = parameters(net, 1), images((2, 6, 7, 1), 2)
    y = sr.run(net, params, x)
    assert y.shape == (2, 6 * upscale, 7 * upscale, 1)
    kinds = [type(layer).__name__ for layer in net.layers]
    assert kinds.count("LinearBlock") == (4 if options["linear_blocks"] else 0)
    assert kinds.count("PReLU") == (2 if options["activation"] == "prelu" else 0)
    names = [layer.name for layer in net.layers]
    assert ("subpixels" in names) == options["input_residual"]
    assert ("shift" in names) == ("clip" in names) == (options["dialect"] == "arm")
    assert Network.from_json(net.to_json()) == net


@pytest.mark.parametrize("options", [o for o in OPTIONS if o["linear_blocks"]], ids=str)
def test_every_option_changes_what_is_computed(options: dict[str, Any]) -> None:
    """No option is forgotten on the way: each network differs from the one with it flipped."""
    flipped = {
        "activation": "relu" if options["activation"] == "prelu" else "prelu",
        "input_residual": not options["input_residual"],
        "short_residuals": not options["short_residuals"],
    }

    def subpixels(net: Network) -> Any:
        """What is shuffled, ahead of any clipping."""
        params = {k: params_of_all.get(k, np.full(4, 0.3)) for k in net.param_shapes()}
        return sr.forward(sr.collapsed(net), sr.collapse_params(net, params), x)["shuffle0"]

    net = sr.sesr(2, 4, 2, 5, **options)
    params_of_all, x = parameters(net, 3), images((1, 5, 7, 1), 4)
    for name, value in flipped.items():
        other = sr.sesr(2, 4, 2, 5, **{**options, name: value})
        assert np.abs(subpixels(other) - subpixels(net)).max() > 1e-3, name


def test_layers_are_in_the_order_of_the_papers_figure() -> None:
    steps = [(layer.name, inputs) for layer, inputs in sr.sesr(blocks=2, upscale=4).steps()]
    assert steps == [
        ("head", ("input",)),
        ("block0", ("head",)),
        ("act0", ("block0",)),
        ("block1", ("act0",)),
        ("act1", ("block1",)),
        ("features", ("act1", "head")),
        ("tail", ("features",)),
        ("subpixels", ("tail", "input")),
        ("shuffle0", ("subpixels",)),
        ("shuffle1", ("shuffle0",)),
    ]


def test_arms_dialect_shifts_the_head_alone_and_clips_at_the_end() -> None:
    net = sr.sesr(blocks=1, dialect="arm", block_bias="true")
    steps = {layer.name: inputs for layer, inputs in net.steps()}
    assert steps["head"] == ("shift",)
    assert steps["shift"] == ("input",)
    assert steps["subpixels"] == ("tail", "input")
    assert steps["clip"] == ("shuffle0",)


def test_only_3_x_3_blocks_have_short_residuals_but_for_arms_leaky_x4_tail() -> None:
    def with_residual(**options: Any) -> list[str]:
        layers = sr.sesr(blocks=2, **options).layers
        return [s.name for s in layers if isinstance(s, LinearBlock) and s.residual]

    for upscale in (2, 4):
        assert with_residual(upscale=upscale) == ["block0", "block1"]
        arm = {"upscale": upscale, "dialect": "arm"}
        assert with_residual(**arm, block_bias="true") == ["block0", "block1"]
        tail = ["tail"] if upscale == 4 else []
        assert with_residual(**arm, block_bias="leaky") == ["block0", "block1", *tail]
    assert with_residual(short_residuals=False) == []
    leaky = {"dialect": "arm", "block_bias": "leaky"}
    assert with_residual(features=4, **leaky) == ["block0", "block1", "tail"]
    assert with_residual(features=1, **leaky) == ["block0", "block1"]  # the head has none


def test_without_linear_blocks_short_residuals_stay() -> None:
    net = sr.sesr(blocks=2, linear_blocks=False)
    steps = {layer.name: inputs for layer, inputs in net.steps()}
    assert steps["skip0"] == ("block0", "head")
    assert steps["skip1"] == ("block1", "act0")
    assert steps["act1"] == ("skip1",)
    assert sr.collapsed(net) is net
    assert weights(net) == weights(sr.sesr(blocks=2))


def test_x4_shuffles_by_2_twice() -> None:
    for upscale, shuffles in ((2, 1), (4, 2), (8, 3)):
        layers = sr.sesr(upscale=upscale).layers
        assert [s.block for s in layers if isinstance(s, DepthToSpace)] == [2] * shuffles


def test_names_tell_size_and_enlargement() -> None:
    assert [sr.sesr(m).name for m in (3, 5)] == ["sesr-m3-x2", "sesr-m5-x2"]
    assert sr.sesr(11, 32, 4).name == "sesr-xl-x4"
    assert sr.sesr(5, 8).name == "sesr-m5-f8-x2"
    assert sr.fsrcnn(4).name == "fsrcnn-x4"


def test_fsrcnn_follows_its_papers_figure() -> None:
    net = sr.fsrcnn(3, activation="relu")
    convolutions = [(s.name, s.features, s.kernel_size) for s in net.layers if isinstance(s, Conv)]
    assert convolutions == [
        ("extract", 56, 5),
        ("shrink", 12, 1),
        ("map0", 12, 3),
        ("map1", 12, 3),
        ("map2", 12, 3),
        ("map3", 12, 3),
        ("expand", 56, 1),
    ]
    assert net.output == "deconv"
    assert sr.run(net, parameters(net, 0), images((1, 4, 5, 1), 1)).shape == (1, 12, 15, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blocks": 0}, "blocks must be an integer from 1 to 1000, got 0"),
        ({"blocks": 2.5}, "blocks"),
        ({"blocks": True}, "blocks"),
        ({"blocks": 10**6}, "blocks"),
        ({"upscale": 1}, "upscale must be a power of two from 2 on, got 1"),
        ({"upscale": 3}, "upscale"),
        ({"upscale": 2.0}, "upscale"),
        ({"upscale": -2}, "upscale"),
        ({"upscale": 2**20}, "tail: features must be"),
        ({"features": 0}, "block0: features must be 1 to"),
        ({"features": 16.0}, "block0: features"),
        ({"expand": 0}, "block0: expand"),
        ({"activation": "gelu"}, r"activation must be one of \['prelu', 'relu'\], got 'gelu'"),
        ({"activation": ["relu"]}, "activation must be one of"),
        ({"dialect": "keras"}, "dialect must be one of"),
        ({"dialect": None}, "dialect must be one of"),
        ({"dialect": "arm"}, "block_bias of dialect 'arm' is one of"),
        ({"block_bias": "leaky"}, "block_bias of dialect 'paper' is one of"),
        ({"block_bias": True}, "block_bias of dialect 'paper' is one of"),
        ({"dialect": "arm", "block_bias": "leaky", "linear_blocks": False}, "needs linear blocks"),
    ],
)
def test_unknown_options_of_sesr_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sr.sesr(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"upscale": 0}, "upscale must be an integer from 1 to 9, got 0"),
        ({"upscale": 10}, "upscale"),
        ({"upscale": 2.0}, "upscale"),
        ({"activation": "elu"}, "activation must be one of"),
        ({"shrink": 0}, "shrink: features must be"),
        ({"maps": -1}, "maps must be"),
        ({"maps": 1.5}, "maps must be"),
    ],
)
def test_unknown_options_of_fsrcnn_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sr.fsrcnn(**options)
