"""Fake quantisation: what is trained computes what the integers do, and its gradients pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import naive
import sesr_ref as sr
from sesr_ref import network as nw
from sesr_ref.integers import calibrate, forward_int, quantize
from sesr_ref.integers.fake import WeightRounding, bare, faked, with_grids, without_grids
from sesr_ref.ops.losses import loss_named
from sesr_ref.ops.pointwise import fake_quantize, fake_quantize_vjp

Rng = np.random.Generator


def case(fused: tuple[str, ...] = (), bits: Any = 8, **options: Any) -> tuple[Any, Any, Any, Any]:
    """A small network with slopes, its grids, and 8-bit images."""
    rng = np.random.default_rng(3)
    net = sr.sesr(2, 4, expand=8, **options)
    params = sr.initialise(net, 1)
    for name in params:
        if name.endswith("slope"):
            params[name] = rng.uniform(-0.2, 0.5, params[name].shape).astype(np.float32)
    images = [rng.random((1, 9 + i, 11, 1), np.float32) for i in range(3)]
    x = rng.integers(0, 256, (2, 7, 9, 1)) / np.float32(255)
    return net, params, calibrate(net, params, images, fused=fused, bits=bits), x.astype(np.float32)


def steps(net: nw.Network) -> list[nw.Layer]:
    """Its layers, each with the names of what it reads."""
    return [replace(layer, inputs=inputs) for layer, inputs in net.steps()]


def test_values_are_rounded_by_the_definition() -> None:
    layer = nw.FakeQuantize("grid", -3, 8)
    x = np.random.default_rng(1).normal(0, 9, (2, 5, 7, 3))
    log_scale = np.log([0.11])
    made = fake_quantize(x, log_scale, -3, layer.low, layer.high)
    np.testing.assert_allclose(made, naive.fake_quantize(x, log_scale, layer), rtol=1e-14)
    assert len(np.unique(made)) > 100
    assert (made.min(), made.max()) == pytest.approx((-125 * 0.11, 130 * 0.11))


def test_the_scales_gradient_is_that_of_the_clipped_values_and_of_the_rounding() -> None:
    x = np.array([-40.0, -0.26, 0.1, 0.26, 40.0]).reshape(1, 1, 5, 1)
    dy = np.array([2.0, 3.0, 5.0, 7.0, 11.0]).reshape(x.shape)
    dx, (dlog,) = fake_quantize_vjp(dy, x, np.log([0.25]), 0, -128, 127)
    assert dx.ravel().tolist() == [0, 3, 5, 7, 0]
    inside = 3 * (-0.25 + 0.26) + 5 * (0.0 - 0.1) + 7 * (0.25 - 0.26)
    assert dlog == pytest.approx(2 * -32.0 + 11 * 31.75 + inside)


@pytest.mark.parametrize("fused", [(), ("activations",), ("activations", "additions")])
@pytest.mark.parametrize("options", [{}, {"activation": "relu", "input_residual": False}])
def test_fake_quantised_tensors_are_the_integers_but_for_ties(
    fused: tuple[str, ...], options: dict[str, Any]
) -> None:
    net, params, q, x = case(fused, **options)
    small = sr.collapsed(net)
    exact = sr.collapse_params(net, {k: v.astype(np.float64) for k, v in params.items()})
    rounding, all_params = faked(small, exact, q)
    made = sr.forward(rounding, all_params, x.astype(np.float64))
    codes = q.tensors["input"].to_integers(x).astype(np.int8)
    ints = forward_int(net, quantize(net, params, q), q, codes)
    last = q.tensors[net.output].to_integers(made[rounding.output])
    off = np.abs(last - ints[net.output].astype(int))
    assert off.max() <= 2
    assert (off > 0).mean() < 0.1


def test_every_tensor_is_rounded_once_to_its_own_grid() -> None:
    net, _, q, _ = case(activation="relu")
    rounding, scales = with_grids(net, q)
    grids = [layer for layer in rounding.layers if isinstance(layer, nw.FakeQuantize)]
    # the ReLUs' inputs and depth-to-space's have the grid of what follows
    once = ("input", "head", "act0", "act1", "features", "tail", "shuffle0")
    assert tuple(layer.inputs[0] for layer in grids) == once
    assert set(scales) == {f"{name}.grid.log_scale" for name in once}
    readers = [layer for layer, inputs in rounding.steps() if set(inputs) & set(once)]
    assert readers == grids


@pytest.mark.parametrize("fused", [(), ("activations", "additions")])
def test_grids_come_back_from_the_trained_network(fused: tuple[str, ...]) -> None:
    net, params, q, _ = case(fused)
    rounding, scales = with_grids(net, q)
    back, iparams, found = without_grids(rounding, {**params, **scales}, WeightRounding(), q)
    assert steps(back) == steps(sr.collapsed(net))
    assert steps(bare(rounding, {**params, **scales})[0]) == steps(net)
    for name, grid in q.tensors.items():
        if grid.bits < 32:
            assert found.tensors[name] == grid
        np.testing.assert_allclose(found.tensors[name].scales, grid.scales, rtol=1e-6)
    for name, value in quantize(net, params, q).items():
        assert np.abs(iparams[name].astype(int) - value.astype(int)).max() <= 1


def test_training_through_the_rounding_gives_the_expanded_gradients(rng: Rng) -> None:
    net, params, q, x = case()
    target = rng.random((2, 14, 18, 1), np.float32)
    loss, dparams = sr.loss_and_grads(net, params, x, target, quantization=q)
    plain, dplain = sr.loss_and_grads(net, params, x, target)
    assert dparams.keys() == params.keys()
    assert loss != plain
    assert loss == pytest.approx(plain, rel=0.05)
    small = sr.collapsed(net), sr.collapse_params(net, params)
    rounding, rounded = faked(*small, q)
    tensors = sr.forward(rounding, rounded, x)
    dy = np.sign(tensors[rounding.output] - target) / np.float32(target.size)
    dsmall = sr.backward(rounding, rounded, tensors, dy)
    through = sr.collapse_params_vjp(net, params, {name: dsmall[name] for name in small[1]})
    for name, d in dparams.items():
        np.testing.assert_array_equal(d, through[name])
        assert (d != dplain[name]).any()


@pytest.mark.parametrize(
    ("fields", "message"),
    [((300,), "from -128 to 127"), ((0, 12), "8 or 16"), ((1.0,), "an integer")],
)
def test_a_grid_that_is_none_is_rejected(fields: tuple[Any, ...], message: str) -> None:
    with pytest.raises(nw.NetworkError, match=message):
        nw.FakeQuantize("grid", *fields)


@pytest.mark.parametrize("fused", [(), ("activations",)])
@pytest.mark.parametrize("bits", [8, {"features": 16, "head": 16}])
@pytest.mark.parametrize("options", [{}, {"activation": "relu", "input_residual": False}])
def test_kernels_train_the_same_rounded_network(
    fused: tuple[str, ...], bits: Any, options: dict[str, Any], rng: Rng
) -> None:
    pytest.importorskip("numba")
    net, params, q, _ = case(fused, bits, **options)
    rounding, scales = with_grids(net, q, on_codes=True)
    assert "input.grid" not in [layer.name for layer in rounding.layers]
    x = (rng.integers(0, 256, (3, 33, 29, 1)) / np.float32(255)).astype(np.float32)
    target = rng.random((3, 66, 58, 1), np.float32)
    given = rounding, {**params, **scales}, x, target
    small, values = sr.collapsed(rounding), sr.collapse_params(*given[:2])
    gradients = sr.fast().gradients
    assert gradients is not None
    assert gradients(small, values, x, target, loss_named("l1").terms) is not None
    loss, dparams = sr.loss_and_grads(*given, ops=sr.fast(), quantization=WeightRounding())
    expected, dexpected = sr.loss_and_grads(*given, quantization=WeightRounding())
    assert loss == pytest.approx(expected, rel=1e-3)  # a sum's last bit may decide an integer
    for name, d in dexpected.items():
        size = max(np.abs(d).max(), 1e-4 if name.endswith("log_scale") else 0.0)  # they cancel
        assert np.abs(dparams[name] - d).max() <= 0.02 * size, name
