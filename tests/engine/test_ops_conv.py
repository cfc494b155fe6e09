"""Convolutions against their definition and scipy; their gradients as adjoints."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

import naive
from checks import assert_equals_definition, assert_rejects_bad_images, assert_vjp
from generate import seeds
from sesr_ref.ops import conv, patches

Array = npt.NDArray[Any]
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
BAND_ROWS = (1, 3, 9)  # some rows or the whole image at a time


def random(rng: np.random.Generator, *shape: int, dtype: Any = np.float64) -> Array:
    return rng.standard_normal(shape).astype(dtype)


@DTYPES
@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize(("channels", "features"), [(1, 1), (1, 6), (3, 4), (6, 1), (4, 5)])
def test_conv2d_is_its_definition(
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    dtype: Any,
    k: int,
    channels: int,
    features: int,
) -> None:
    x = random(rng, 2, 4, 7, channels, dtype=dtype)
    weight = random(rng, k, k, channels, features, dtype=dtype) / k**2
    bias = random(rng, features, dtype=dtype)
    expected = naive.conv2d(x, weight)
    monkeypatch.setattr(patches, "BAND_BYTES", 1)
    for rows in BAND_ROWS:
        monkeypatch.setattr(patches, "BAND_ROWS", rows)
        assert_equals_definition(conv.conv2d(x, weight), expected, x)
        assert_equals_definition(conv.conv2d(x, weight, bias), expected + bias, x)


@pytest.mark.parametrize("groups", [2, 3, 6])
def test_conv2d_in_groups_is_its_definition(rng: np.random.Generator, groups: int) -> None:
    x, weight = random(rng, 2, 5, 3, 6), random(rng, 3, 3, 6 // groups, 12)
    expected = naive.conv2d(x, weight, groups=groups)
    assert_equals_definition(conv.conv2d(x, weight, groups=groups), expected, x)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 3), (3, 2), (31, 17)])
def test_conv2d_of_any_size_is_scipys_correlation(
    rng: np.random.Generator, size: tuple[int, int]
) -> None:
    x, weight = random(rng, 1, *size, 1), random(rng, 5, 5, 1, 1)
    expected = signal.correlate2d(np.pad(x[0, :, :, 0], 2), weight[:, :, 0, 0], mode="valid")
    np.testing.assert_allclose(conv.conv2d(x, weight)[0, :, :, 0], expected, atol=1e-13)


def test_conv2d_adds_up_over_channels_as_scipys_correlation(rng: np.random.Generator) -> None:
    x, weight = random(rng, 3, 11, 6, 4), random(rng, 3, 3, 4, 2)
    y = conv.conv2d(x, weight)
    for b, o in naive.positions(3, 2):
        expected = sum(
            signal.correlate2d(x[b, :, :, c], weight[:, :, c, o], mode="same") for c in range(4)
        )
        np.testing.assert_allclose(y[b, :, :, o], expected, atol=1e-13)


def strided(x: Array, how: str) -> Array:
    """The same values in another memory layout."""
    views = {
        "reversed": lambda: x[:, ::-1, ::-1, ::-1].copy()[:, ::-1, ::-1, ::-1],
        "every other": lambda: np.repeat(x, 2, axis=2)[:, :, ::2],
        "planes": lambda: x.transpose(0, 3, 1, 2).copy().transpose(0, 2, 3, 1),
        "fortran": lambda: np.asfortranarray(x),
        "repeated": lambda: np.broadcast_to(x[:, :1], x.shape),
    }
    return views[how]()


@pytest.mark.parametrize("how", ["reversed", "every other", "planes", "fortran", "repeated"])
@pytest.mark.parametrize("k", [1, 3])
def test_memory_layout_does_not_matter(rng: np.random.Generator, how: str, k: int) -> None:
    x = strided(random(rng, 2, 5, 7, 4), how)
    weight, dy = strided(random(rng, k, k, 4, 6), "fortran"), random(rng, 2, 5, 7, 6)
    plain = x.copy(), weight.copy()
    np.testing.assert_allclose(conv.conv2d(x, weight), conv.conv2d(*plain), atol=1e-13)
    odd_grads = conv.conv2d_vjp(strided(dy, "reversed"), x, weight)
    for got, expected in zip(odd_grads[:2], conv.conv2d_vjp(dy, *plain)[:2], strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-12)


def test_operands_are_not_changed(rng: np.random.Generator) -> None:
    x, weight, bias = random(rng, 2, 4, 5, 3), random(rng, 3, 3, 3, 9), random(rng, 9)
    before = x.copy(), weight.copy(), bias.copy()
    for a in (x, weight, bias):
        a.flags.writeable = False
    conv.conv2d_vjp(conv.conv2d(x, weight, bias), x, weight, bias)
    for a, b in zip((x, weight, bias), before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("shape", [(0, 4, 5, 2), (2, 0, 5, 2), (2, 4, 0, 2)])
def test_empty_batches_and_images_stay_empty(shape: tuple[int, ...]) -> None:
    x, weight, bias = np.zeros(shape, np.float32), np.ones((3, 3, 2, 4)), np.ones(4)
    y = conv.conv2d(x, weight, bias)
    assert y.shape == (*shape[:3], 4)
    dx, dweight, dbias = conv.conv2d_vjp(y, x, weight, bias)
    assert dx.shape == shape
    assert dbias is not None
    assert not dweight.any()
    assert not dbias.any()


def test_weights_take_the_dtype_of_the_images(rng: np.random.Generator) -> None:
    weight, bias = random(rng, 3, 3, 2, 4), random(rng, 4)
    for dtype in (np.float32, np.float64):
        x = random(rng, 1, 4, 5, 2, dtype=dtype)
        y = conv.conv2d(x, weight, bias)
        grads = conv.conv2d_vjp(y, x, weight, bias)
        assert {a.dtype for a in (y, *grads) if a is not None} == {np.dtype(dtype)}


def test_nan_spreads_over_the_kernel_and_no_further(rng: np.random.Generator) -> None:
    x = random(rng, 1, 7, 8, 2)
    x[0, 3, 4, 1] = np.nan
    wrong = np.isnan(conv.conv2d(x, random(rng, 3, 3, 2, 2)))
    expected = np.zeros_like(wrong)
    expected[:, 2:5, 3:6] = True
    np.testing.assert_array_equal(wrong, expected)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_conv2d_vjp_is_the_adjoint(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, k: int, groups: int
) -> None:
    def forward(x: Array, weight: Array, bias: Array | None = None) -> Array:
        return conv.conv2d(x, weight, bias, groups)

    def vjp(dy: Array, x: Array, weight: Array, bias: Array | None = None) -> list[Array]:
        return [g for g in conv.conv2d_vjp(dy, x, weight, bias, groups) if g is not None]

    x, weight = random(rng, 2, 6, 3, 4), random(rng, k, k, 4 // groups, 6)
    monkeypatch.setattr(patches, "BAND_BYTES", 1)
    for rows in BAND_ROWS:
        monkeypatch.setattr(patches, "BAND_ROWS", rows)
        assert_vjp(forward, vjp, x, weight)
        assert_vjp(forward, vjp, x, weight, random(rng, 6))


@given(seeds(), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 5, 7]))
def test_conv2d_is_linear_and_zeros_around_an_image_change_nothing(
    seed: int, height: int, width: int, k: int
) -> None:
    rng = np.random.default_rng(seed)
    x, other = random(rng, 2, height, width, 2), random(rng, 2, height, width, 2)
    weight = random(rng, k, k, 2, 3)
    y, y_other = conv.conv2d(x, weight), conv.conv2d(other, weight)
    np.testing.assert_allclose(conv.conv2d(x + other, weight), y + y_other, atol=1e-11)
    np.testing.assert_allclose(conv.conv2d(x, 2 * weight), 2 * y, atol=1e-11)
    framed = conv.conv2d(np.pad(x, ((0, 0), (k, k), (k, k), (0, 0))), weight)
    np.testing.assert_allclose(framed[:, k:-k, k:-k], y, atol=1e-11)


# --- what is rejected ---


def test_images_are_four_dimensional_floats() -> None:
    assert_rejects_bad_images(lambda x: conv.conv2d(x, np.ones((3, 3, 4, 2))))


@pytest.mark.parametrize(
    ("weight", "bias", "groups", "message"),
    [
        ((4, 4, 2, 2), None, 1, r"odd k, got \(4, 4, 2, 2\)"),
        ((3, 4, 2, 2), None, 1, "odd k"),
        ((0, 0, 2, 2), None, 1, "odd k"),
        ((3, 3, 2), None, 1, "odd k"),
        ((3, 3, 3, 2), None, 1, r"must be \(k, k, 2/1, a multiple of 1\)"),
        ((3, 3, 2, 2), None, 2, r"2/2, a multiple of 2\) for 2 group\(s\), got \(3, 3, 2, 2\)"),
        ((3, 3, 1, 3), None, 2, "a multiple of 2"),
        ((3, 3, 1, 2), None, 0, "groups must be 1 or more, got 0"),
        ((3, 3, 1, 2), None, -2, "groups must be 1 or more, got -2"),
        ((3, 3, 2, 4), (3,), 1, r"bias must have shape \(4,\), got \(3,\)"),
        ((3, 3, 2, 4), (1, 4), 1, "bias must have shape"),
    ],
)
def test_conv2d_rejects_mismatches(
    weight: tuple[int, ...], bias: tuple[int, ...] | None, groups: int, message: str
) -> None:
    x, b = np.ones((1, 4, 5, 2)), None if bias is None else np.ones(bias)
    with pytest.raises(ValueError, match=message):
        conv.conv2d(x, np.ones(weight), b, groups)
    with pytest.raises(ValueError, match=message):
        conv.conv2d_vjp(x, x, np.ones(weight), b, groups)


def test_gradients_have_the_results_shape_and_dtype() -> None:
    x, weight = np.ones((1, 4, 5, 2), np.float32), np.ones((3, 3, 2, 3), np.float32)
    for dy in (np.ones((1, 4, 5, 2), np.float32), np.ones((1, 4, 5, 3))):
        with pytest.raises(ValueError, match=r"dy must be float32 of shape \(1, 4, 5, 3\)"):
            conv.conv2d_vjp(dy, x, weight)
