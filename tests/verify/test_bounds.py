"""Error bounds: theorems hold for every order of summation, statistics for every usual one."""

from __future__ import annotations

import itertools
import re
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import sesr_ref as sr
from networks_for_verification import every_kind, random_params
from sesr_ref import network as nw
from sesr_ref.checks import layer_params
from sesr_ref.verify.bounds.arithmetic import FORMATS, Arithmetic, gamma, rounded, spacing
from sesr_ref.verify.bounds.model import prepare
from sesr_ref.verify.bounds.walk import walk
from sesr_ref.verify.bounds.winograd import TILES, amplified, transforms

Array = npt.NDArray[Any]
Rng = np.random.Generator


def test_the_network_of_every_kind_has_every_kind() -> None:
    # the smallest error may become a step of a grid: there is no bound, and the rule says so
    assert {type(layer) for layer in every_kind().layers} == {*nw.PRIMITIVES} - {nw.FakeQuantize}


def test_a_layer_that_rounds_to_a_grid_has_no_bound(rng: Rng) -> None:
    net = nw.Network("n", 1, 1, (nw.FakeQuantize("grid", 0),))
    params = {"grid.log_scale": np.array([-3.0], np.float32)}
    with pytest.raises(ValueError, match="grid: a FakeQuantize has no error bound"):
        sr.error_bounds(net, params, rng.random((1, 5, 7, 1)))


@pytest.mark.parametrize("name", ["float16", "float32"])
def test_rounding_to_a_format_is_what_numpy_does(name: str, rng: Rng) -> None:
    x = rng.normal(size=999) * 10.0 ** rng.integers(-9, 5, 999)
    expected = x.astype(name).astype(np.float64)
    np.testing.assert_array_equal(rounded(x, FORMATS[name]), expected)


def test_rounding_to_bfloat16_keeps_8_bits_and_ties_go_to_even() -> None:
    x = np.array([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -3.14159, 0.0, 1e-39, 1e39])
    expected = [1, 1 + 2**-6, 1 + 2**-7, -3.140625, 0.0]
    got = rounded(x, FORMATS["bfloat16"])
    np.testing.assert_array_equal(got[:5], expected)
    assert abs(got[5] - 1e-39) <= 2.0**-134
    assert got[6] == np.inf


def test_spacing_is_the_distance_to_the_next_number() -> None:
    x = np.array([1.0, 1.5, 0.1, 3e-6, 1e-44], np.float32)
    np.testing.assert_array_equal(spacing(x, FORMATS["float32"]), np.spacing(x))


def test_gamma_is_higham_s_and_infinite_when_it_says_nothing() -> None:
    assert gamma(100, 2**-24) == pytest.approx(100 * 2**-24 / (1 - 100 * 2**-24))
    assert gamma(2**11, 2**-11) == np.inf


def exact_sum(weights: Array, values: Array) -> Fraction:
    terms = zip(weights.ravel(), values.ravel(), strict=True)
    return sum((Fraction(float(w)) * Fraction(float(v)) for w, v in terms), Fraction())


def test_the_guaranteed_bound_holds_for_every_order_of_a_sum_exactly(rng: Rng) -> None:
    """All 120 orders of five float16 terms, against rational arithmetic."""
    net = sr.Network("dot", 1, 5, (nw.Conv("y", 5, 1),))
    for _ in range(20):
        weight = rng.normal(size=(1, 1, 5, 5)).astype(np.float16)
        x = (rng.normal(size=(1, 1, 1, 5)) * 10.0 ** rng.integers(-2, 3, 5)).astype(np.float16)
        bounds = sr.error_bounds(
            net, {"y.weight": weight.astype(np.float32)}, x.astype(np.float32), "float16", "float16"
        )
        for o in range(5):
            exact = exact_sum(weight[0, 0, :, o], x)
            for order in itertools.permutations(range(5)):
                y = np.float16(0)
                for i in order:
                    y = np.float16(y + np.float16(weight[0, 0, i, o] * x[0, 0, 0, i]))
                assert abs(Fraction(float(y)) - exact) <= Fraction(float(bounds["y"][0, 0, 0, o]))


