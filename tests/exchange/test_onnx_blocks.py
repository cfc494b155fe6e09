"""Pairs of convolutions come back as the linear blocks they are, and only those."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import sesr_ref as sr
from sesr_ref import network as nw
from sesr_ref.exchange import find_linear_blocks


def params_of(net: sr.Network, rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
    return {k: rng.normal(0, 0.3, shape) for k, shape in net.param_shapes().items()}


@pytest.mark.parametrize("biased", ["none", "true"])
@pytest.mark.parametrize("short", [True, False])
def test_the_expanded_network_becomes_itself_again(
    biased: str, short: bool, rng: np.random.Generator
) -> None:
    net = sr.sesr(3, 4, 2, expand=7, block_bias=biased, short_residuals=short)
    params = params_of(net, rng)
    found, got = find_linear_blocks(sr.expanded(net), sr.expand_params(net, params))
    x = rng.random((1, 6, 5, 1))
    np.testing.assert_allclose(sr.run(found, got, x), sr.run(net, params, x), atol=1e-12)
    expected = [la for la in net.layers if isinstance(la, nw.LinearBlock)]
    blocks = [la for la in found.layers if isinstance(la, nw.LinearBlock)]
    assert [(b.features, b.kernel_size, b.expand, b.residual, b.bias) for b in blocks] == [
        (b.features, b.kernel_size, b.expand, b.residual, b.bias) for b in expected
    ]


def test_collapsing_what_was_found_gives_the_same_tensors(rng: np.random.Generator) -> None:
    net = sr.sesr(2, 4, 2, expand=7, block_bias="true")
    params = params_of(net, rng)
    full, full_params = sr.expanded(net), sr.expand_params(net, params)
    found, got = find_linear_blocks(full, full_params)
    x = rng.random((1, 6, 5, 1))
    wide = sr.forward(full, full_params, x)
    small = sr.forward(sr.collapsed(found), sr.collapse_params(found, got), x)
    for name, tensor in small.items():
        np.testing.assert_allclose(tensor, wide[name], atol=1e-12, err_msg=name)


def test_one_bias_of_two_makes_the_other_zero(rng: np.random.Generator) -> None:
    layers = (nw.Conv("a", 5, 3), nw.Conv("b", 3, 1, bias=True))
    net = nw.Network("pair", 1, 3, layers)
    found, got = find_linear_blocks(net, params_of(net, rng))
    assert found.layers == (nw.LinearBlock("b", 3, 3, 5, bias="true", inputs=("input",)),)
    assert not got["b.expand_bias"].any()
    assert got["b.project_bias"].any()


@pytest.mark.parametrize(
    "layers",
    [
        (nw.Conv("a", 5, 3), nw.ReLU("r"), nw.Conv("b", 3, 1)),  # an activation between
        (nw.Conv("a", 5, 3), nw.Conv("b", 3, 3)),  # the second is no 1 x 1
        (nw.Conv("a", 6, 3, groups=3), nw.Conv("b", 3, 1)),  # grouped
        (nw.Conv("a", 2, 3), nw.Conv("b", 3, 1)),  # collapsed it would cost more
        (  # somebody else reads the middle
            nw.Conv("a", 5, 3),
            nw.Conv("b", 3, 1),
            nw.Conv("c", 3, 3, inputs=("a",)),
            nw.Add("y", inputs=("b", "c")),
        ),
        (  # shared weights must stay what they are shared as
            nw.Conv("a", 5, 3),
            nw.Conv("b", 3, 1),
            nw.ReLU("r"),
            nw.Conv("a2", 5, 3, shares="a"),
            nw.Conv("b2", 3, 1, shares="b"),
        ),
    ],
)
def test_other_pairs_stay_convolutions(
    layers: tuple[nw.Layer, ...], rng: np.random.Generator
) -> None:
    net = nw.Network("plain", 1, 3, layers)
    params = params_of(net, rng)
    found, got = find_linear_blocks(net, params)
    assert [type(la) for la in found.layers] == [type(la) for la in layers]
    assert got.keys() == params.keys()


@pytest.mark.parametrize(
    "skip",
    [
        nw.Add("y", inputs=("b", "head", "input")),  # of three
        nw.Add("y", inputs=("b", "input")),  # from elsewhere
        nw.Add("y", inputs=("b", "b")),
    ],
)
def test_other_additions_are_no_short_residual(skip: nw.Add, rng: np.random.Generator) -> None:
    layers = (nw.Conv("head", 3, 3), nw.ReLU("r"), nw.Conv("a", 5, 3), nw.Conv("b", 3, 1), skip)
    net = nw.Network("plain", 1, 3, layers)
    params = params_of(net, rng)
    found, got = find_linear_blocks(net, params)
    assert isinstance(found.layers[-1], nw.Add)
    x = rng.random((1, 6, 5, 3))
    np.testing.assert_allclose(sr.run(found, got, x), sr.run(net, params, x), atol=1e-12)


def test_a_skip_that_is_read_before_the_addition_is_none(rng: np.random.Generator) -> None:
    layers = (
        nw.Conv("a", 5, 3),
        nw.Conv("b", 3, 1),
        nw.Add("s", inputs=("b", "input")),
        nw.Add("y", inputs=("s", "b")),
    )
    net = nw.Network("plain", 1, 3, layers)
    params = params_of(net, rng)
    found, got = find_linear_blocks(net, params)
    assert not any(isinstance(la, nw.LinearBlock) and la.residual for la in found.layers)
    x = rng.random((1, 6, 5, 3))
    np.testing.assert_allclose(sr.run(found, got, x), sr.run(net, params, x), atol=1e-12)


def test_a_network_without_pairs_comes_back_as_it_is(rng: np.random.Generator) -> None:
    net = nw.Network("plain", 1, 3, (nw.Conv("a", 3, 3),))
    params = params_of(net, rng)
    found, got = find_linear_blocks(net, params)
    assert [la.name for la in found.layers] == ["a"]
    np.testing.assert_array_equal(got["a.weight"], params["a.weight"])
