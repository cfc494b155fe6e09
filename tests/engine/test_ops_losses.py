"""Losses against their definitions; their gradients as adjoints."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import naive
from checks import assert_vjp, away_from
from sesr_ref.ops import losses

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
SHAPE = (2, 3, 5, 4)


def random(rng: np.random.Generator, *shape: int, dtype: Any = np.float64) -> Any:
    return rng.standard_normal(shape).astype(dtype)


@DTYPES
def test_l1_loss_is_the_mean_absolute_error(rng: np.random.Generator, dtype: Any) -> None:
    y, target = random(rng, *SHAPE, dtype=dtype), random(rng, *SHAPE, dtype=dtype)
    assert losses.l1_loss(y, target) == pytest.approx(naive.l1_loss(y, target), rel=1e-6)
    assert type(losses.l1_loss(y, target)) is float
    assert losses.l1_loss_vjp(1.0, y, target).dtype == dtype


def test_l1_loss_adds_up_many_small_values_exactly_enough() -> None:
    y = np.full((1, 2000, 2000, 1), 0.1, np.float32)
    assert losses.l1_loss(y, np.zeros_like(y)) == pytest.approx(float(np.float32(0.1)), rel=1e-9)


def test_l1_loss_vjp_is_the_adjoint(rng: np.random.Generator) -> None:
    target = random(rng, *SHAPE)
    y = target + away_from([0.0], random(rng, *SHAPE))
    assert_vjp(
        lambda y: np.asarray(losses.l1_loss(y, target)),
        lambda dloss, y: [losses.l1_loss_vjp(float(dloss), y, target)],
        y,
    )
    assert not losses.l1_loss_vjp(1.0, y, y).any()


@DTYPES
def test_charbonnier_loss_is_its_definition(rng: np.random.Generator, dtype: Any) -> None:
    y = random(rng, *SHAPE, dtype=dtype)
    target = y + random(rng, *SHAPE, dtype=dtype) * np.array([0, 1e-3, 0.1, 10], dtype)
    expected = naive.charbonnier_loss(y, target)
    assert losses.charbonnier_loss(y, target) == pytest.approx(expected, rel=1e-6)
    assert type(losses.charbonnier_loss(y, target)) is float
    assert losses.charbonnier_loss_vjp(1.0, y, target).dtype == dtype


def test_charbonnier_loss_vjp_is_the_adjoint(rng: np.random.Generator) -> None:
    target = random(rng, *SHAPE)
    y = target + random(rng, *SHAPE) * np.array([0, 1e-3, 3e-3, 1])
    assert_vjp(
        lambda y: np.asarray(losses.charbonnier_loss(y, target)),
        lambda dloss, y: [losses.charbonnier_loss_vjp(float(dloss), y, target)],
        y,
    )
    assert not losses.charbonnier_loss_vjp(1.0, y, y).any()


@DTYPES
@pytest.mark.parametrize("name", ["l2", "log-mse"])
def test_losses_of_squares_are_their_definitions(
    rng: np.random.Generator, dtype: Any, name: str
) -> None:
    y = random(rng, *SHAPE, dtype=dtype)
    target = y + random(rng, *SHAPE, dtype=dtype) * np.array([0, 1e-3, 0.1, 10], dtype)
    expected = {"l2": naive.l2_loss, "log-mse": naive.log_mse_loss}[name](y, target)
    loss = losses.LOSSES[name]
    assert loss.value(y, target) == pytest.approx(expected, rel=1e-6)
    assert type(loss.value(y, target)) is float
    assert loss.vjp(1.0, y, target).dtype == dtype


@pytest.mark.parametrize("name", ["l2", "log-mse"])
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_their_gradients_are_adjoints_also_where_a_share_is_added(
    rng: np.random.Generator, name: str, share: float
) -> None:
    target = random(rng, *SHAPE)
    y = target + random(rng, *SHAPE) * np.array([0, 0.03, 0.3, 1])
    loss = losses.loss_named(name, share)
    assert_vjp(
        lambda y: np.asarray(loss.value(y, target)),
        lambda dloss, y: [loss.vjp(float(dloss), y, target)],
        y,
    )
    assert not loss.vjp(1.0, y, y).any()


def test_an_l2_gradient_is_an_l1_gradient_where_the_error_is_five_levels() -> None:
    target = np.zeros(SHAPE)
    y = np.full(SHAPE, 1 / 50)
    np.testing.assert_allclose(
        losses.l2_loss_vjp(1.0, y, target), losses.l1_loss_vjp(1.0, y, target), rtol=1e-12
    )


def test_a_crop_without_errors_has_a_finite_loss_and_no_gradient() -> None:
    y = np.ones(SHAPE, np.float32)
    target = y.copy()
    target[1] += np.float32(0.5)
    expected = (np.log(1e-6) + np.log(0.25 + 1e-6)) / 2
    assert losses.log_mse_loss(y, target) == pytest.approx(expected)
    dy = losses.log_mse_loss_vjp(1.0, y, target)
    assert not dy[0].any()
    assert (dy[1] < 0).all()


@pytest.mark.parametrize("share", [0.0, 0.3])
@pytest.mark.parametrize("name", losses.LOSSES)
def test_the_terms_of_a_loss_add_up_to_it(
    rng: np.random.Generator, name: str, share: float
) -> None:
    y, target = random(rng, *SHAPE), random(rng, *SHAPE)
    loss = losses.loss_named(name, share)
    absolute, epsilon, square, log_mse, floor = loss.terms
    error = y - target
    crops = np.log(np.square(error).mean((1, 2, 3)) + floor).mean()
    total = absolute * np.hypot(error, epsilon).mean() + square * np.square(error).mean()
    assert loss.value(y, target) == pytest.approx(total + log_mse * crops, rel=1e-12)


@pytest.mark.parametrize("share", [-0.1, float("nan"), float("inf")])
def test_an_invalid_share_is_rejected(share: float) -> None:
    with pytest.raises(ValueError, match=f"log_share must be finite and not negative, got {share}"):
        losses.loss_named("l1", share)


@pytest.mark.parametrize("loss", losses.LOSSES.values(), ids=losses.LOSSES)
def test_a_loss_needs_equal_shapes_and_dtypes(loss: losses.Loss) -> None:
    y = np.ones(SHAPE)
    for target in (y[:1], y.astype(np.float32), y[0]):
        with pytest.raises(ValueError, match="must have one shape and dtype"):
            loss.value(y, target)
        with pytest.raises(ValueError, match="must have one shape and dtype"):
            loss.vjp(1.0, y, target)
    with pytest.raises(ValueError, match="not be empty"):
        loss.value(y[:0], y[:0])
    with pytest.raises(ValueError, match="not be empty"):
        loss.vjp(1.0, y[:0], y[:0])