def sequential(net: sr.Network, params: dict[str, Array], x: Array) -> dict[str, Array]:
    """Worst usual order: float32 sums of the largest terms first, term by term."""
    tensors: dict[str, Array] = {"input": x}
    for layer, inputs in net.steps():
        own = {k: params[f"{layer.name}.{k}"] for k in layer.param_shapes(1)}
        values = [tensors[name] for name in inputs]
        if isinstance(layer, nw.Conv):
            tensors[layer.name] = _sequential_conv(values[0], own["weight"])
        else:
            rule = sr.execute.RULES[type(layer)]
            tensors[layer.name] = rule.forward(layer, sr.REFERENCE, values, own)
    return tensors


def _sequential_conv(x: Array, weight: Array) -> Array:
    k = len(weight)
    padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), (1, 2))
    terms = windows.transpose(0, 1, 2, 4, 5, 3).reshape(*x.shape[:3], -1)
    products = terms[..., None] * weight.reshape(-1, weight.shape[3])
    ordered = np.sort(products, axis=3)[..., ::-1, :]
    sums: Array = np.cumsum(ordered, axis=3, dtype=np.float32)[..., -1, :]
    return sums


def test_bounds_hold_for_sums_in_the_worst_order(rng: Rng) -> None:
    net = sr.sesr(2, 8, linear_blocks=False)
    params = random_params(net, rng)
    x = rng.random((2, 7, 9, 1), np.float32)
    tensors = sequential(net, params, x)
    exact = sr.forward(net, {k: v.astype(np.float64) for k, v in params.items()}, x.astype(float))
    for kind in ("statistical", "carried"):
        bounds = sr.error_bounds(net, params, x, kind=kind)
        for name, bound in bounds.items():
            assert bound.shape == tensors[name].shape
            assert (np.abs(tensors[name] - exact[name]) <= bound).all(), (kind, name)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_every_kind_of_layer_keeps_its_local_bound(dtype: str, rng: Rng) -> None:
    net = every_kind()
    params = random_params(net, rng)
    x = rng.random((1, 6, 7, 2), np.float32)
    fmt = FORMATS[dtype]
    stored = {k: rounded(v, fmt).astype(np.float32) for k, v in params.items()}
    model = prepare(net, params, Arithmetic(dtype))
    made = {"input": rounded(x, fmt).astype(np.float32)}
    for layer, inputs in net.steps():
        rule = sr.execute.RULES[type(layer)]
        own = layer_params(layer, stored)
        y = rule.forward(layer, sr.REFERENCE, [made[name] for name in inputs], own)
        made[layer.name] = rounded(y, fmt).astype(np.float32)
    for name, tensor in walk(model, x, made, (1, 2)):
        error = np.abs(made[name] - tensor.exact)
        assert (error <= tensor.bound(1)).all(), name
        assert (error <= np.maximum(tensor.bound(2), 0)).all(), name


def test_carried_bounds_explode_and_statistical_ones_stay_near_the_error(rng: Rng) -> None:
    net = sr.sesr(5, linear_blocks=False)
    params, x = random_params(net, rng), rng.random((1, 9, 11, 1), np.float32)
    params = {k: v * np.float32(0.3) for k, v in params.items()}
    exact = sr.forward(net, {k: v.astype(np.float64) for k, v in params.items()}, x.astype(float))
    error = np.abs(sr.run(net, params, x) - exact[net.output]).max()
    carried, statistical = (
        sr.error_bounds(net, params, x, kind=kind)[net.output].max()
        for kind in ("carried", "statistical")
    )
    assert error < statistical < 200 * error
    assert carried > 100 * statistical


