"""Collapsed equals expanded: networks, tensors by name, gradients; the paper's algorithms."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import naive
import sesr_ref as sr
from generate import images, networks, parameters, seeds
from sesr_ref.network import Conv, LinearBlock, Network, NetworkError
from sesr_ref.ops.losses import l1_loss, l1_loss_vjp

Array = npt.NDArray[Any]
SIZE = st.integers(1, 5)
KERNEL = st.sampled_from([1, 3, 5])


def one_block(block: LinearBlock, channels: int) -> Network:
    """The block, reached and left over 1 x 1 convolutions so that any channels fit."""
    around = Conv("first", channels, 1), Conv("last", 1, 1)
    return Network("one", 1, 1, (around[0], block, around[1]))


def both_ways(net: Network, params: dict[str, Array], x: Array) -> tuple[Any, Any]:
    expanded = sr.forward(sr.expanded(net), sr.expand_params(net, params), x)
    return sr.forward(sr.collapsed(net), sr.collapse_params(net, params), x), expanded


# --- tensors ---


@settings(max_examples=60)
@given(networks(), seeds(), st.integers(1, 3), st.integers(1, 6), st.integers(1, 6))
def test_collapsed_equals_expanded_tensor_by_tensor(
    net: Network, seed: int, n: int, height: int, width: int
) -> None:
    x = images((n, height, width, net.channels), seed)
    collapsed, expanded = both_ways(net, parameters(net, seed), x)
    assert list(collapsed) == ["input", *(layer.name for layer in net.layers)]
    for name, tensor in collapsed.items():
        np.testing.assert_allclose(tensor, expanded[name], rtol=0, atol=1e-10, err_msg=name)


@settings(max_examples=40)
@given(
    st.integers(1, 3),
    st.sampled_from([2, 4]),
    st.booleans(),
    st.booleans(),
    SIZE,
    SIZE,
    st.sampled_from(["none", "true"]),
    seeds(),
)
def test_collapsed_sesr_equals_expanded_tensor_by_tensor(
    blocks: int,
    upscale: int,
    relu: bool,
    short: bool,
    features: int,
    expand: int,
    bias: str,
    seed: int,
) -> None:
    activation = "relu" if relu else "prelu"
    net = sr.sesr(
        blocks, features, upscale, expand, activation, short_residuals=short, block_bias=bias
    )
    collapsed, expanded = both_ways(net, parameters(net, seed), images((2, 5, 6, 1), seed))
    for name, tensor in collapsed.items():
        np.testing.assert_allclose(tensor, expanded[name], rtol=0, atol=1e-10, err_msg=name)


def test_a_block_with_biases_collapses_exactly_at_the_border_too() -> None:
    """Zero padding comes before the k x k part, so its bias reaches every pixel alike."""
    block = LinearBlock("b", 4, 5, 7, bias="true", inputs=("input",))
    net = Network("n", 1, 4, (block,))
    params = parameters(net, 0)
    zeros = np.zeros((1, 3, 4, 4))
    collapsed, expanded = both_ways(net, params, zeros)
    np.testing.assert_allclose(collapsed["b"], expanded["b"], atol=1e-13)
    np.testing.assert_allclose(collapsed["b"], collapsed["b"][:, :1, :1] + np.zeros((1, 3, 4, 4)))
    assert np.abs(collapsed["b"]).min() > 0


# --- weights ---


@given(KERNEL, SIZE, SIZE, SIZE, seeds())
def test_weights_are_algorithm_1s(
    k: int, channels: int, expand: int, features: int, seed: int
) -> None:
    net = one_block(LinearBlock("b", features, k, expand), channels)
    params = parameters(net, seed)
    expected = naive.algorithm_1([params["b.expand"], params["b.project"]], k, channels)
    got = sr.collapse_params(net, params)["b.weight"]
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


@given(KERNEL, SIZE, SIZE, seeds())
def test_residuals_are_algorithm_2s(k: int, channels: int, expand: int, seed: int) -> None:
    net = one_block(LinearBlock("b", channels, k, expand, residual=True), channels)
    params = parameters(net, seed)
    collapsed = naive.algorithm_1([params["b.expand"], params["b.project"]], k, channels)
    got = sr.collapse_params(net, params)["b.weight"]
    np.testing.assert_allclose(got, collapsed + naive.algorithm_2(got.shape), rtol=0, atol=1e-12)


def test_a_leaky_bias_is_in_every_tap_and_a_true_one_in_none() -> None:
    block = LinearBlock("b", 4, 3, 5, residual=True, bias="true")
    true = one_block(block, 4)
    leaky = one_block(replace(block, bias="leaky"), 4)
    params = parameters(true, 1)
    true_params, leaky_params = (sr.collapse_params(net, params) for net in (true, leaky))
    assert "b.bias" not in leaky_params
    added = leaky_params["b.weight"] - true_params["b.weight"]
    expected = np.broadcast_to(true_params["b.bias"], added.shape)
    np.testing.assert_allclose(added, expected, atol=1e-14)


def test_parameters_are_collapsed_in_their_own_dtype_and_not_changed() -> None:
    net = sr.sesr(blocks=2, features=3, expand=5, block_bias="true")
    for dtype in (np.float32, np.float64):
        params = parameters(net, 0, dtype)
        before = {name: value.copy() for name, value in params.items()}
        for value in params.values():
            value.flags.writeable = False
        small = sr.collapse_params(net, params)
        assert {value.dtype for value in small.values()} == {np.dtype(dtype)}
        assert list(small) == list(sr.collapsed(net).param_shapes())
        sr.collapse_params_vjp(net, params, small)
        for name, value in params.items():
            np.testing.assert_array_equal(value, before[name])


# --- rewrites ---


@settings(max_examples=40)
@given(networks(), seeds())
def test_collapsing_twice_and_expanding_twice_change_nothing(net: Network, seed: int) -> None:
    params = parameters(net, seed)
    for rewrite, rewritten in (
        (sr.collapsed, sr.collapse_params(net, params)),
        (sr.expanded, sr.expand_params(net, params)),
    ):
        once = rewrite(net)
        assert not any(isinstance(layer, LinearBlock) for layer in once.layers)
        assert sr.collapsed(once) is once
        assert sr.expanded(once) is once
        assert once.param_shapes() == {k: v.shape for k, v in rewritten.items()}
        for function in (sr.collapse_params, sr.expand_params):
            again = function(once, rewritten)
            assert list(again) == list(rewritten)
            assert all(again[k] is rewritten[k] for k in again)


def test_a_network_without_linear_blocks_is_returned_unchanged() -> None:
    for net in (sr.fsrcnn(), sr.sesr(linear_blocks=False)):
        assert sr.collapsed(net) is net
        assert sr.expanded(net) is net


def test_expanded_blocks_read_as_in_the_papers_figure() -> None:
    net = sr.expanded(sr.sesr(blocks=1, features=4, expand=9))
    steps = {layer.name: (type(layer).__name__, inputs) for layer, inputs in net.steps()}
    assert steps["block0.expand"] == ("Conv", ("head",))
    assert steps["block0.project"] == ("Conv", ("block0.expand",))
    assert steps["block0"] == ("Add", ("block0.project", "head"))
    assert steps["head"] == ("Add", ("head.project",))
    assert steps["act0"] == ("PReLU", ("block0",))
    assert net.shapes(5, 7)["block0.expand"] == (5, 7, 9)


def test_blocks_that_share_parameters_share_them_in_both_forms() -> None:
    first = LinearBlock("a", 3, 3, 5, residual=True, bias="true")
    net = one_block(first, 3)
    layers = (*net.layers[:2], replace(first, name="b", shares="a", inputs=("a",)), *net.layers[2:])
    net = replace(net, layers=layers)
    params, x = parameters(net, 2), images((2, 5, 4, 1), 3)
    assert "b.expand" not in params
    collapsed, expanded = both_ways(net, params, x)
    np.testing.assert_allclose(collapsed["last"], expanded["last"], atol=1e-12)
    assert np.abs(collapsed["b"] - collapsed["a"]).max() > 1e-3
    _, grads = sr.loss_and_grads(net, params, x, x[:, ::-1])
    check_gradients(net, params, x, x[:, ::-1], grads)


def test_leaky_blocks_have_no_expanded_form() -> None:
    net = sr.sesr(blocks=1, features=2, dialect="arm", block_bias="leaky")
    with pytest.raises(NetworkError, match=r"^head: .* 'leaky' has no expanded form"):
        sr.expanded(net)
    with pytest.raises(NetworkError, match=r"^head: .* 'leaky' has no expanded form"):
        sr.expand_params(net, parameters(net, 0))


def test_a_block_whose_parts_names_are_taken_cannot_be_expanded() -> None:
    net = Network("n", 1, 1, (Conv("b.expand", 1, 3), LinearBlock("b", 1, 3, 4)))
    with pytest.raises(NetworkError, match=r"two layers are called 'b\.expand'"):
        sr.expanded(net)


# --- gradients ---


def check_gradients(
    net: Network, params: dict[str, Array], x: Array, target: Array, grads: dict[str, Array]
) -> None:
    """Gradients through the collapse are those of the expanded network."""
    big, big_params = sr.expanded(net), sr.expand_params(net, params)
    tensors = sr.forward(big, big_params, x)
    dy = l1_loss_vjp(1.0, tensors[big.output], target)
    expected = sr.backward(big, big_params, tensors, dy)
    renamed = sr.expand_params(net, grads)
    assert list(grads) == list(params)
    assert set(renamed) == set(expected)
    for name, grad in renamed.items():
        np.testing.assert_allclose(grad, expected[name], rtol=0, atol=1e-9, err_msg=name)


@settings(max_examples=60)
@given(networks(), seeds())
def test_gradients_through_the_collapse_are_the_expanded_networks(net: Network, seed: int) -> None:
    params, x = parameters(net, seed), images((2, 4, 5, net.channels), seed)
    target = images((2, 4 * net.upscale, 5 * net.upscale, net.channels), seed + 1)
    loss, grads = sr.loss_and_grads(net, params, x, target)
    assert loss == pytest.approx(l1_loss(sr.run(net, params, x), target), rel=1e-12)
    check_gradients(net, params, x, target, grads)


@given(KERNEL, SIZE, SIZE, st.sampled_from(["none", "true", "leaky"]), st.booleans(), seeds())
def test_collapse_params_vjp_is_the_adjoint(
    k: int, channels: int, expand: int, bias: str, residual: bool, seed: int
) -> None:
    block = LinearBlock("b", channels, k, expand, residual, bias)
    net = one_block(block, channels)
    rng = np.random.default_rng(seed)
    params = parameters(net, seed)
    small = sr.collapse_params(net, params)
    dsmall: dict[str, Array] = {}
    for name, value in small.items():
        dsmall[name] = rng.standard_normal(value.shape)
    grads = sr.collapse_params_vjp(net, params, dsmall)
    assert list(grads) == list(params)
    v, step = {name: rng.standard_normal(value.shape) for name, value in params.items()}, 1e-5
    ahead, behind = (
        sr.collapse_params(net, {name: params[name] + s * v[name] for name in params})
        for s in (step, -step)
    )
    forward = sum(np.vdot(dsmall[n], (ahead[n] - behind[n]) / (2 * step)) for n in small)
    got = sum(np.vdot(grads[n], v[n]) for n in params)
    assert got == pytest.approx(forward, rel=1e-7, abs=1e-7)


# --- what is rejected ---


def test_parameters_that_do_not_fit_are_rejected_by_name() -> None:
    net = sr.sesr(blocks=1, features=2, expand=3)
    params = parameters(net, 0)
    small = sr.collapse_params(net, params)
    wrong = params | {"head.expand": params["head.expand"][:3]}
    for function in (sr.collapse_params, sr.expand_params):
        with pytest.raises(ValueError, match=r"head\.expand must have shape \(5, 5, 1, 3\)"):
            function(net, wrong)
        with pytest.raises(ValueError, match=r"parameter 'act0\.slope' is missing"):
            function(net, {})
        with pytest.raises(ValueError, match="is missing"):
            function(net, small)
    with pytest.raises(ValueError, match=r"head\.expand must have shape"):
        sr.collapse_params_vjp(net, wrong, small)
    with pytest.raises(ValueError, match=r"head\.weight must have shape"):
        sr.collapse_params_vjp(net, params, small | {"head.weight": np.ones(3)})
