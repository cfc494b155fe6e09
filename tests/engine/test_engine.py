"""`run` and `loss_and_grads`: whole images, tiles, memory, training through the collapse."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import naive
import sesr_ref as sr
from generate import images, networks, parameters, seeds
from sesr_ref.network import Network

Array = npt.NDArray[Any]
ROOT = Path(__file__).resolve().parents[2]
NINE = st.integers(1, 9)


def small_sesr(**options: Any) -> Network:
    return sr.sesr(blocks=2, features=3, expand=5, **options)


# --- run ---


@settings(max_examples=40)
@given(networks(), seeds())
def test_run_is_the_definition_of_the_expanded_network(net: Network, seed: int) -> None:
    params, x = parameters(net, seed), images((2, 4, 3, net.channels), seed)
    y = sr.run(net, params, x)
    expected = naive.forward(sr.expanded(net), sr.expand_params(net, params), x)["last"]
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-10)
    assert y.shape == (2, 4 * net.upscale, 3 * net.upscale, net.channels)


def test_run_takes_networks_with_and_without_linear_blocks() -> None:
    net = small_sesr()
    params, x = parameters(net, 0), images((2, 5, 4, 1), 1)
    whole = sr.run(net, params, x)
    small = sr.run(sr.collapsed(net), sr.collapse_params(net, params), x)
    np.testing.assert_array_equal(small, whole)
    big = sr.run(sr.expanded(net), sr.expand_params(net, params), x)
    np.testing.assert_allclose(big, whole, rtol=0, atol=1e-12)


def test_float64_images_are_enlarged_in_float64_throughout() -> None:
    """Parameters that are stored in float32 are collapsed in float64 as well."""
    net = small_sesr(block_bias="true")
    params, x = parameters(net, 0, np.float32), images((1, 5, 4, 1), 1)
    exact: dict[str, Array] = {name: value.astype(np.float64) for name, value in params.items()}
    y = sr.run(net, params, x)
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, sr.run(net, exact, x), rtol=0, atol=1e-14)
    loss, grads = sr.loss_and_grads(net, params, x, images(y.shape, 2))
    exact_loss, exact_grads = sr.loss_and_grads(net, exact, x, images(y.shape, 2))
    assert loss == pytest.approx(exact_loss, abs=1e-14)
    for name, grad in exact_grads.items():
        np.testing.assert_allclose(grads[name], grad, rtol=0, atol=1e-14)


def test_float32_images_stay_float32_whatever_the_parameters_are() -> None:
    net, x = small_sesr(), images((1, 5, 4, 1), 1, np.float32)
    for dtype in (np.float32, np.float64):
        y = sr.run(net, parameters(net, 0, dtype), x)
        assert y.dtype == np.float32
        np.testing.assert_allclose(y, sr.run(net, parameters(net, 0), x.astype(float)), atol=1e-5)


@pytest.mark.parametrize("shape", [(0, 5, 7, 1), (1, 0, 7, 1), (2, 5, 0, 1)])
@pytest.mark.parametrize("tile", [None, 3])
def test_empty_batches_and_images_stay_empty(shape: tuple[int, ...], tile: int | None) -> None:
    for net in (small_sesr(upscale=4), sr.fsrcnn(4)):
        y = sr.run(net, parameters(net, 0), np.zeros(shape, np.float32), tile=tile)
        assert y.shape == (shape[0], 4 * shape[1], 4 * shape[2], 1)
        assert y.dtype == np.float32


def test_run_tries_the_network_kernel_first_and_falls_back_if_it_returns_none() -> None:
    net, x = small_sesr(), images((1, 5, 4, 1), 1)
    params = parameters(net, 0)
    asked: list[str] = []

    def declines(small: Network, *_: Any) -> None:
        asked.append(small.name)
        assert small == sr.collapsed(net)

    def answers(small: Network, small_params: dict[str, Array], images: Array) -> Array:
        return np.full((1, 10, 8, 1), 0.5)

    declined = sr.run(net, params, x, replace(sr.REFERENCE, network=declines))
    np.testing.assert_array_equal(declined, sr.run(net, params, x))
    assert asked == [net.name]
    assert (sr.run(net, params, x, replace(sr.REFERENCE, network=answers)) == 0.5).all()


# --- tiles ---


@settings(max_examples=60)
@given(networks(), seeds(), NINE, NINE, NINE, NINE)
def test_tiles_of_any_network_equal_the_whole(
    net: Network, seed: int, height: int, width: int, tile_height: int, tile_width: int
) -> None:
    params, x = parameters(net, seed), images((2, height, width, net.channels), seed)
    tiled = sr.run(net, params, x, tile=(tile_height, tile_width))
    np.testing.assert_allclose(tiled, sr.run(net, params, x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("tile", [1, 4, (3, 7), (100, 5), 1000])
def test_tiles_of_sesr_equal_the_whole(tile: int | tuple[int, int]) -> None:
    for upscale in (2, 4):
        net = small_sesr(upscale=upscale, dialect="arm", block_bias="true")
        params, x = parameters(net, 0), images((2, 11, 13, 1), 1)
        whole = sr.run(net, params, x)
        np.testing.assert_allclose(sr.run(net, params, x, tile=tile), whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("tile", [0, -3, (0, 4), (4, 0)])
def test_tiles_are_positive(tile: int | tuple[int, int]) -> None:
    net = small_sesr()
    with pytest.raises(ValueError, match="a tile must be at least 1 x 1, got"):
        sr.run(net, parameters(net, 0), images((1, 5, 4, 1), 1), tile=tile)


# --- memory ---

# VmHWM and not getrusage's ru_maxrss, which a process inherits from the one that started it.
PEAK = """
import sys
from pathlib import Path
import numpy as np
import sesr_ref as sr
net = sr.sesr(blocks=int(sys.argv[1]))
params = {name: np.zeros(shape, np.float32) for name, shape in net.param_shapes().items()}
y = sr.run(net, params, np.zeros((1, 1080, 1920, 1), np.float32), tile=eval(sys.argv[2]))
assert y.shape == (1, 2160, 3840, 1)
(line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x)
print(line.split()[1])
"""


def peak_bytes(blocks: int, tile: Any) -> int:
    """Most memory that a process used which enlarged 1080p to 4K, the interpreter's included."""
    if not Path("/proc/self/status").is_file():
        pytest.skip("needs Linux's count of a process' memory")
    script = [sys.executable, "-c", PEAK, str(blocks), repr(tile)]
    env = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(script, env=env, capture_output=True, text=True, check=True)
    return int(done.stdout) * 1024