def test_bounds_take_in_a_collapse_in_float32(rng: Rng) -> None:
    net = sr.sesr(2, 8, expand=40, dialect="arm", block_bias="true")
    params, x = random_params(net, rng), rng.random((1, 7, 9, 1), np.float32)
    small, rounded_params = sr.collapsed(net), sr.collapse_params(net, params)
    exact = sr.collapse_params(net, {k: v.astype(np.float64) for k, v in params.items()})
    model = prepare(net, params, Arithmetic())
    for name, error in model.uncertain[1].items():
        assert (np.abs(rounded_params[name] - exact[name]) <= error).all(), name
    bounds = sr.error_bounds(net, params, x, kind="statistical")
    got, right = sr.forward(small, rounded_params, x), sr.forward(small, exact, x.astype(float))
    for name, bound in bounds.items():
        assert (np.abs(got[name] - right[name]) <= bound).all(), name


@pytest.mark.parametrize("size", TILES)
def test_winograd_transforms_convolve(size: int, rng: Rng) -> None:
    after, weights, before = transforms(size)
    signal, taps = rng.normal(size=size + 2), rng.normal(size=3)
    got = after @ ((weights @ taps) * (before @ signal))
    np.testing.assert_allclose(got, np.correlate(signal, taps, "valid"), atol=1e-12)


def winograd_tile(x: Array, weight: Array, size: int) -> Array:
    """One tile (size + 2)**2 of a 3 x 3 convolution in float32."""
    after, weights, before = (m.astype(np.float32) for m in transforms(size))
    kernel = np.einsum("ai,bj,ijco->abco", weights, weights, weight)
    data = np.einsum("ai,bj,ijc->abc", before, before, x)
    y: Array = np.einsum("ya,xb,abc,abco->yxo", after, after, data, kernel)
    return y


@pytest.mark.parametrize("size", TILES[1:])
def test_winograd_has_its_own_bounds_which_hold(size: int, rng: Rng) -> None:
    weight = rng.normal(size=(3, 3, 6, 6)).astype(np.float32)
    x = rng.random((size + 2, size + 2, 6), np.float32)
    net = sr.Network("w", 1, 6, (nw.Conv("y", 6, 3),))
    got = winograd_tile(x, weight, size)
    exact = sr.forward(net, {"y.weight": weight.astype(float)}, x[None].astype(float))["y"]
    error = np.abs(got - exact[0, 1:-1, 1:-1])
    for kind in ("guaranteed", "statistical"):
        bound = sr.error_bounds(
            net, {"y.weight": weight}, x[None], kind=kind, winograd=(size, size)
        )
        assert (error <= bound["y"][0, 1:-1, 1:-1]).all()


def test_the_winograd_constant_of_a_plain_convolution_is_that_of_a_plain_sum(rng: Rng) -> None:
    weight = rng.normal(size=(3, 3, 2, 4))
    np.testing.assert_allclose(amplified(weight, (1, 1), 1), np.abs(weight).sum((0, 1)))


def test_bounds_reject_unknown_options(rng: Rng) -> None:
    net = sr.sesr(1, 4, linear_blocks=False)
    params, x = random_params(net, rng), rng.random((1, 5, 5, 1), np.float32)
    with pytest.raises(ValueError, match=r"kind must be one of .*'likely'"):
        sr.error_bounds(net, params, x, kind="likely")
    with pytest.raises(ValueError, match=r"dtype must be one of .*'int8'"):
        sr.error_bounds(net, params, x, dtype="int8")
    with pytest.raises(ValueError, match="at least as precise as float32 tensors, got 'float16'"):
        sr.error_bounds(net, params, x, accumulate="float16")
    bad: list[Any] = [(3, 3), (-1, 4), 4, (4,), (4, 4, 4), (4.0, 4), "4x4", ("4", "4"), (0, 2)]
    for winograd in bad:
        with pytest.raises(
            ValueError, match=r"winograd must be a tile's .*, got " + re.escape(repr(winograd))
        ):
            sr.error_bounds(net, params, x, winograd=winograd)
    params["head.weight"][0, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"NaN or infinite values in head\.weight"):
        sr.error_bounds(net, params, x)
