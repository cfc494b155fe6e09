"""Whole networks on the kernels: the reference's results, and no cut that changes a bit."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pytest

import sesr_ref as sr
from checks import need_kernels
from networks_for_kernels import RUNNABLE, images, many_jobs, random_params
from sesr_ref.collapse import collapse_params, collapsed
from sesr_ref.network import Conv, Network
from sesr_ref.ops.arrays import Array, Params

need_kernels()

SIZES = [(2, 13, 17), (1, 1, 1), (1, 3, 41), (1, 37, 70)]


def exact(net: Network, params: Params, x: Array) -> Array:
    """The float64 reference."""
    return sr.run(net, params, x.astype(np.float64))


@pytest.mark.parametrize("winograd", [False, True])
@pytest.mark.parametrize("net", RUNNABLE, ids=lambda net: net.name)
def test_whole_networks_are_within_float32_of_the_float64_reference(
    net: Network, winograd: bool, rng: np.random.Generator
) -> None:
    params = random_params(net, rng)
    ops = sr.fast(winograd)
    assert ops.network is not None
    for size in SIZES:
        x = images(net, rng, *size)
        want = exact(net, params, x)
        assert ops.network(collapsed(net), collapse_params(net, params), x) is not None
        y = sr.run(net, params, x, ops=ops)
        assert y.dtype == np.float32
        np.testing.assert_allclose(y, want, rtol=0, atol=5e-6 * max(1, abs(want).max()))


@pytest.mark.parametrize("winograd", [False, True])
@pytest.mark.parametrize("net", RUNNABLE, ids=lambda net: net.name)
def test_tiles_threads_bands_and_strips_change_no_bit(
    net: Network, winograd: bool, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sesr_kernels.inference import run as inference

    params = random_params(net, rng)
    x = images(net, rng, 1, 61, 83)
    whole = sr.run(net, params, x, ops=sr.fast(winograd, threads=1))
    for tile in (7, (16, 83), (61, 22), 50):
        tiled = sr.run(net, params, x, ops=sr.fast(winograd, threads=1), tile=tile)
        np.testing.assert_array_equal(tiled, whole)
    plan = inference._plan(collapsed(net), winograd)
    assert plan is not None
    monkeypatch.setattr(plan, "jobs", many_jobs(plan))
    for threads in (1, 2, 5):
        cut = sr.run(net, params, x, ops=sr.fast(winograd, threads=threads))
        np.testing.assert_array_equal(cut, whole)


@pytest.mark.parametrize("width", [*range(1, 71, 3), 70])
def test_every_width_has_its_right_edge(width: int, rng: np.random.Generator) -> None:
    net = sr.sesr(1, features=16)
    params = random_params(net, rng)
    x = images(net, rng, 1, 1 + width % 9, width)
    y = sr.run(net, params, x, ops=sr.fast())
    np.testing.assert_allclose(y, exact(net, params, x), rtol=0, atol=5e-6)


@pytest.mark.parametrize("shape", [(0, 5, 6, 1), (1, 0, 6, 1), (2, 5, 0, 1)])
def test_no_pixels_give_no_pixels(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    net = sr.sesr(1)
    y = sr.run(net, random_params(net, rng), np.zeros(shape, np.float32), ops=sr.fast())
    assert y.shape == (shape[0], shape[1] * 2, shape[2] * 2, 1)


def test_views_of_any_layout_give_the_same_bits(rng: np.random.Generator) -> None:
    net = sr.sesr(1)
    params = random_params(net, rng)
    big = rng.random((3, 40, 50, 2), np.float32)
    views: list[Any] = [
        big[1:, 3:20, 5:40, 1:],
        big[::-1, ::2, ::-3, :1],
        big.transpose(0, 2, 1, 3)[..., 1:],
        np.frombuffer(bytes(1) + big[..., :1].tobytes(), np.float32, 6000, offset=1).reshape(
            3, 40, 50, 1
        ),
    ]
    ops = sr.fast()
    for view in views:
        want = sr.run(net, params, np.ascontiguousarray(view.copy()), ops=ops)
        np.testing.assert_array_equal(sr.run(net, params, view, ops=ops), want)


def test_float64_and_very_large_kernels_go_through_the_reference(rng: np.random.Generator) -> None:
    net = sr.sesr(1)
    params = random_params(net, rng)
    wide = images(net, rng, 1, 8, 9).astype(np.float64)
    got = sr.run(net, params, wide, ops=sr.fast())
    np.testing.assert_array_equal(got, sr.run(net, params, wide))
    large = Network("large", 1, 1, (Conv("a", 3, 3), Conv("b", 1, 33)))
    params, x = random_params(large, rng), images(large, rng, 1, 9, 11)
    got = sr.run(large, params, x, ops=sr.fast(), tile=5)
    np.testing.assert_allclose(got, sr.run(large, params, x), rtol=0, atol=1e-6)


def test_denormals_are_kept(rng: np.random.Generator) -> None:
    net = Network("copy", 1, 1, (Conv("a", 1, 1),))
    params = {"a.weight": np.ones((1, 1, 1, 1), np.float32)}
    x = np.full((1, 3, 5, 1), 1e-40, np.float32)
    np.testing.assert_array_equal(sr.run(net, params, x, ops=sr.fast()), x)


def test_infinite_and_nan_parameters_spread_as_in_the_reference(rng: np.random.Generator) -> None:
    net = sr.sesr(1, activation="relu")
    params = random_params(net, rng)
    x = images(net, rng, 1, 6, 7)
    network = sr.fast().network
    assert network is not None
    for value in (np.nan, np.inf, -np.inf):
        broken = params | {"tail.project": params["tail.project"].copy()}
        broken["tail.project"][0, 0, :, 2] = value
        with np.errstate(invalid="ignore"):
            small, small_params = collapsed(net), sr.collapse_params(net, broken)
            want = sr.forward(small, small_params, x)[small.output]
            got = network(small, small_params, x)
        assert got is not None
        np.testing.assert_array_equal(np.isfinite(got), np.isfinite(want))


def test_what_a_call_keeps_changes_nothing_in_the_next(rng: np.random.Generator) -> None:
    net = sr.sesr(1)
    small, params = collapsed(net), collapse_params(net, random_params(net, rng))
    network = sr.fast(threads=2).network
    assert network is not None
    for size in [(1, 120, 70), (1, 30, 70), (2, 120, 41), (1, 120, 70)]:
        x = images(net, rng, *size)
        want = network(small, params, x)
        network(small, params, np.full_like(x, np.nan))
        np.testing.assert_array_equal(network(small, params, x), want)
    before = network(small, params, x)
    params["head.weight"][2, 2, 0, 0] += 1  # in place: the array is still the same
    after = network(small, params, x)
    assert before is not None
    assert after is not None
    want = exact(small, params, x)
    np.testing.assert_allclose(after, want, rtol=0, atol=5e-6 * abs(want).max())
    assert not np.allclose(after, before, rtol=0, atol=1e-3)


@pytest.mark.parametrize("size", [3, 5])
def test_the_error_of_winograd_is_of_the_class_of_the_direct_sum(
    size: int, rng: np.random.Generator
) -> None:
    net = Network("one", 1, 16, (Conv("a", 16, size),))
    params = random_params(net, rng)
    x = rng.standard_normal((1, 48, 48, 16)).astype(np.float32)
    want = exact(net, params, x)

    def error(winograd: bool) -> float:
        y = sr.run(net, params, x, ops=sr.fast(winograd))
        return float(np.sqrt(np.mean((y - want) ** 2)))

    assert error(True) < 3 * error(False)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="Linux keeps this for threads")
def test_threads_may_run_where_the_process_may() -> None:
    from sesr_kernels.machine.threads import Threads, share

    found = []

    def worker(following: Callable[[], int]) -> None:
        while following() >= 0:
            found.append(os.sched_getaffinity(0))
            barrier.wait(10)  # or one thread might take all the jobs

    barrier = threading.Barrier(3)
    share(3, worker, Threads(3))
    assert found == [os.sched_getaffinity(0)] * 3


def test_a_field_that_no_kernel_knows_is_not_left_out() -> None:
    from sesr_kernels.description import single
    from sesr_kernels.description.layers import Unsupported
    from sesr_kernels.inference.rules import lower

    @dataclass(frozen=True)
    class Gained(single.Conv):
        gain: float = 1.0

    Gained.__name__ = "Conv"

    lower(single.Single(Gained(4, 3, 1, bias=False), 2))
    with pytest.raises(Unsupported, match=r"Conv with gain = 3\.0"):
        lower(single.Single(Gained(4, 3, 1, bias=False, gain=3.0), 2))


def test_the_kernels_know_every_field_of_the_engine_s_layers() -> None:
    from sesr_kernels.description.layers import FIELDS

    for kind in sr.network.PRIMITIVES:
        if kind.__name__ in FIELDS:  # the others run layer by layer
            assert {field.name for field in fields(kind)} <= FIELDS[kind.__name__]


def test_the_engine_s_layers_have_what_the_kernels_read() -> None:
    from sesr_kernels.description import layers as read

    nw = sr.network
    conv: read.Conv = nw.Conv("a", 1, 1)  # mypy checks every one of these
    up: read.ConvTranspose = nw.ConvTranspose("a", 1, 2, 2)
    leaky: read.LeakyReLU = nw.LeakyReLU("a", 0.1)
    numbers: tuple[read.Shift, read.Scale] = (nw.Shift("a", 1.0), nw.Scale("a", 1.0))
    clip: read.Clip = nw.Clip("a")
    moved: tuple[read.DepthToSpace, read.Resize] = (nw.DepthToSpace("a", 2), nw.Resize("a", 2))
    net: read.Network = sr.sesr(1)
    found = (conv, up, leaky, *numbers, clip, *moved, nw.PReLU("a"), nw.ReLU("a"), nw.Add("a"))
    protocols = {kind.__name__: kind for kind in read.KINDS}
    grid: read.FakeQuantize = nw.FakeQuantize("a", 0)
    for layer in (*found, grid, nw.Concat("a")):
        protocol = protocols.pop(type(layer).__name__)
        assert all(hasattr(layer, name) for name in read.read_of(protocol))
    assert not protocols
    assert all(hasattr(net, name) for name in read.read_of(read.Network))


@pytest.mark.parametrize("winograd", [True, False])
def test_rows_of_many_chunks_are_the_references(winograd: bool, rng: np.random.Generator) -> None:
    net = sr.sesr(2)
    params, x = random_params(net, rng), images(net, rng, 1, 6, 700)
    y = sr.run(net, params, x, ops=sr.fast(winograd))
    np.testing.assert_allclose(y, exact(net, params, x), rtol=0, atol=5e-6)


@pytest.mark.parametrize(("features", "groups"), [(8, 2), (16, 4), (32, 2), (12, 3)])
@pytest.mark.parametrize("size", [3, 5])
def test_groups_of_few_outputs_are_the_references(
    features: int, groups: int, size: int, rng: np.random.Generator
) -> None:
    layers = (Conv("a", 48, 1), Conv("b", features, size, groups=groups), Conv("c", 1, 1))
    net = Network("grouped", 1, 1, layers)
    params, x = random_params(net, rng), images(net, rng, 2, 7, 50)
    y = sr.run(net, params, x, ops=sr.fast())
    np.testing.assert_allclose(y, exact(net, params, x), rtol=0, atol=5e-6)


@pytest.mark.parametrize("channels", [256, 257])  # as many as Winograd's scratch has room for
def test_many_channels_are_the_references(channels: int, rng: np.random.Generator) -> None:
    net = Network("many", 1, 1, (Conv("a", channels, 1), Conv("b", 9, 3), Conv("c", 1, 5)))
    params, x = random_params(net, rng), images(net, rng, 1, 9, 30)
    y = sr.run(net, params, x, ops=sr.fast())
    np.testing.assert_allclose(y, exact(net, params, x), rtol=0, atol=2e-5)
