"""Operations on single values, and sums of tensors, each followed by its gradient."""

from __future__ import annotations

import math

import numpy as np

from sesr_ref.limits import check, one_of
from sesr_ref.ops.arrays import Array, check_images, check_same_dtype, check_shape


def prelu(x: Array, slope: Array) -> Array:
    """``x if x > 0 else slope * x``, one slope per channel.

    Parameters
    ----------
    x : (n, height, width, channels) float array
        Its dtype is also the result's.
    slope : (channels,) float array
        Slopes for negative values.

    Returns
    -------
    (n, height, width, channels) float array

    Raises
    ------
    ValueError
        If `slope` does not have one value per channel.
    """
    _check_channels(x, slope=slope)
    slope = slope.astype(x.dtype, copy=False)
    if (slope <= 1).all():  # then the result is max(x, slope * x): faster than masked copies
        y: Array = x * slope
        return np.maximum(y, x, out=y)
    y = np.minimum(x, 0)
    y *= slope
    y += np.maximum(x, 0)
    return y


def prelu_vjp(dy: Array, x: Array, slope: Array) -> tuple[Array, Array]:
    """Gradients of `prelu` with respect to `x` and `slope`; at 0 that of negative values."""
    _check_channels(x, slope=slope)
    check_same_dtype(dy, x.shape, x)
    dslope = np.einsum("nhwc,nhwc->c", dy, np.minimum(x, 0))
    return _gated(dy, x, slope.astype(x.dtype, copy=False)), dslope


def _gated(dy: Array, x: Array, slope: Array) -> Array:
    """``dy`` where `x` is above 0, ``slope * dy`` elsewhere; faster by products than by a mask."""
    positive = x > 0
    dx: Array = (~positive).astype(x.dtype)
    dx *= slope
    dx += positive
    dx *= dy
    return dx


def fake_quantize(x: Array, log_scale: Array, zero_point: int, low: int, high: int) -> Array:
    """Round to a grid and stay real: ``(clip(round(x / s) + z, low, high) - z) * s``.

    Parameters
    ----------
    x : (n, height, width, channels) float array
        Its dtype is also the result's.
    log_scale : (1,) float array
        Natural logarithm of the scale s.
    zero_point : int
        z, the integer that stands for 0.
    low, high : int
        Smallest and largest integer.

    Returns
    -------
    (n, height, width, channels) float array

    Raises
    ------
    ValueError
        If `log_scale` is not one number.
    """
    scale = _scale_of(x, log_scale)
    codes = np.clip(np.rint(x / scale), low - zero_point, high - zero_point)
    y: Array = codes * scale
    return y


def fake_quantize_vjp(
    dy: Array, x: Array, log_scale: Array, zero_point: int, low: int, high: int
) -> tuple[Array, Array]:
    """Gradients of `fake_quantize` with respect to `x`, straight through, and `log_scale`.

    Returns
    -------
    dx : array
        Shaped as `x`; 0 for values beyond the grid's ends.
    dlog_scale : (1,) array

    Notes
    -----
    Esser et al. (ICLR 2020), equation 3, for the scale's logarithm.
    """
    check_same_dtype(dy, x.shape, x)
    scale = _scale_of(x, log_scale)
    codes = np.rint(x / scale)
    clipped = np.clip(codes, low - zero_point, high - zero_point)
    inside = codes == clipped
    slope = clipped * scale - np.where(inside, x, 0)
    return dy * inside, np.sum(dy * slope, dtype=x.dtype).reshape(1)


def _scale_of(x: Array, log_scale: Array) -> Array:
    check_images(x)
    check_shape("log_scale", log_scale, (1,))
    scale: Array = np.exp(log_scale.astype(x.dtype, copy=False))
    return scale


def relu(x: Array) -> Array:
    """``max(x, 0)``."""
    check_images(x)
    y: Array = np.maximum(x, 0)
    return y


def relu_vjp(dy: Array, x: Array) -> Array:
    """Gradient of `relu`; 0 at 0."""
    check_same_dtype(dy, x.shape, x)
    dx: Array = dy * (x > 0)
    return dx


def leaky_relu(x: Array, slope: float) -> Array:
    """``x if x > 0 else slope * x`` with one fixed slope."""
    check_images(x)
    return prelu(x, np.full(x.shape[3], slope, x.dtype))


def leaky_relu_vjp(dy: Array, x: Array, slope: float) -> Array:
    """Gradient of `leaky_relu` with respect to `x`; at 0 that of negative values."""
    check_same_dtype(dy, x.shape, x)
    return _gated(dy, x, np.full(x.shape[3], slope, x.dtype))


