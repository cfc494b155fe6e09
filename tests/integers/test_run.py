"""Integer networks: calibrated, quantised, run in every arithmetic, held against plain integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import plain_integers as plain
import sesr_ref as sr
from networks_for_verification import every_kind, random_params
from sesr_ref import network as nw
from sesr_ref.integers import (
    ARITHMETICS,
    Grid,
    Quantization,
    calibrate,
    forward_int,
    quantize,
    run_int,
)

Rng = np.random.Generator


def images(rng: Rng, channels: int = 1, count: int = 3) -> list[Any]:
    return [rng.random((1, 9 + i, 11, channels), np.float32) for i in range(count)]


@pytest.fixture(scope="module")
def case() -> tuple[nw.Network, Any, Any, Quantization, Any]:
    """A small SESR with slopes, its grids, its integers, and random codes."""
    rng = np.random.default_rng(3)
    net = sr.sesr(2, 4, expand=8)
    params = sr.initialise(net, 1)
    for name in params:
        if name.endswith("slope"):
            params[name] = rng.uniform(-0.2, 0.5, params[name].shape).astype(np.float32)
    q = calibrate(net, params, images(rng))
    codes = rng.integers(-128, 128, (2, 7, 9, 1)).astype(np.int8)
    return net, params, quantize(net, params, q), q, codes


def test_integers_stay_near_the_floats(case: Any) -> None:
    net, params, iparams, q, codes = case
    x = q.tensors["input"].to_reals(codes)
    real = sr.forward(sr.collapsed(net), sr.collapse_params(net, params), x.astype(np.float32))
    made = forward_int(net, iparams, q, codes)
    assert made.keys() == real.keys()
    for name, tensor in real.items():
        grid = q.tensors[name]
        inside = np.clip(tensor, *grid.to_reals(np.array([grid.low, grid.high])))
        assert np.abs(grid.to_reals(made[name]) - inside).mean() < 6 * float(grid.scales)
        assert made[name].dtype == np.int8


def test_a_convolution_is_its_definition_in_plain_integers(case: Any) -> None:
    net, _, iparams, q, codes = case
    made = forward_int(net, iparams, q, codes)["head"]
    weight = iparams["head.weight"].astype(object)
    grid, target = q.tensors["input"], q.tensors["head"]
    _n, height, width, _ = codes.shape
    for b, row, column, o in [(0, 0, 0, 0), (1, 6, 8, 3), (0, 3, 4, 2), (1, 0, 5, 1)]:
        total = sum(
            (int(codes[b, row + i - 2, column + j - 2, 0]) - grid.zero_point) * weight[i, j, 0, o]
            for i in range(5)
            for j in range(5)
            if 0 <= row + i - 2 < height and 0 <= column + j - 2 < width
        )
        factor = float(np.float64(grid.scale)) * float(q.params["head.weight"].scales[o])
        pair = plain.quantize_multiplier(factor / float(target.scale))
        expected = plain.twice_rounded(int(total), *pair) + target.zero_point
        assert made[b, row, column, o] == min(max(expected, -128), 127)


def test_every_arithmetic_but_shifts_differs_from_another_by_a_few_codes(case: Any) -> None:
    net, _, iparams, q, codes = case
    made = {n: run_int(net, iparams, q, codes, n) for n in ARITHMETICS if "shift" not in n}
    for name, y in made.items():
        difference = np.abs(y.astype(int) - made["tflite"].astype(int))
        assert difference.max() <= 3, name
    assert len({y.tobytes() for y in made.values()}) >= 3


@pytest.mark.parametrize("mode", ["half-up", "half-even", "floor", "toward-zero"])
def test_shifts_need_powers_of_two_and_use_them(mode: str, case: Any, rng: Rng) -> None:
    net, params, iparams, q, codes = case
    with pytest.raises(ValueError, match="powers of two"):
        run_int(net, iparams, q, codes, f"shift-{mode}")
    powers = calibrate(net, params, images(rng), power_of_two=True)
    integers = quantize(net, params, powers)
    y = run_int(net, integers, powers, np.abs(codes), f"shift-{mode}")
    assert y.std() > 5


def test_the_bits_do_not_depend_on_the_batch_or_the_implementation(case: Any) -> None:
    net, _, iparams, q, codes = case
    whole = run_int(net, iparams, q, codes)
    np.testing.assert_array_equal(run_int(net, iparams, q, codes[1:]), whole[1:])
    pytest.importorskip("numba")
    fast = run_int(net, iparams, q, codes, ops=sr.fast(winograd=False))
    np.testing.assert_array_equal(fast, whole)


def test_relu_clip_and_shuffles_keep_their_grid(rng: Rng) -> None:
    net = sr.sesr(1, 4, expand=8, activation="relu", dialect="arm", block_bias="true")
    q = calibrate(net, sr.initialise(net, 1), images(rng))
    for output, source in (("act0", "block0"), ("clip", "shuffle0"), ("shuffle0", "subpixels")):
        assert q.tensors[output] == q.tensors[source]
    assert q.tensors["clip"] == q.tensors["input"] == Grid(1 / 255, -128)


@pytest.mark.parametrize("method", ["minmax", "percentile", "mse", "entropy"])
def test_every_method_makes_grids_that_serve(method: str, case: Any, rng: Rng) -> None:
    net, params, _, _, codes = case
    q = calibrate(net, params, images(rng), method=method, io="observed")
    y = run_int(net, quantize(net, params, q), q, codes)
    real = sr.run(net, params, q.tensors["input"].to_reals(codes).astype(np.float32))
    error = np.abs(q.tensors[net.output].to_reals(y) - real).mean()
    assert error < 0.05 * np.abs(real).max()


def test_sixteen_bits_and_fused_activations_err_less(case: Any, rng: Rng) -> None:
    net, params, iparams, q, codes = case
    x = q.tensors["input"].to_reals(codes)
    real = sr.run(net, params, x)

    def error(iparams: Any, q: Quantization) -> float:
        y = q.tensors[net.output].to_reals(run_int(net, iparams, q, codes))
        return float(np.square(y - np.clip(real, 0, 1)).mean())

    fused = {}
    for layer, inputs in sr.collapsed(net).steps():
        if layer.name in ("block0", "block1"):
            scale = float(q.tensors[inputs[0]].scale) * q.params[f"{layer.name}.weight"].scales
            fused[layer.name] = Grid(tuple(scale.tolist()), 0, 32, 3)
    assert error(iparams, q.with_tensors(**fused)) < error(iparams, q)
    wide = calibrate(net, params, images(rng), bits=16)
    assert error(quantize(net, params, wide), wide) < error(iparams, q)


def test_every_kind_of_layer_runs_on_integers(rng: Rng) -> None:
    net = every_kind()
    params = random_params(net, rng)
    q = calibrate(net, params, images(rng, 2), io="observed")
    codes = rng.integers(-128, 128, (1, 6, 7, 2)).astype(np.int8)
    made = forward_int(net, quantize(net, params, q), q, codes)
    assert made.keys() == {"input", *(layer.name for layer in net.layers)}
    real = sr.forward(net, params, q.tensors["input"].to_reals(codes).astype(np.float32))
    output = net.output
    error = np.abs(q.tensors[output].to_reals(made[output]) - real[output])
    assert error.mean() < 0.1


def test_what_does_not_fit_is_rejected_in_words(case: Any) -> None:
    net, params, iparams, q, codes = case
    small = {k: v for k, v in iparams.items() if k != "head.weight"}
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: run_int(net, small, q, codes), "parameter 'head.weight' is missing"),
        (lambda: run_int(net, iparams | {"x": codes}, q, codes), "parameter 'x' is unknown"),
        (lambda: run_int(net, iparams, q, codes.astype(np.float32)), "integers with a sign"),
        (lambda: run_int(net, iparams, q, codes.view(np.uint8)), "integers with a sign"),
        (lambda: run_int(net, iparams, q, codes.astype(np.int16) + 200), "must lie in -128..127"),
        (lambda: run_int(net, iparams, q, codes[..., 0]), "codes must be"),
        (lambda: run_int(net, iparams, q, codes, "gpu"), "arithmetic must be one of"),
        (lambda: calibrate(net, params, [], method="best"), "method must be one of"),
        (lambda: calibrate(net, params, [], bits=4), "bits of input must be one of 8, 16"),
        (lambda: calibrate(net, params, [np.zeros((1, 4, 4, 3), np.float32)]), "height, width, 1"),
        (lambda: quantize(net, params, Quantization({}, {})), "has no grid"),
        (
            lambda: quantize(net, params, q.with_tensors(head=Grid((1.0, 2.0), 0, 32, 3))),
            "2 scales for 4 channels",
        ),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
