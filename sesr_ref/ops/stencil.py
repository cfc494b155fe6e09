"""Convolution of every channel with the same fixed taps, and its gradients."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sesr_ref.ops.arrays import Array, check_images, check_same_dtype, check_shape
from sesr_ref.ops.conv import check_bias

Taps = tuple[tuple[float, ...], ...]


def stencil(x: Array, taps: Taps, factor: Array | None = None, bias: Array | None = None) -> Array:
    """Convolve each channel with the same taps, zero 'same' padding.

    ``y[n, h, w, c] = bias[c] + factor[c] * sum_{i,j} x[n, h+i-r, w+j-s, c] * taps[i][j]``

    Parameters
    ----------
    x : (n, height, width, channels) float array
        Its dtype is also the result's.
    taps : tuple of rows of float
        An odd number in both directions.
    factor, bias : (channels,) float arrays, optional
        One value per channel.

    Returns
    -------
    (n, height, width, channels) float array

    Raises
    ------
    ValueError
        If there is not one factor or bias per channel.

    Notes
    -----
    Zhang et al., "Edge-oriented Convolution Block for Real-time Super Resolution on Mobile
    Devices" (ACM MM 2021), section 3.2.
    """
    _check(x, factor, bias)
    y = _summed(x, taps)
    if factor is not None:
        y *= factor.astype(x.dtype, copy=False)
    if bias is not None:
        y += bias.astype(x.dtype, copy=False)
    return y


def stencil_vjp(
    dy: Array, x: Array, taps: Taps, factor: Array | None = None, bias: Array | None = None
) -> tuple[Array, Array | None, Array | None]:
    """Gradients of `stencil` with respect to `x`, the factors and the biases."""
    _check(x, factor, bias)
    check_same_dtype(dy, x.shape, x)
    reverse = tuple(row[::-1] for row in taps[::-1])
    inner = dy if factor is None else dy * factor.astype(x.dtype, copy=False)
    dfactor = None if factor is None else np.einsum("nhwc,nhwc->c", dy, _summed(x, taps))
    return _summed(inner, reverse), dfactor, None if bias is None else dy.sum((0, 1, 2))


def _check(x: Array, factor: Array | None, bias: Array | None) -> None:
    check_images(x)
    check_bias(bias, x.shape[3])
    if factor is not None:
        check_shape("factor", factor, x.shape[3:])


def _summed(x: Array, taps: Taps) -> Array:
    rows, columns = len(taps) // 2, len(taps[0]) // 2
    _, height, width, _ = x.shape
    padded = np.pad(x, ((0, 0), (rows, rows), (columns, columns), (0, 0)))
    y = np.zeros_like(x)
    for i, j, tap in _nonzero(taps):
        y += padded[:, i : i + height, j : j + width] * x.dtype.type(tap)
    return y


def _nonzero(taps: Taps) -> Iterator[tuple[int, int, float]]:
    for i, row in enumerate(taps):
        yield from ((i, j, tap) for j, tap in enumerate(row) if tap)
