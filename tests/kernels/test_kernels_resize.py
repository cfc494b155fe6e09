"""Enlargements by interpolation on the kernels, alone and within networks."""

from __future__ import annotations

import numpy as np
import pytest

import sesr_ref as sr
from checks import need_kernels
from networks_for_kernels import images, many_jobs, random_params, targets
from sesr_ref.network import (
    PRIMITIVES,
    Add,
    Conv,
    ConvTranspose,
    DepthToSpace,
    Network,
    PReLU,
    Resize,
)
from sesr_ref.ops.arrays import Params
from sesr_ref.ops.resampling import MODES, resample_matrix
from sesr_ref.receptive import halo

need_kernels()

SKIP = Network(
    "bicubic-skip",
    4,
    2,
    (
        Conv("a", 9, 3, bias=True),
        PReLU("a_act"),
        Resize("up", 2, "bilinear"),
        Conv("b", 8, 3),
        DepthToSpace("c", 2),
        Resize("skip", 4, "bicubic", inputs=("input",)),
        Add("d", inputs=("skip", "c")),
        Conv("e", 2, 3),
    ),
)
"""Two enlargements that meet a shuffle, with convolutions at each of three resolutions."""
NETWORKS = [
    SKIP,
    sr.vdsr(2, 4, 9),
    sr.vdsr(3, 3, 8),
    Network("thrice", 3, 1, (ConvTranspose("a", 9, 5, 3), Conv("b", 8, 3), Conv("c", 1, 3))),
    Network("twice", 6, 1, (Resize("a", 2, "bicubic75"), Resize("b", 3), Conv("c", 1, 5))),
]


@pytest.mark.parametrize("mode", sorted(MODES))
@pytest.mark.parametrize("upscale", [1, 2, 3, 4, 7])
def test_an_enlargement_has_the_references_bits(
    mode: str, upscale: int, rng: np.random.Generator
) -> None:
    net = Network("enlarge", upscale, 3, (Resize("a", upscale, mode),))
    network = sr.fast().network
    assert network is not None
    for size in [(2, 13, 17), (1, 1, 1), (1, 1, 3), (1, 2, 1), (1, 9, 70)]:
        x = images(net, rng, *size)
        y = network(net, {}, x)
        np.testing.assert_array_equal(y, sr.run(net, {}, x))


@pytest.mark.parametrize("mode", sorted(MODES))
def test_the_weights_of_a_phase_are_those_of_the_reference_far_from_the_edges(mode: str) -> None:
    from sesr_kernels.inference.resampling import enlargement

    for upscale in (1, 2, 3, 5, 16):
        found, matrix = enlargement(upscale, mode), resample_matrix(32, upscale, mode)
        for phase, (first, weights) in enumerate(zip(*found, strict=True)):
            row = 16 * upscale + phase
            dense = np.zeros(32)
            np.add.at(dense, matrix.taps[row], matrix.weights[row])
            want = dense[16 + first :][: len(weights)]
            np.testing.assert_allclose(weights, want, rtol=0, atol=1e-14)
            assert sum(weights) == pytest.approx(1, abs=1e-15)
        assert found.reach >= max(-found.firsts[0], 0)


@pytest.mark.parametrize("winograd", [False, True])
@pytest.mark.parametrize("net", NETWORKS, ids=lambda net: net.name)
def test_networks_that_interpolate_run_depth_first(
    net: Network, winograd: bool, rng: np.random.Generator
) -> None:
    params, ops = random_params(net, rng), sr.fast(winograd)
    assert ops.network is not None
    for size in [(2, 13, 17), (1, 1, 1), (1, 37, 70)]:
        x = images(net, rng, *size)
        y = ops.network(net, params, x)
        assert y is not None
        want = sr.run(net, params, x.astype(np.float64))
        np.testing.assert_allclose(y, want, rtol=0, atol=2e-6 * max(1, abs(want).max()))


