"""Losses that training minimises, each followed by its gradient, and their table."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sesr_ref.limits import check, one_of
from sesr_ref.ops.arrays import Array


def l1_loss(y: Array, target: Array) -> float:
    """Mean absolute error over all elements; ValueError if shapes differ or are empty."""
    _check_pair(y, target)
    return float(np.mean(np.abs(y - target), dtype=np.float64))


def l1_loss_vjp(dloss: float, y: Array, target: Array) -> Array:
    """Gradient of `l1_loss` with respect to `y`; 0 where they are equal."""
    _check_pair(y, target)
    dy: Array = np.sign(y - target) * y.dtype.type(dloss / y.size)
    return dy


CHARBONNIER_EPSILON = 1e-3
"""Error where `charbonnier_loss` turns from square to absolute: a quarter of an 8-bit level."""


def charbonnier_loss(y: Array, target: Array) -> float:
    """Mean of ``sqrt(error**2 + epsilon**2)``: `l1_loss`, smooth at 0 (Lai et al., CVPR 2017)."""
    _check_pair(y, target)
    return float(np.mean(_softened(y - target), dtype=np.float64))


def charbonnier_loss_vjp(dloss: float, y: Array, target: Array) -> Array:
    """Gradient of `charbonnier_loss` with respect to `y`."""
    _check_pair(y, target)
    error = y - target
    dy: Array = error / _softened(error) * y.dtype.type(dloss / y.size)
    return dy


def _softened(error: Array) -> Array:
    result: Array = np.sqrt(error * error + error.dtype.type(CHARBONNIER_EPSILON**2))
    return result


L2_SCALE = 25.0
"""Factor of `l2_loss` on the mean squared error.

With it, gradients equal those of `l1_loss` for errors of 1/50, five 8-bit levels, as in trained
networks.  Without it they would be 25 times smaller, and Adam's epsilon of 1e-7, which is added to
their size, would slow down the weights with the smallest gradients.
"""


def l2_loss(y: Array, target: Array) -> float:
    """`L2_SCALE` times the mean squared error over all elements."""
    _check_pair(y, target)
    return float(L2_SCALE * np.mean(np.square(y - target), dtype=np.float64))


def l2_loss_vjp(dloss: float, y: Array, target: Array) -> Array:
    """Gradient of `l2_loss` with respect to `y`."""
    _check_pair(y, target)
    dy: Array = (y - target) * y.dtype.type(2 * L2_SCALE * dloss / y.size)
    return dy


LOG_MSE_FLOOR = 1e-6
"""Added to a crop's mean squared error before its logarithm: about the rounding error of 8 bits.

Without it a few crops of plain sky would outweigh all others.
"""


def log_mse_loss(y: Array, target: Array) -> float:
    """Mean over images of ``log(mean squared error + LOG_MSE_FLOOR)``: a negated mean PSNR."""
    _check_pair(y, target)
    return float(np.mean(np.log(_squares(y, target) + LOG_MSE_FLOOR)))


def log_mse_loss_vjp(dloss: float, y: Array, target: Array) -> Array:
    """Gradient of `log_mse_loss` with respect to `y`."""
    _check_pair(y, target)
    factors = 2 * dloss / y.size / (_squares(y, target) + LOG_MSE_FLOOR)
    dy: Array = (y - target) * factors.reshape(-1, 1, 1, 1).astype(y.dtype)
    return dy


def _squares(y: Array, target: Array) -> Array:
    """Mean squared error of each image, in float64."""
    squares: Array = np.square(y - target).reshape(len(y), -1).mean(1, dtype=np.float64)
    return squares


class Terms(NamedTuple):
    """A loss as a sum of terms, for the kernels.

    ``absolute * mean(sqrt(error**2 + epsilon**2)) + square * mean(error**2)
    + log_mse * mean over images of log(mean(error**2) + floor)``
    """

    absolute: float = 0.0
    epsilon: float = 0.0
    square: float = 0.0
    log_mse: float = 0.0
    floor: float = LOG_MSE_FLOOR


class Loss(NamedTuple):
    """A loss as a function of output and target, its gradient for the output, and its terms."""

    value: Callable[[Array, Array], float]
    vjp: Callable[[float, Array, Array], Array]
    terms: Terms


LOSSES = {
    "l1": Loss(l1_loss, l1_loss_vjp, Terms(absolute=1.0)),
    "charbonnier": Loss(
        charbonnier_loss, charbonnier_loss_vjp, Terms(absolute=1.0, epsilon=CHARBONNIER_EPSILON)
    ),
    "l2": Loss(l2_loss, l2_loss_vjp, Terms(square=L2_SCALE)),
    "log-mse": Loss(log_mse_loss, log_mse_loss_vjp, Terms(log_mse=1.0)),
}
"""Losses that `sesr_ref.loss_and_grads` computes, by name."""


def loss_named(name: str, log_share: float = 0.0) -> Loss:
    """Look up a loss, with `log_share` times `log_mse_loss` added to it.

    Parameters
    ----------
    name : str
        A key of `LOSSES`.
    log_share : float
        At least 0.

    Returns
    -------
    Loss

    Raises
    ------
    ValueError
        If the loss is unknown, or the share is negative or not finite.
    """
    one_of("the loss", name, LOSSES)
    check(0 <= log_share < math.inf, "log_share", "finite and not negative", log_share)
    return _with_share(LOSSES[name], log_share) if log_share else LOSSES[name]


def _with_share(loss: Loss, share: float) -> Loss:
    def value(y: Array, target: Array) -> float:
        return loss.value(y, target) + share * log_mse_loss(y, target)

    def vjp(dloss: float, y: Array, target: Array) -> Array:
        return loss.vjp(dloss, y, target) + log_mse_loss_vjp(share * dloss, y, target)

    return Loss(value, vjp, loss.terms._replace(log_mse=loss.terms.log_mse + share))


def _check_pair(y: Array, target: Array) -> None:
    if y.shape != target.shape or y.dtype != target.dtype or not y.size:
        raise ValueError(
            "output and target must have one shape and dtype and not be empty, got "
            f"{y.dtype} of shape {y.shape} and {target.dtype} of shape {target.shape}"
        )