@pytest.mark.slow
def test_1080p_to_4k_takes_less_than_a_gibibyte() -> None:
    assert peak_bytes(5, None) < 1 << 30


@pytest.mark.slow
def test_1080p_to_4k_in_tiles_takes_a_fraction_of_that() -> None:
    assert peak_bytes(1, (270, 480)) < 1 << 28


# --- loss_and_grads ---


@pytest.mark.parametrize(
    ("name", "share"),
    [("l1", 0.0), ("charbonnier", 0.0), ("l2", 0.0), ("log-mse", 0.0), ("l1", 0.1)],
)
def test_gradients_are_the_losses_derivative(name: str, share: float) -> None:
    for bias, dialect in (("none", "paper"), ("true", "paper"), ("true", "arm"), ("leaky", "arm")):
        net = small_sesr(dialect=dialect, block_bias=bias)
        params, x = parameters(net, 4), images((2, 5, 4, 1), 5)
        params = {name: 0.3 * value for name, value in params.items()}  # most pixels inside [0, 1]
        target = images((2, 10, 8, 1), 6)
        loss, grads = sr.loss_and_grads(net, params, x, target, loss=name, log_share=share)
        assert type(loss) is float
        rng, step = np.random.default_rng(7), 1e-6
        v = {name: rng.standard_normal(value.shape) for name, value in params.items()}
        moved: list[dict[str, Array]] = [
            {n: params[n] + s * v[n] for n in params} for s in (step, -step)
        ]
        ahead, behind = (
            sr.loss_and_grads(net, p, x, target, loss=name, log_share=share)[0] for p in moved
        )
        got = sum(np.vdot(grads[name], v[name]) for name in params)
        assert got == pytest.approx((ahead - behind) / (2 * step), rel=1e-3)