def sigmoid(x: Array) -> Array:
    """``1 / (1 + exp(-x))``, in the form that cannot overflow."""
    check_images(x)
    small = np.exp(-np.abs(x))
    y: Array = np.where(x >= 0, x.dtype.type(1), small) / (1 + small)
    return y


def sigmoid_vjp(dy: Array, x: Array) -> Array:
    """Gradient of `sigmoid`: ``dy * y * (1 - y)``."""
    check_same_dtype(dy, x.shape, x)
    dx: Array = dy * sigmoid(x) * sigmoid(-x)
    return dx


def silu(x: Array) -> Array:
    """``x * sigmoid(x)``."""
    y: Array = x * sigmoid(x)
    return y


def silu_vjp(dy: Array, x: Array) -> Array:
    """Gradient of `silu`."""
    check_same_dtype(dy, x.shape, x)
    gate = sigmoid(x)
    dx: Array = dy * gate * (1 + x * sigmoid(-x))
    return dx


def tanh(x: Array) -> Array:
    """``tanh(x)``."""
    check_images(x)
    y: Array = np.tanh(x)
    return y


def tanh_vjp(dy: Array, x: Array) -> Array:
    """Gradient of `tanh`: ``dy * (1 - y**2)``."""
    check_same_dtype(dy, x.shape, x)
    dx: Array = dy * (1 - np.tanh(x) ** 2)
    return dx


_ERF = np.frompyfunc(math.erf, 1, 1)
_CUBIC = 0.044715
"""Constant of GELU's approximation by tanh (Hendrycks and Gimpel, 2016)."""


def gelu(x: Array, approximate: str = "none") -> Array:
    """``x * Phi(x)``, Phi the normal distribution function; "tanh" is its usual approximation."""
    check_images(x)
    y: Array = x * _normal(x, approximate)
    return y


def gelu_vjp(dy: Array, x: Array, approximate: str = "none") -> Array:
    """Gradient of `gelu`."""
    check_same_dtype(dy, x.shape, x)
    below = _normal(x, approximate)
    if approximate == "none":
        density = np.exp(-x * x / 2) / x.dtype.type(math.sqrt(2 * math.pi))
    else:
        inner = x.dtype.type(math.sqrt(2 / math.pi)) * (1 + 3 * _CUBIC * x * x)
        density = 2 * below * (1 - below) * inner
    dx: Array = dy * (below + x * density)
    return dx


def _normal(x: Array, approximate: str) -> Array:
    """The normal distribution function at `x`, or its approximation."""
    one_of("approximate", approximate, ("none", "tanh"))
    if approximate == "none":
        share: Array = _ERF(x / math.sqrt(2)).astype(x.dtype) / 2 + x.dtype.type(0.5)
        return share
    y: Array = np.tanh(x.dtype.type(math.sqrt(2 / math.pi)) * (x + _CUBIC * x**3)) / 2
    return y + x.dtype.type(0.5)


def gain(x: Array, gain: Array) -> Array:
    """``x * gain``, one factor per channel."""
    _check_channels(x, gain=gain)
    y: Array = x * gain.astype(x.dtype, copy=False)
    return y


def gain_vjp(dy: Array, x: Array, gain: Array) -> tuple[Array, Array]:
    """Gradients of `gain` with respect to `x` and the factors."""
    _check_channels(x, gain=gain)
    check_same_dtype(dy, x.shape, x)
    return dy * gain.astype(x.dtype, copy=False), np.einsum("nhwc,nhwc->c", dy, x)


def batch_norm(
    x: Array, scale: Array, offset: Array, mean: Array, var: Array, eps: float = 1e-5
) -> Array:
    """``(x - mean) / sqrt(var + eps) * scale + offset`` with stored statistics.

    Parameters
    ----------
    x : (n, height, width, channels) float array
        Its dtype is also the result's.
    scale, offset, mean, var : (channels,) float arrays
        One value per channel; `var` is not negative.
    eps : float
        Added to the variances.

    Returns
    -------
    (n, height, width, channels) float array

    Raises
    ------
    ValueError
        If a parameter does not have one value per channel, or a variance is negative.

    Notes
    -----
    Ioffe and Szegedy, "Batch Normalization" (ICML 2015), as at inference.
    """
    _check_channels(x, scale=scale, offset=offset, mean=mean, var=var)
    check(not (var < 0).any(), "every variance", "0 or more", var.min())
    factor = scale / np.sqrt(var + var.dtype.type(eps))
    y: Array = (x - mean.astype(x.dtype)) * factor.astype(x.dtype) + offset.astype(x.dtype)
    return y


