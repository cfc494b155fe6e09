"""Operations on single values against their definition; their gradients as adjoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import naive
from checks import assert_equals_definition, assert_rejects_bad_images, assert_vjp, away_from
from sesr_ref.ops import pointwise

Array = npt.NDArray[Any]
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
SHAPE = (2, 3, 5, 4)
KINKS = (0.0, -0.25, 0.5)  # of every operation below

# name, the operation and its gradient with their constants bound, the definition
UNARY: list[tuple[str, Callable[..., Array], Callable[..., Array], Callable[..., Array]]] = [
    ("relu", pointwise.relu, pointwise.relu_vjp, naive.relu),
    (
        "leaky_relu",
        lambda x: pointwise.leaky_relu(x, -0.3),
        lambda dy, x: pointwise.leaky_relu_vjp(dy, x, -0.3),
        lambda x: naive.leaky_relu(x, -0.3),
    ),
    ("sigmoid", pointwise.sigmoid, pointwise.sigmoid_vjp, naive.sigmoid),
    (
        "shift",
        lambda x: pointwise.shift(x, -0.5),
        lambda dy, x: pointwise.shift_vjp(dy, x, -0.5),
        lambda x: naive.shift(x, -0.5),
    ),
    (
        "scale",
        lambda x: pointwise.scale(x, -1.7),
        lambda dy, x: pointwise.scale_vjp(dy, x, -1.7),
        lambda x: naive.scale(x, -1.7),
    ),
    (
        "clip",
        lambda x: pointwise.clip(x, -0.25, 0.5),
        lambda dy, x: pointwise.clip_vjp(dy, x, -0.25, 0.5),
        lambda x: naive.clip(x, -0.25, 0.5),
    ),
]
EACH = pytest.mark.parametrize(
    ("function", "vjp", "definition"), [u[1:] for u in UNARY], ids=[u[0] for u in UNARY]
)


def random(rng: np.random.Generator, *shape: int, dtype: Any = np.float64) -> Array:
    return away_from(KINKS, rng.standard_normal(shape)).astype(dtype)


@DTYPES
@EACH
def test_each_is_its_definition(
    rng: np.random.Generator, dtype: Any, function: Any, vjp: Any, definition: Any
) -> None:
    x = random(rng, *SHAPE, dtype=dtype)
    assert_equals_definition(function(x), definition(x), x)
    assert_equals_definition(function(x[:, ::-1, ::2]), definition(x[:, ::-1, ::2]), x)
    empty = x[:0]
    assert function(empty).shape == vjp(empty, empty).shape == empty.shape


@EACH
def test_each_vjp_is_the_adjoint(
    rng: np.random.Generator, function: Any, vjp: Any, definition: Any
) -> None:
    assert_vjp(function, lambda dy, x: [vjp(dy, x)], random(rng, *SHAPE))


@EACH
def test_each_rejects_invalid_images(function: Any, vjp: Any, definition: Any) -> None:
    assert_rejects_bad_images(function)
    x = np.ones(SHAPE, np.float32)
    for dy in (x[:1], x.astype(np.float64)):
        with pytest.raises(ValueError, match=r"dy must be float32 of shape \(2, 3, 5, 4\)"):
            vjp(dy, x)


@EACH
def test_each_propagates_nan(function: Any, vjp: Any, definition: Any) -> None:
    x = np.ones(SHAPE)
    x[1, 2, 3, 0] = np.nan
    np.testing.assert_array_equal(np.isnan(function(x)), np.isnan(x))


def test_gradients_at_the_kinks_are_tensorflows() -> None:
    zero, one = np.zeros((1, 1, 1, 1)), np.ones((1, 1, 1, 1))
    assert pointwise.relu_vjp(one, zero) == 0
    assert pointwise.leaky_relu_vjp(one, zero, 0.25) == 0.25
    assert pointwise.prelu_vjp(one, zero, np.array([0.25]))[0] == 0.25
    assert pointwise.clip_vjp(one, zero, 0, 1) == 1
    assert pointwise.clip_vjp(one, one, 0, 1) == 1
    assert pointwise.clip_vjp(one, one * 1.001, 0, 1) == 0
    assert pointwise.clip_vjp(one, one * -0.001, 0, 1) == 0


# --- prelu ---


@DTYPES
def test_prelu_is_its_definition(rng: np.random.Generator, dtype: Any) -> None:
    x, slope = random(rng, *SHAPE, dtype=dtype), np.array([0, 0.25, -1.5, 2.0], dtype)
    assert_equals_definition(pointwise.prelu(x, slope), naive.prelu(x, slope), x)
    assert pointwise.prelu(x, slope.astype(np.float64)).dtype == dtype


def test_prelu_vjp_is_the_adjoint(rng: np.random.Generator) -> None:
    assert_vjp(pointwise.prelu, pointwise.prelu_vjp, random(rng, *SHAPE), random(rng, 4))
    x = np.asfortranarray(random(rng, *SHAPE))
    assert_vjp(pointwise.prelu, pointwise.prelu_vjp, x[:, ::-1], random(rng, 4))


def test_prelu_is_exact_for_slopes_on_either_side_of_1() -> None:
    x = np.array([2e38, -2e38, 0.0, -2.0, 2.0], np.float32).reshape(1, 5, 1, 1)
    for slope in (-1.5, 0.0, 1e-9, 0.3, 1.0):
        slopes = np.array([slope, 1.0], np.float32)
        for both in (slopes, np.array([slope, 1.1], np.float32)):  # the second has one above 1
            y = pointwise.prelu(np.repeat(x, 2, axis=3), both)
            np.testing.assert_array_equal(y[..., :1], np.where(x > 0, x, x * slopes[0]))
            dx, _ = pointwise.prelu_vjp(np.ones_like(y), np.repeat(x, 2, axis=3), both)
            np.testing.assert_array_equal(dx[..., :1], np.where(x > 0, 1, slopes[0]))


def test_prelu_needs_a_slope_per_channel() -> None:
    x = np.ones(SHAPE)
    for shape in ((3,), (1,), (1, 4), ()):
        with pytest.raises(ValueError, match=r"slope must have shape \(4,\)"):
            pointwise.prelu(x, np.ones(shape))
        with pytest.raises(ValueError, match=r"slope must have shape \(4,\)"):
            pointwise.prelu_vjp(x, x, np.ones(shape))
    assert_rejects_bad_images(lambda x: pointwise.prelu(x, np.ones(4)))


# --- sums and joins ---

SUMS = [(4,), (4, 4), (4, 1), (4, 1, 4, 1), (1, 1)]


@DTYPES
@pytest.mark.parametrize("channels", SUMS)
def test_add_is_its_definition(
    rng: np.random.Generator, dtype: Any, channels: tuple[int, ...]
) -> None:
    xs = [random(rng, *SHAPE[:3], c, dtype=dtype) for c in channels]
    y = pointwise.add(*xs)
    assert_equals_definition(y, naive.add(*xs), xs[0])
    assert not np.shares_memory(y, xs[0])


@pytest.mark.parametrize("channels", SUMS)
def test_add_vjp_is_the_adjoint(rng: np.random.Generator, channels: tuple[int, ...]) -> None:
    assert_vjp(pointwise.add, pointwise.add_vjp, *(random(rng, *SHAPE[:3], c) for c in channels))


@DTYPES
@pytest.mark.parametrize("channels", [(4,), (1, 3), (2, 5, 1)])
def test_concat_is_its_definition(
    rng: np.random.Generator, dtype: Any, channels: tuple[int, ...]
) -> None:
    xs = [random(rng, *SHAPE[:3], c, dtype=dtype) for c in channels]
    assert_equals_definition(pointwise.concat(*xs), naive.concat(*xs), xs[0])


@pytest.mark.parametrize("channels", [(4,), (1, 3), (2, 5, 1)])
def test_concat_vjp_is_the_adjoint(rng: np.random.Generator, channels: tuple[int, ...]) -> None:
    xs = (random(rng, *SHAPE[:3], c) for c in channels)
    assert_vjp(pointwise.concat, pointwise.concat_vjp, *xs)


def test_sums_and_joins_reject_mismatches() -> None:
    x = np.ones(SHAPE)
    for other in (np.ones((2, 3, 5, 3)), np.ones((2, 3, 1, 4)), np.ones((1, 3, 5, 4))):
        with pytest.raises(ValueError, match=r"cannot add arrays of shapes \(2, 3, 5, 4\) and"):
            pointwise.add(x, other)
    with pytest.raises(ValueError, match="cannot add"):  # the first one states the channels
        pointwise.add(x[..., :1], x)
    with pytest.raises(ValueError, match=r"cannot join arrays of shapes \[\(2, 3, 5, 4\), \(2, 3"):
        pointwise.concat(x, x[:, :, :4])
    assert_rejects_bad_images(lambda bad: pointwise.add(x, bad))
    assert_rejects_bad_images(lambda bad: pointwise.concat(bad, x))
    for function in (pointwise.add, pointwise.concat):
        with pytest.raises(ValueError, match=r"must be equal, got \[float64, float32\]"):
            function(x, x.astype(np.float32))
    with pytest.raises(ValueError, match="dy must be"):
        pointwise.add_vjp(x[..., :1], x, x)
    with pytest.raises(ValueError, match="dy must be"):
        pointwise.concat_vjp(x, x, x)