def test_gradients_have_the_parameters_order_and_dtype() -> None:
    net = small_sesr(block_bias="true")
    params = parameters(net, 0, np.float32)
    params = {name: params[name] for name in sorted(params, reverse=True)}
    x, target = images((2, 5, 4, 1), 1, np.float32), images((2, 10, 8, 1), 2, np.float32)
    _, grads = sr.loss_and_grads(net, params, x, target)
    assert list(grads) == list(params)
    assert {g.dtype for g in grads.values()} == {np.dtype(np.float32)}


def test_float64_parameters_collapse_in_float64_for_float32_images_too() -> None:
    net = small_sesr(block_bias="true")
    params, x = parameters(net, 0), images((2, 5, 4, 1), 1, np.float32)
    target = images((2, 10, 8, 1), 2, np.float32)
    seen: list[dict[str, Array]] = []

    def notes(net: sr.Network, params: dict[str, Array], *_: object) -> None:
        seen.append(params)

    ops = replace(sr.REFERENCE, gradients=notes)
    _, grads = sr.loss_and_grads(net, params, x, target, ops)
    for name, value in sr.collapse_params(net, params).items():
        np.testing.assert_array_equal(seen[0][name], value.astype(np.float32))
    exact = sr.loss_and_grads(net, params, x.astype(np.float64), target.astype(np.float64))[1]
    for name in params:
        np.testing.assert_allclose(grads[name], exact[name], rtol=0, atol=1e-5)


def test_training_without_linear_blocks_is_the_same_call() -> None:
    net = small_sesr(linear_blocks=False)
    params, x = parameters(net, 0), images((2, 5, 4, 1), 1)
    _, grads = sr.loss_and_grads(net, params, x, images((2, 10, 8, 1), 2))
    assert set(grads) == {
        "head.weight",
        "block0.weight",
        "act0.slope",
        "block1.weight",
        "act1.slope",
        "tail.weight",
    }


def test_some_steps_down_the_gradient_make_the_loss_smaller() -> None:
    net = small_sesr()
    params, x = parameters(net, 0), images((4, 6, 5, 1), 1)
    target = sr.run(net, parameters(net, 9), x)
    losses = []
    for _ in range(30):
        loss, grads = sr.loss_and_grads(net, params, x, target)
        losses.append(loss)
        params = {name: params[name] - 0.05 * grads[name] for name in params}
    assert losses[-1] < 0.7 * losses[0]


def test_loss_tries_the_gradient_kernel_first_and_falls_back_if_it_returns_none() -> None:
    net, x = small_sesr(), images((1, 5, 4, 1), 1)
    params, target = parameters(net, 0), images((1, 10, 8, 1), 2)
    small = sr.collapse_params(net, params)
    ones: dict[str, Array] = {name: np.ones_like(value) for name, value in small.items()}
    declines = replace(sr.REFERENCE, gradients=lambda *_: None)
    answers = replace(sr.REFERENCE, gradients=lambda *_: (0.25, ones))
    assert sr.loss_and_grads(net, params, x, target, declines)[0] > 0
    loss, grads = sr.loss_and_grads(net, params, x, target, answers)
    assert loss == 0.25
    for name, grad in sr.collapse_params_vjp(net, params, ones).items():
        np.testing.assert_array_equal(grads[name], grad)


