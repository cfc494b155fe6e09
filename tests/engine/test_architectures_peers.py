"""VDSR, LapSRN and CARN-M: counted as printed, run, differentiated."""

from collections.abc import Callable

import numpy as np
import pytest

import sesr_ref as sr
from sesr_ref.counting import cost
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Params

SMALL: dict[str, Callable[[], Network]] = {
    "vdsr-x2": lambda: sr.vdsr(2, depth=3, features=4),
    "vdsr-x3": lambda: sr.vdsr(3, depth=2, features=3),
    "lapsrn-x2": lambda: sr.lapsrn(2, depth=1, features=3),
    "lapsrn-x4": lambda: sr.lapsrn(4, depth=2, features=4),
    "lapsrn-x8": lambda: sr.lapsrn(8, depth=1, features=2),
    "carn-m-x2": lambda: sr.carn_m(2, features=4, groups=2),
    "carn-m-x3": lambda: sr.carn_m(3, features=4, groups=2),
    "carn-m-x4": lambda: sr.carn_m(4, features=4, groups=1),
}


def test_they_cost_what_the_tables_print() -> None:
    assert round(cost(sr.vdsr(2), 360, 640).macs / 1e9, 1) == 612.6
    assert round(cost(sr.vdsr(4), 180, 320).macs / 1e9, 1) == 612.6
    assert round(cost(sr.vdsr(2), 8, 8).parameters / 1e3) == 665
    assert round(cost(sr.lapsrn(4), 180, 320).macs / 1e9, 1) == 149.4
    assert round(cost(sr.lapsrn(4), 8, 8).parameters / 1e3) == 813
    assert round(cost(sr.carn_m(2), 360, 640).macs / 1e9, 1) == 91.2
    assert round(cost(sr.carn_m(4), 180, 320).macs / 1e9, 1) == 32.5


def test_the_printed_figures_that_count_something_else_are_explained() -> None:
    assert round(cost(sr.lapsrn(2), 180, 320).macs / 1e9, 1) == 29.9
    body = cost(sr.carn_m(2), 8, 8).parameters - 9 * 16 * 256
    upsamplers = 9 * 16 * (256 + 576 + 2 * 256)
    assert round((body + upsamplers) / 1e3) == 412


@pytest.mark.parametrize("name", SMALL)
def test_they_run_and_their_gradients_are_the_derivative(name: str) -> None:
    net = SMALL[name]()
    assert net.name == name
    generator = np.random.default_rng(3)
    params: Params = {
        key: generator.normal(0, 0.3, shape) for key, shape in net.param_shapes().items()
    }
    x = generator.random((2, 5, 7, net.channels))
    tensors = sr.forward(net, params, x)
    y = tensors[net.output]
    assert y.shape == (2, 5 * net.upscale, 7 * net.upscale, net.channels)
    dy, step = generator.normal(size=y.shape), 1e-7
    direction = {key: generator.normal(size=p.shape) for key, p in params.items()}
    moved = {
        sign: sr.forward(net, {k: params[k] + sign * step * direction[k] for k in params}, x)
        for sign in (1, -1)
    }
    slope = float(np.sum(dy * (moved[1][net.output] - moved[-1][net.output]))) / (2 * step)
    dparams = sr.backward(net, params, tensors, dy)
    assert slope == pytest.approx(
        float(sum(np.sum(dparams[key] * direction[key]) for key in params)), rel=1e-5
    )


def test_vdsr_with_zero_weights_is_bicubic_enlargement() -> None:
    net = sr.vdsr(2, depth=2, features=3)
    params: Params = {key: np.zeros(shape) for key, shape in net.param_shapes().items()}
    x = np.random.default_rng(0).random((1, 6, 5, 1))
    tensors = sr.forward(net, params, x)
    np.testing.assert_array_equal(tensors["output"], tensors["bicubic"])


def test_lapsrn_starts_from_the_image_of_the_level_below() -> None:
    net = sr.lapsrn(4, depth=1, features=2)
    params: Params = {key: np.zeros(shape) for key, shape in net.param_shapes().items()}
    corner = np.array([0.25, 0.75, 0.75, 0.25])
    for level in (0, 1):
        params[f"level{level}.image.weight"] = np.outer(corner, corner)[:, :, None, None]
    x = np.full((1, 6, 6, 1), 0.5)
    y = sr.forward(net, params, x)[net.output]
    np.testing.assert_allclose(y[:, 6:-6, 6:-6], 0.5)


def test_carn_units_of_a_block_share_their_weights() -> None:
    names = sr.carn_m(2).param_shapes()
    assert "block1.unit0.mix.weight" in names
    assert not any("unit1" in name or "unit2" in name for name in names)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: sr.vdsr(1), "upscale must be an integer from 2 to 16, got 1"),
        (lambda: sr.vdsr(2, depth=1), "depth must be an integer from 2 to 1000, got 1"),
        (lambda: sr.lapsrn(3), r"upscale must be one of \[2, 4, 8\], got 3"),
        (lambda: sr.carn_m(5), r"upscale must be one of \[2, 3, 4\], got 5"),
        (lambda: sr.carn_m(True), "got True"),
    ],
)
def test_impossible_options_are_named(build: Callable[[], Network], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("name", SMALL)
def test_they_survive_json(name: str) -> None:
    net = SMALL[name]()
    assert Network.from_json(net.to_json()) == net
