"""No pixels, one pixel, and values that are no ordinary numbers: the kernels as the reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import sesr_ref as sr
from checks import need_kernels
from networks_for_kernels import RUNNABLE, images, random_params
from sesr_ref.network import Conv, Network, PReLU
from sesr_ref.ops.arrays import Array
from sesr_ref.ops.table import Ops

need_kernels()

Draw = Callable[..., Array]
Call = Callable[[Ops, Array, Draw], Any]
# name: (the channels of the array that gets special values, a call with that array and others)
CALLS: dict[str, tuple[int, Call]] = {
    "conv2d": (4, lambda ops, x, a: ops.conv2d(x, a(3, 3, 4, 5), a(5))),
    "conv2d wide": (4, lambda ops, x, a: ops.conv2d(x, a(9, 9, 4, 2))),
    "conv2d grouped": (4, lambda ops, x, a: ops.conv2d(x, a(3, 3, 2, 6), a(6), 2)),
    "conv2d_vjp of x": (
        4,
        lambda ops, x, a: ops.conv2d_vjp(a(*x.shape[:3], 5), x, a(3, 3, 4, 5), a(5)),
    ),
    "conv2d_vjp of dy": (
        5,
        lambda ops, dy, a: ops.conv2d_vjp(dy, a(*dy.shape[:3], 4), a(3, 3, 4, 5), a(5)),
    ),
    "conv2d_vjp grouped": (
        4,
        lambda ops, x, a: ops.conv2d_vjp(a(*x.shape[:3], 6), x, a(3, 3, 2, 6), a(6), 2),
    ),
    "conv_transpose2d": (4, lambda ops, x, a: ops.conv_transpose2d(x, a(9, 9, 4, 2), None, 2)),
    "conv_transpose2d_vjp of x": (
        4,
        lambda ops, x, a: ops.conv_transpose2d_vjp(
            a(len(x), 2 * x.shape[1], 2 * x.shape[2], 2), x, a(4, 4, 4, 2), a(2), 2
        ),
    ),
    "prelu": (4, lambda ops, x, a: ops.prelu(x, a(4))),
    "prelu_vjp of x": (4, lambda ops, x, a: ops.prelu_vjp(a(*x.shape), x, a(4))),
    "prelu_vjp of dy": (4, lambda ops, dy, a: ops.prelu_vjp(dy, a(*dy.shape), a(4))),
}


def results(name: str, ops: Ops, shape: tuple[int, ...], value: float | None) -> list[Array]:
    """What an operation gives for random arrays of which one holds `value` at one place."""
    rng = np.random.default_rng(3)

    def draw(*shape: int) -> Array:
        return rng.standard_normal(shape).astype(np.float32)

    channels, call = CALLS[name]
    x = draw(*shape, channels)
    if value is not None:
        x[0, shape[1] // 2, shape[2] // 3, 0] = value
    with np.errstate(all="ignore"):
        found = call(ops, x, draw)
    return [r for r in (found if isinstance(found, tuple) else (found,)) if r is not None]


def kinds(array: Array) -> Array:
    """0 for a number, 1 and 2 for the infinities, 3 for NaN."""
    signs = np.where(np.isinf(array), np.where(array > 0, 1, 2), 0)
    return np.where(np.isnan(array), 3, signs)


def test_every_kernel_is_among_the_calls() -> None:
    from sesr_kernels.machine.threads import Threads
    from sesr_kernels.operations import operations

    assert {name.split()[0] for name in CALLS} == set(operations(Threads(1)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", CALLS)
def test_what_is_not_finite_spreads_as_in_the_reference(name: str, value: float) -> None:
    got, want = (results(name, ops, (2, 7, 29), value) for ops in (sr.fast(), sr.REFERENCE))
    for g, w in zip(got, want, strict=True):
        np.testing.assert_array_equal(kinds(g), kinds(w))


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (5, 1, 1), (1, 1, 23), (0, 4, 6), (1, 0, 6), (2, 4, 0)]
)
def test_few_pixels_or_none_are_enough(name: str, shape: tuple[int, ...]) -> None:
    got, want = (results(name, ops, shape, None) for ops in (sr.fast(), sr.REFERENCE))
    for g, w in zip(got, want, strict=True):
        assert g.dtype == w.dtype
        np.testing.assert_allclose(g, w, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", CALLS)
def test_denormals_are_numbers_like_others(name: str) -> None:
    tiny = float(np.float32(1e-40))
    got, want = (results(name, ops, (1, 4, 6), tiny) for ops in (sr.fast(), sr.REFERENCE))
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=0, atol=1e-5)


def test_a_convolution_of_denormals_is_not_zero() -> None:
    x, one = np.full((1, 3, 30, 1), 3e-42, np.float32), np.ones((1, 1, 1, 1), np.float32)
    for ops in (sr.fast(), sr.REFERENCE):
        np.testing.assert_array_equal(ops.conv2d(x, one), x)
        np.testing.assert_array_equal(ops.conv2d(x, 2 * one), 2 * x)
        np.testing.assert_array_equal(ops.prelu(-x, one[0, 0, 0] / 2), -x / 2)


@pytest.mark.parametrize("net", RUNNABLE, ids=lambda net: net.name)
def test_an_overflow_within_a_network_reaches_the_output(
    net: Network, rng: np.random.Generator
) -> None:
    network = sr.fast(winograd=False).network
    assert network is not None
    small, params = sr.collapsed(net), random_params(net, rng)
    first = next(name for name in params if name.endswith(("weight", "expand")))
    with np.errstate(all="ignore"):
        loud = sr.collapse_params(net, params | {first: params[first] * np.float32(1e38)})
        y = network(small, loud, images(net, rng, 1, 9, 14))
        again = network(small, sr.collapse_params(net, params), images(net, rng, 1, 9, 14))
    assert y is not None
    assert again is not None
    assert np.isfinite(again).all()  # nothing of it is left behind


@pytest.mark.parametrize("winograd", [False, True])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7])
def test_groups_within_a_network_read_their_own_channels_alone(
    kernel_size: int, groups: int, winograd: bool, rng: np.random.Generator
) -> None:
    layers = (Conv("a", 64, kernel_size, groups, bias=True), PReLU("b"), Conv("c", 32, 1, groups))
    net = Network("grouped", 1, 32, layers)
    params, x = random_params(net, rng), images(net, rng, 2, 9, 41)
    network = sr.fast(winograd).network
    assert network is not None
    y = network(net, params, x)
    assert y is not None
    want = sr.run(net, params, x.astype(np.float64))
    np.testing.assert_allclose(y, want, rtol=0, atol=5e-6 * abs(want).max())
    x[..., 0] = np.nan
    broken = network(net, params, x)
    assert broken is not None
    own = 32 // groups
    assert np.isnan(broken[..., :own]).all()
    np.testing.assert_array_equal(broken[..., own:], y[..., own:])