@pytest.mark.parametrize(
    ("x", "target", "message"),
    [
        (np.ones((1, 5, 4, 1)), np.ones((1, 5, 4, 1)), r"float64 of shape \(1, 10, 8, 1\), got"),
        (np.ones((1, 5, 4, 1)), np.ones((10, 8, 1)), r"float64 of shape \(1, 10, 8, 1\), got"),
        (np.ones((1, 5, 4, 1)), np.ones((1, 10, 8, 1), np.float32), "got float32"),
        (np.ones((0, 5, 4, 1)), np.ones((0, 10, 8, 1)), "of at least one pixel"),
        (np.ones((1, 5, 4, 3)), np.ones((1, 10, 8, 3)), r"\(n, height, width, 1\), got"),
        (np.full((1, 5, 4, 1), np.nan), np.ones((1, 10, 8, 1)), "infinite values in the images"),
        (np.ones((1, 5, 4, 1)), np.full((1, 10, 8, 1), np.nan), "values in the target"),
        (np.ones((1, 5, 4, 1)), np.full((1, 10, 8, 1), -np.inf), "values in the target"),
        (np.ones((1, 5, 4, 1)), None, "the target must be a NumPy array, got NoneType"),
        (np.ones((1, 5, 4, 1)), [1.0], "the target must be a NumPy array, got list"),
    ],
)
def test_targets_that_do_not_fit_are_rejected(x: Array, target: Array, message: str) -> None:
    net = small_sesr()
    with pytest.raises(ValueError, match=message):
        sr.loss_and_grads(net, parameters(net, 0), x, target)


def test_an_unknown_loss_is_rejected() -> None:
    net, x = small_sesr(), images((1, 5, 4, 1), 1)
    with pytest.raises(ValueError, match=r"the loss must be one of .*charbonnier.*, got 'l3'"):
        sr.loss_and_grads(net, parameters(net, 0), x, images((1, 10, 8, 1), 2), loss="l3")


def test_a_tile_may_be_a_numpy_integer() -> None:
    net, x = small_sesr(), images((1, 7, 5, 1), 1)
    params = parameters(net, 0)
    for tile in (np.int64(3), (np.uint8(3), 3), [3, 3], np.array([3, 3])):
        np.testing.assert_array_equal(
            sr.run(net, params, x, tile=tile),  # type: ignore[arg-type]
            sr.run(net, params, x, tile=3),
        )


@pytest.mark.parametrize(
    "tile", [2.5, float("nan"), (2.5, 2), (None, 2), "3", "33", (3,), (1, 2, 3), True, {}]
)
def test_a_tile_of_anything_else_is_rejected_with_its_value(tile: Any) -> None:
    net = small_sesr()
    with pytest.raises(ValueError, match="a tile must be an integer or two, ") as caught:
        sr.run(net, parameters(net, 0), images((1, 7, 5, 1), 1), tile=tile)
    assert str(caught.value).endswith(f"got {tile!r}")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_run_rejects_parameters_that_are_not_finite(value: float) -> None:
    net = small_sesr()
    params = parameters(net, 0)
    params["tail.project"][0, 0, 0, 0] = value
    with pytest.raises(ValueError, match=r"NaN or infinite values in tail\.project"):
        sr.run(net, params, images((1, 5, 4, 1), 1))


def test_arguments_of_wrong_types_are_named() -> None:
    net, x = small_sesr(), images((1, 5, 4, 1), 1)
    params: Any = parameters(net, 0)
    wrong: Any
    for wrong in ("fast", None, sr.fast):
        with pytest.raises(
            ValueError, match=r"ops must be REFERENCE or the result of fast\(\), got "
        ):
            sr.run(net, params, x, wrong)
    wrong = "sesr-m5-x2"
    with pytest.raises(ValueError, match=r"must be a Network, .* got 'sesr-m5-x2'"):
        sr.run(wrong, params, x)
    wrong = list(params)
    with pytest.raises(ValueError, match="parameters must be a dict of arrays, got list"):
        sr.run(net, wrong, x)
