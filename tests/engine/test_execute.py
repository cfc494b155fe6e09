"""Running networks of primitives, forward and backward, tensor by named tensor."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings

import naive
import sesr_ref as sr
from generate import images, networks, parameters, seeds
from sesr_ref import network as nw
from sesr_ref.checks import layer_params
from sesr_ref.collapse import expand_params, expanded
from sesr_ref.execute import output
from sesr_ref.network import Add, Conv, Network, PReLU

Array = npt.NDArray[Any]


def primitive(net: Network, seed: int) -> tuple[Network, dict[str, Array]]:
    """The network without linear blocks, and random parameters for it."""
    return expanded(net), expand_params(net, parameters(net, seed))


def residual() -> Network:
    """A small network with a long residual, unread tensors and shared parameters."""
    layers = (
        Conv("head", 4, 3, bias=True),
        PReLU("act"),
        Conv("middle", 4, 3, groups=2),
        PReLU("act2", shares="act"),
        Conv("again", 4, 3, groups=2, shares="middle"),
        nw.Scale("unread", 1e30, inputs=("again",)),
        nw.Scale("overflow", 1e30),
        Conv("unread_too", 2, 1, bias=True),
        Add("sum", inputs=("again", "head", "again", "input")),
        Conv("tail", 4, 5),
        nw.DepthToSpace("shuffle", 2),
    )
    return Network("residual", 2, 1, layers)


# --- forward ---


@settings(max_examples=60)
@given(networks(), seeds())
def test_every_tensor_of_any_network_is_its_definition(net: Network, seed: int) -> None:
    net, params = primitive(net, seed)
    x = images((2, 3, 4, net.channels), seed)
    tensors = sr.forward(net, params, x)
    assert list(tensors) == ["input", *(layer.name for layer in net.layers)]
    for name, expected in naive.forward(net, params, x).items():
        np.testing.assert_allclose(tensors[name], expected, rtol=1e-10, atol=1e-10, err_msg=name)


@settings(max_examples=40)
@given(networks(), seeds())
def test_output_is_forwards_last_tensor_and_dtypes_are_kept(net: Network, seed: int) -> None:
    net, params = primitive(net, seed)
    for dtype in (np.float32, np.float64):
        x = images((1, 5, 3, net.channels), seed, dtype)
        tensors = sr.forward(net, params, x)
        assert {t.dtype for t in tensors.values()} == {np.dtype(dtype)}
        np.testing.assert_array_equal(output(net, params, x), tensors[net.output])


@settings(max_examples=40)
@given(networks(), seeds())
def test_tensors_have_the_shapes_of_the_description(net: Network, seed: int) -> None:
    net, params = primitive(net, seed)
    tensors = sr.forward(net, params, images((2, 4, 3, net.channels), seed))
    assert {name: t.shape[1:] for name, t in tensors.items()} == net.shapes(4, 3)


def test_output_drops_each_tensor_after_its_last_reader() -> None:
    """Of a chain of convolutions two tensors are alive at a time, not all of them."""
    alive: list[int] = []
    references: list[Any] = []

    def watched(*args: Any, **kwargs: Any) -> Array:
        import weakref

        y = sr.REFERENCE.conv2d(*args, **kwargs)
        references.append(weakref.ref(y))
        alive.append(sum(r() is not None for r in references))
        return y

    net = Network("chain", 1, 1, tuple(Conv(f"conv{i}", 1, 3) for i in range(9)))
    x = images((1, 5, 7, 1), 0)
    output(net, parameters(net, 0), x, replace(sr.REFERENCE, conv2d=watched))
    assert max(alive) == 2


def test_an_empty_batch_is_run_and_stays_empty() -> None:
    net = sr.collapsed(sr.sesr(blocks=1, features=3))
    params = parameters(net, 0)
    assert output(net, params, np.zeros((0, 5, 7, 1))).shape == (0, 10, 14, 1)
    tensors = sr.forward(net, params, np.zeros((0, 5, 7, 1)))
    grads = sr.backward(net, params, tensors, np.zeros((0, 10, 14, 1)))
    assert not any(g.any() for g in grads.values())


# --- backward ---


@settings(max_examples=60)
@given(networks(), seeds())
def test_backward_is_the_derivative_of_any_network(net: Network, seed: int) -> None:
    net, params = primitive(net, seed)
    rng = np.random.default_rng(seed)
    x = images((2, 3, 4, net.channels), seed)
    tensors = sr.forward(net, params, x)
    dy = rng.standard_normal(tensors[net.output].shape)
    grads = sr.backward(net, params, tensors, dy)
    assert {k: g.shape for k, g in grads.items()} == {k: p.shape for k, p in params.items()}
    direction = {
        k: rng.standard_normal(p.shape) * (not k.endswith((".mean", ".var")))  # stored, not learnt
        for k, p in params.items()
    }
    got = sum(np.vdot(grads[k], direction[k]) for k in params)
    step = 1e-7
    ahead, behind = (
        np.vdot(dy, output(net, {k: p + s * direction[k] for k, p in params.items()}, x))
        for s in (step, -step)
    )
    size = 1 + sum(np.abs(t).max() for t in tensors.values()) ** 2
    assert got == pytest.approx((ahead - behind) / (2 * step), rel=1e-4, abs=1e-5 * size)


@settings(max_examples=30)
@given(networks(), seeds())
def test_gradients_are_in_the_order_and_dtype_of_the_parameters(net: Network, seed: int) -> None:
    net, params = primitive(net, seed)
    params = {k: params[k].astype(np.float32) for k in sorted(params, reverse=True)}
    tensors = sr.forward(net, params, images((1, 3, 4, net.channels), seed, np.float32))
    grads = sr.backward(net, params, tensors, np.ones_like(tensors[net.output]))
    assert list(grads) == list(params)
    assert {g.dtype for g in grads.values()} == {np.dtype(np.float32)}


def test_a_shared_parameter_gets_the_sum_of_its_uses() -> None:
    shared = Network("n", 1, 1, (Conv("a", 1, 3), PReLU("p"), Conv("b", 1, 3, shares="a")))
    own = Network("n", 1, 1, (Conv("a", 1, 3), PReLU("p"), Conv("b", 1, 3)))
    params, x = parameters(shared, 5), images((2, 5, 4, 1), 6)
    separate = params | {"b.weight": params["a.weight"]}
    tensors = sr.forward(shared, params, x)
    dy = images(tensors["b"].shape, 7)
    grads = sr.backward(shared, params, tensors, dy)
    expected = sr.backward(own, separate, sr.forward(own, separate, x), dy)
    np.testing.assert_allclose(grads["a.weight"], expected["a.weight"] + expected["b.weight"])
    np.testing.assert_allclose(grads["p.slope"], expected["p.slope"])


def test_unread_tensors_have_zero_gradients_even_where_they_overflow() -> None:
    net = residual()
    params, x = parameters(net, 3), images((2, 5, 3, 1), 4, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        tensors = sr.forward(net, params, x)
    assert not np.isfinite(tensors["overflow"]).all()
    grads = sr.backward(net, params, tensors, np.ones_like(tensors["shuffle"]))
    assert not grads["unread_too.weight"].any()
    assert not grads["unread_too.bias"].any()
    assert all(np.isfinite(g).all() for g in grads.values())
    assert grads["middle.weight"].any()


def test_a_tensor_read_twice_by_one_layer_counts_twice() -> None:
    net = Network("n", 1, 1, (Conv("a", 1, 3), Add("twice", inputs=("a", "a"))))
    params, x = parameters(net, 1), images((1, 4, 3, 1), 2)
    tensors = sr.forward(net, params, x)
    np.testing.assert_array_equal(tensors["twice"], 2 * tensors["a"])
    dy = np.ones_like(x)
    once = Network("n", 1, 1, (Conv("a", 1, 3),))
    expected = sr.backward(once, params, sr.forward(once, params, x), 2 * dy)
    got = sr.backward(net, params, tensors, dy)
    np.testing.assert_allclose(got["a.weight"], expected["a.weight"])


def test_arguments_are_not_changed() -> None:
    net = residual()
    params, x = parameters(net, 3), images((2, 5, 3, 1), 4)
    for a in (x, *params.values()):
        a.flags.writeable = False
    tensors = sr.forward(net, params, x)
    before = {k: t.copy() for k, t in tensors.items()}
    dy = images(tensors["shuffle"].shape, 5)
    dy.flags.writeable = False
    sr.backward(net, params, tensors, dy)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, before[name])


# --- the layers' own parameters ---


def test_a_layer_gets_only_its_own_parameters_in_order() -> None:
    names = ["a.b.weight", "a.bias", "a.weight", "ab.weight", "a.b.bias"]
    params: dict[str, Array] = {name: np.zeros(3) for name in names}
    layer, sharing = Conv("a", 1, 3, bias=True), Conv("z", 1, 3, bias=True, shares="a.b")
    assert list(layer_params(layer, params)) == ["weight", "bias"]
    assert layer_params(layer, params)["bias"] is params["a.bias"]
    assert layer_params(sharing, params)["bias"] is params["a.b.bias"]
    assert list(layer_params(Conv("a", 1, 3), params)) == ["weight"]


def test_names_with_dots_do_not_mix_up_parameters() -> None:
    net = Network("n", 1, 1, (Conv("a.b", 1, 3), Conv("a", 1, 3, bias=True), PReLU("a.weight")))
    params, x = parameters(net, 0), images((1, 4, 5, 1), 1)
    for name, expected in naive.forward(net, params, x).items():
        np.testing.assert_allclose(sr.forward(net, params, x)[name], expected, atol=1e-12)


# --- what is rejected ---


def wrong_params() -> list[tuple[dict[str, Any], str]]:
    params = parameters(residual(), 0)
    without = {k: v for k, v in params.items() if k != "middle.weight"}
    return [
        ({}, "parameter 'act.slope' is missing"),
        (without, "parameter 'middle.weight' is missing"),
        (params | {"extra": np.ones(1)}, "parameter 'extra' is not expected"),
        (params | {"again.weight": params["middle.weight"]}, "'again.weight' is not expected"),
        (params | {"act.slope": np.ones(3)}, r"act.slope must have shape \(4,\), got \(3,\)"),
        (params | {"act.slope": np.ones(4, int)}, "must be a float32 or float64 array, got int64"),
        (params | {"act.slope": np.ones(4, object)}, "array, got object"),
        (params | {"act.slope": [1.0] * 4}, "array, got list"),
    ]


@pytest.mark.parametrize(("params", "message"), wrong_params())
def test_parameters_that_do_not_fit_are_rejected_by_name(
    params: dict[str, Any], message: str
) -> None:
    x = np.ones((1, 3, 4, 1))
    for function in (sr.forward, output, sr.run):
        with pytest.raises(ValueError, match=message):
            function(residual(), params, x)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones((1, 3, 4, 2)), r"must be \(n, height, width, 1\), got \(1, 3, 4, 2\)"),
        (np.ones((3, 4, 1)), r"the shape of images must be .*, got \(3, 4, 1\)"),
        (np.ones((1, 3, 4, 1), np.uint8), "float32 or float64 array, got uint8"),
        (np.full((1, 3, 4, 1), np.nan), "NaN or infinite values in the images"),
        (np.full((1, 3, 4, 1), -np.inf), "NaN or infinite values in the images"),
        ([[1.0]], "array, got list"),
    ],
)
def test_images_that_do_not_fit_are_rejected(x: Any, message: str) -> None:
    for function in (sr.forward, output, sr.run):
        with pytest.raises(ValueError, match=message):
            function(residual(), parameters(residual(), 0), x)


def test_linear_blocks_are_rejected_by_name() -> None:
    net = sr.sesr(blocks=1, features=2)
    x = np.ones((1, 3, 4, 1))
    for function in (sr.forward, output):
        with pytest.raises(ValueError, match=r"layer 'head' is a LinearBlock.*collapsed\(\)"):
            function(net, parameters(net, 0), x)


def test_backward_rejects_tensors_of_another_network() -> None:
    net = Network("n", 1, 1, (Conv("a", 1, 3), Conv("b", 1, 3)))
    params, x = parameters(net, 0), images((1, 4, 5, 1), 1)
    tensors = sr.forward(net, params, x)
    for name in tensors:
        with pytest.raises(ValueError, match=f"tensor '{name}' of the forward pass is missing"):
            sr.backward(net, params, {k: t for k, t in tensors.items() if k != name}, x)
    for dy in (x.astype(np.float32), x[:, :3], np.ones((1, 4, 5, 2))):
        with pytest.raises(ValueError, match=r"dy must be float64 of shape \(1, 4, 5, 1\)"):
            sr.backward(net, params, tensors, dy)
    params = parameters(residual(), 0, np.float32)  # whose last layer would take any dtype
    with np.errstate(over="ignore", invalid="ignore"):
        tensors = sr.forward(residual(), params, x.astype(np.float32))
    with pytest.raises(ValueError, match=r"dy must be float32 of shape \(1, 8, 10, 1\)"):
        sr.backward(residual(), params, tensors, np.ones((1, 8, 10, 1)))