def batch_norm_vjp(
    dy: Array, x: Array, scale: Array, offset: Array, mean: Array, var: Array, eps: float = 1e-5
) -> tuple[Array, Array, Array, Array, Array]:
    """Gradients of `batch_norm`; those of the stored statistics are 0: they are not learned."""
    _check_channels(x, scale=scale, offset=offset, mean=mean, var=var)
    check_same_dtype(dy, x.shape, x)
    inverse = (1 / np.sqrt(var + var.dtype.type(eps))).astype(x.dtype)
    dscale = np.einsum("nhwc,nhwc->c", dy, x - mean.astype(x.dtype)) * inverse
    still = np.zeros(mean.shape, x.dtype)
    return dy * (scale.astype(x.dtype) * inverse), dscale, dy.sum((0, 1, 2)), still, still


def _check_channels(x: Array, **params: Array) -> None:
    check_images(x)
    for name, value in params.items():
        check_shape(name, value, x.shape[3:])


def multiply(x: Array, y: Array) -> Array:
    """Product of two tensors; if `y` has one channel, it is repeated over the channels of `x`."""
    _check_one_shape("multiply", x, y)
    z: Array = x * y
    return z


def multiply_vjp(dz: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """Gradients of `multiply` with respect to both operands."""
    check_same_dtype(dz, x.shape, x)
    dy = dz * x
    return dz * y, dy if y.shape == x.shape else dy.sum(3, keepdims=True)


def add(*xs: Array) -> Array:
    """Sum of tensors; one-channel tensors are repeated over the channels of the first.

    Parameters
    ----------
    *xs : (n, height, width, channels) or (n, height, width, 1) float arrays
        At least one, added from left to right.

    Returns
    -------
    (n, height, width, channels) float array
        A new array, even for one operand.

    Raises
    ------
    ValueError
        If a shape differs from the first one by more than having one channel, or dtypes differ.
    """
    _check_one_shape("add", *xs)
    total = xs[0].copy()
    for other in xs[1:]:
        total += other
    return total


def add_vjp(dy: Array, *xs: Array) -> tuple[Array, ...]:
    """Gradients of `add` with respect to each operand."""
    check_same_dtype(dy, xs[0].shape, xs[0])
    return tuple(dy if x.shape == dy.shape else dy.sum(3, keepdims=True) for x in xs)


def concat(*xs: Array) -> Array:
    """Join along the channels."""
    _check_alike(xs)
    if len({x.shape[:3] for x in xs}) > 1:
        raise ValueError(f"cannot join arrays of shapes {[x.shape for x in xs]}")
    return np.concatenate(xs, axis=3)


def concat_vjp(dy: Array, *xs: Array) -> tuple[Array, ...]:
    """Gradients of `concat` with respect to each operand."""
    ends = np.cumsum([x.shape[3] for x in xs])
    check_same_dtype(dy, (*xs[0].shape[:3], int(ends[-1])), xs[0])
    return tuple(np.split(dy, ends[:-1], axis=3))


def _check_alike(xs: tuple[Array, ...]) -> None:
    for x in xs:
        check_images(x)
    dtypes = [x.dtype for x in xs]
    check(len(set(dtypes)) <= 1, "the dtypes of operands", "equal", dtypes)


def _check_one_shape(verb: str, first: Array, *others: Array) -> None:
    """The others must have the first one's shape, or that with one channel."""
    _check_alike((first, *others))
    for other in others:
        if other.shape not in (first.shape, (*first.shape[:3], 1)):
            raise ValueError(f"cannot {verb} arrays of shapes {first.shape} and {other.shape}")


def shift(x: Array, offset: float) -> Array:
    """``x + offset``."""
    check_images(x)
    y: Array = x + x.dtype.type(offset)
    return y


def shift_vjp(dy: Array, x: Array, offset: float) -> Array:
    """Gradient of `shift` with respect to `x`."""
    check_same_dtype(dy, x.shape, x)
    return dy


def scale(x: Array, factor: float) -> Array:
    """``x * factor``."""
    check_images(x)
    y: Array = x * x.dtype.type(factor)
    return y


def scale_vjp(dy: Array, x: Array, factor: float) -> Array:
    """Gradient of `scale` with respect to `x`."""
    check_same_dtype(dy, x.shape, x)
    dx: Array = dy * x.dtype.type(factor)
    return dx


def clip(x: Array, low: float, high: float) -> Array:
    """``min(max(x, low), high)``; NaN stays NaN."""
    check_images(x)
    y: Array = np.clip(x, x.dtype.type(low), x.dtype.type(high))
    return y


def clip_vjp(dy: Array, x: Array, low: float, high: float) -> Array:
    """Gradient of `clip`: `dy` inside [low, high], 0 outside (as TensorFlow's)."""
    check_same_dtype(dy, x.shape, x)
    dx: Array = dy * ((x >= x.dtype.type(low)) & (x <= x.dtype.type(high)))
    return dx