@pytest.mark.parametrize("winograd", [False, True])
@pytest.mark.parametrize("net", NETWORKS, ids=lambda net: net.name)
def test_no_cut_of_an_interpolating_network_changes_a_bit(
    net: Network, winograd: bool, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sesr_kernels.inference import run as inference

    params, x = random_params(net, rng), images(net, rng, 1, 31, 43)
    whole = sr.run(net, params, x, ops=sr.fast(winograd, threads=1))
    for tile in (7, (16, 43), (31, 13)):
        tiled = sr.run(net, params, x, ops=sr.fast(winograd, threads=1), tile=tile)
        np.testing.assert_array_equal(tiled, whole)
    plan = inference._plan(net, winograd)
    assert plan is not None
    monkeypatch.setattr(plan, "jobs", many_jobs(plan))
    for threads in (1, 2, 3, 5):
        cut = sr.run(net, params, x, ops=sr.fast(winograd, threads=threads))
        np.testing.assert_array_equal(cut, whole)


def test_a_tiles_margin_is_the_exact_halo_or_one_pixel_more() -> None:
    from sesr_kernels.inference.run import margin

    for net in NETWORKS:
        found = margin(net, winograd=False)
        assert found is not None
        assert halo(net) <= found[0] <= halo(net) + 1


def test_the_depth_first_executor_has_a_rule_for_every_kind_that_the_kernels_read() -> None:
    from sesr_kernels.description.layers import FIELDS
    from sesr_kernels.inference.rules import RULES

    assert set(RULES) == set(FIELDS) <= {kind.__name__ for kind in PRIMITIVES}


@pytest.mark.parametrize(
    "net",
    [
        sr.sesr(1),
        sr.sesr(1, features=32, upscale=4, dialect="arm", block_bias="leaky"),
        sr.sesr(2, upscale=8, linear_blocks=False),
        sr.fsrcnn(2),
        sr.fsrcnn(3, "relu", 8, 5, 0),
        sr.fsrcnn(1),
        sr.vdsr(2, 3, 5),
        sr.vdsr(16, 2, 2),
        sr.lapsrn(2, 2, 5),
        sr.lapsrn(8, 1, 3),
        sr.carn_m(2, 8, 2),
        sr.carn_m(3, 4, 4),
        sr.carn_m(4, 4, 2),
    ],
    ids=lambda net: net.name,
)
def test_every_architecture_runs_depth_first_whole_and_in_tiles(
    net: Network, rng: np.random.Generator
) -> None:
    small, params, ops = sr.collapsed(net), random_params(net, rng), sr.fast()
    x = images(net, rng, 1, 11, 14)
    assert ops.network is not None
    assert ops.network(small, sr.collapse_params(net, params), x) is not None
    want = sr.run(net, params, x.astype(np.float64))
    whole = sr.run(net, params, x, ops=ops)
    np.testing.assert_allclose(whole, want, rtol=0, atol=5e-6 * max(1, abs(want).max()))
    np.testing.assert_array_equal(sr.run(net, params, x, ops=ops, tile=6), whole)


@pytest.mark.parametrize(
    "net",
    [sr.vdsr(2, 3, 5), sr.lapsrn(4, 1, 4), sr.carn_m(2, 8, 2), SKIP],
    ids=lambda net: net.name,
)
def test_what_training_cannot_take_as_a_whole_is_trained_layer_by_layer(
    net: Network, rng: np.random.Generator
) -> None:
    params, x, ops = random_params(net, rng), images(net, rng, 2, 7, 9), sr.fast()
    target = targets(net, rng, x)
    assert ops.gradients is not None
    assert ops.gradients(net, params, x, target) is None
    _, grads = sr.loss_and_grads(net, params, x, target, ops=ops)
    exact: Params = {name: value.astype(np.float64) for name, value in params.items()}
    _, want = sr.loss_and_grads(net, exact, x.astype(np.float64), target.astype(np.float64))
    for name in params:
        allowed = 2e-5 * max(abs(want[name]).max(), 1e-3)
        np.testing.assert_allclose(grads[name], want[name], rtol=0, atol=allowed)
