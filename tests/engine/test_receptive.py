"""The halo that the description states against the pixels that really matter."""

import numpy as np
import pytest

import sesr_ref as sr
from sesr_ref import network as nw
from sesr_ref.ops.arrays import Params
from sesr_ref.receptive import halo, reaches, spans

NETWORKS = {
    "m1": sr.sesr(1, 2, expand=4),
    "m3": sr.sesr(3, 2, expand=4),
    "m2-x4": sr.sesr(2, 2, 4, expand=4),
    "m2-arm": sr.sesr(2, 2, expand=4, dialect="arm", block_bias="true"),
    "fsrcnn-x2": sr.fsrcnn(2, features=3, shrink=2, maps=1),
    "fsrcnn-x3": sr.fsrcnn(3, features=3, shrink=2, maps=1),
    "fsrcnn-x4": sr.fsrcnn(4, features=3, shrink=2, maps=2),
    "vdsr-odd": sr.vdsr(2, depth=3, features=2),
    "vdsr-even": sr.vdsr(2, depth=4, features=2),
    "vdsr-x3": sr.vdsr(3, depth=3, features=2),
    "lapsrn-x2": sr.lapsrn(2, depth=1, features=2),
    "lapsrn-x4": sr.lapsrn(4, depth=1, features=2),
    "carn-m-x3": sr.carn_m(3, features=2, groups=1),
    "carn-m-x4": sr.carn_m(4, features=2, groups=1),
    "nearest": nw.Network("n", 2, 1, (nw.Resize("up", 2, "nearest"), nw.Conv("c", 1, 3))),
    "bilinear": nw.Network("b", 3, 1, (nw.Resize("up", 3, "bilinear"), nw.Conv("c", 1, 5))),
    "tensorflow": nw.Network("t", 2, 1, (nw.ConvTranspose("up", 1, 5, 2, padding=1),)),
}


@pytest.mark.parametrize("blocks", [1, 3, 5, 11])
@pytest.mark.parametrize("upscale", [2, 4])
def test_sesr_needs_two_rows_for_each_end_and_one_a_block(blocks: int, upscale: int) -> None:
    assert halo(sr.sesr(blocks, upscale=upscale)) == blocks + 4


def disturbed(net: nw.Network, size: int, at: int) -> list[int]:
    """Output rows that change with one input row, weights being positive so nothing cancels."""
    net = sr.collapsed(net)
    generator = np.random.default_rng(5)
    params: Params = {k: generator.uniform(0.5, 1, s) for k, s in net.param_shapes().items()}
    layers = tuple(layer for layer in net.layers if layer.name != "clip")
    net = nw.Network(net.name, net.upscale, net.channels, layers)
    # On zeros no contribution is lost to rounding; resampling has negative weights, for ReLU to cut
    plain = all(type(layer) not in {nw.Resize, nw.Shift} for layer in layers)
    x = np.full((1, size, 8, net.channels), 0.0 if plain else 1.0)
    moved = x.copy()
    moved[0, at] += 0.5
    before, after = (sr.forward(net, params, image)[net.output] for image in (x, moved))
    return [int(row) for row in np.flatnonzero(np.any(before != after, axis=(0, 2, 3)))]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_halo_is_exactly_how_far_a_pixel_has_an_effect(name: str) -> None:
    net = NETWORKS[name]
    margin = halo(net)
    middle = margin + 3
    felt = [row // net.upscale - middle for row in disturbed(net, 2 * middle + 1, middle)]
    assert max(-min(felt), max(felt)) == margin


@pytest.mark.parametrize("name", NETWORKS)
def test_every_phase_sees_exactly_the_rows_stated(name: str) -> None:
    net = NETWORKS[name]
    middle = halo(net) + 3
    felt = set(disturbed(net, 2 * middle + 1, middle))
    stated: set[int] = set()
    for phase, (low, high) in enumerate(spans(net)[net.output]):
        rows = {middle - high, middle - low}  # rows of this phase that see `middle` at their ends
        stated |= {net.upscale * row + phase for row in rows}
        beyond = {middle - high - 1, middle - low + 1}
        assert not felt & {net.upscale * row + phase for row in beyond}
    assert stated <= felt


def test_reaches_grow_along_the_network() -> None:
    reach = reaches(sr.sesr(2, 4))
    order = ["input", "head", "block0", "act0", "block1", "features", "tail", "shuffle0"]
    assert [reach[name] for name in order] == [0, 2, 3, 3, 4, 4, 6, 6]
