"""Sums in one fixed order without BLAS: the same bits on every machine, or exact in fractions.

Products and sums are separate elementwise operations, which NumPy rounds one by one on every
processor, so float64 results are reproducible.  On arrays of `fractions.Fraction` the same
functions are exact.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_ref import network as nw
from sesr_ref.checks import check_params
from sesr_ref.collapse import collapse_with
from sesr_ref.linear.compose import Arithmetic
from sesr_ref.linear.numbers import like
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.ops.table import REFERENCE

Anything = npt.NDArray[Any]
"""An array of float64, or of objects with addition and multiplication."""
BAND_VALUES = 1 << 16
"""Values of a band of rows that is processed at once; they stay in the cache."""


def conv2d(
    x: Anything, weight: Anything, bias: Anything | None = None, groups: int = 1
) -> Anything:
    """`sesr_ref.ops.conv.conv2d`, summed tap by tap and channel by channel, the bias last.

    Parameters
    ----------
    x : (n, height, width, in) array
        float64 or objects.
    weight : (k, k, in // groups, out) array
        Of the same kind as `x`.
    bias : (out,) array, optional
        Of the same kind as `x`.
    groups : int
        As in `sesr_ref.ops.conv.conv2d`.

    Returns
    -------
    (n, height, width, out) array
    """
    rows, columns, channels, features = weight.shape
    n, height, width, _ = x.shape
    around = ((0, 0), (rows // 2, rows // 2), (columns // 2, columns // 2), (0, 0))
    padded = np.pad(x, around, constant_values=x.dtype.type(0) if x.dtype != object else 0)
    y = np.zeros((n, height, width, features), x.dtype)
    size = max(1, BAND_VALUES // (width * features))
    per_group = features // groups
    for image in range(n):
        for top in range(0, height, size):
            band = y[image, top : top + size]
            for g in range(groups):
                part = padded[image, top : top + len(band) + rows - 1, :, g * channels :]
                own = slice(g * per_group, (g + 1) * per_group)
                _sum_taps(band[..., own], part, weight[..., own])
    return y if bias is None else y + bias


def _sum_taps(band: Anything, part: Anything, weight: Anything) -> None:
    height, width, _ = band.shape
    rows, columns, channels, _ = weight.shape
    product = np.empty_like(band)
    for i in range(rows):
        for j in range(columns):
            for c in range(channels):
                pixels = part[i : i + height, j : j + width, c, None]
                np.multiply(pixels, weight[i, j, c], out=product)
                np.add(band, product, out=band)


def conv_transpose2d(
    x: Anything,
    weight: Anything,
    bias: Anything | None = None,
    stride: int = 2,
    padding: int | None = None,
) -> Anything:
    """`sesr_ref.ops.conv_transpose.conv_transpose2d`, in a fixed order.

    Parameters
    ----------
    x : (n, height, width, in) array
        float64 or objects.
    weight : (k, k, in, out) array
        Of the same kind as `x`.
    bias : (out,) array, optional
        Of the same kind as `x`.
    stride, padding
        As in `sesr_ref.ops.conv_transpose.conv_transpose2d`.

    Returns
    -------
    (n, stride * height, stride * width, out) array
    """
    k, _, channels, features = weight.shape
    n, height, width, _ = x.shape
    top = (k - stride + 1) // 2 if padding is None else padding
    whole = (n, stride * height + k, stride * width + k, features)
    y = np.zeros(whole, x.dtype)
    for i in range(k):
        rows = slice(i, i + stride * height, stride)
        for j in range(k):
            columns = slice(j, j + stride * width, stride)
            for c in range(channels):
                y[:, rows, columns] += x[..., c, None] * weight[i, j, c]
    y = y[:, top : top + stride * height, top : top + stride * width]
    return np.ascontiguousarray(y) if bias is None else y + bias


FIXED_ORDER = replace(
    REFERENCE, name="fixed order", conv2d=conv2d, conv_transpose2d=conv_transpose2d
)
"""Operations whose float64 results have the same bits on every machine."""


def exact_params(net: nw.Network, params: Params) -> Params:
    """Compute the parameters of ``collapsed(net)`` in float64, with sums in a fixed order.

    Parameters
    ----------
    net, params
        With linear blocks or without.

    Returns
    -------
    dict of float64 arrays

    Raises
    ------
    ValueError
        If the parameters do not fit the network.
    """
    check_params(net, params)
    return collapse_with(net, {name: a.astype(np.float64) for name, a in params.items()}, FIXED)


def _product(left: Anything, right: Anything) -> Anything:
    """``left @ right``, summed over the inner index in order."""
    total: Anything = left[..., 0, None] * right[0]
    for inner in range(1, len(right)):
        total = total + left[..., inner, None] * right[inner]
    return total


FIXED = Arithmetic(_product)
"""Sums in a fixed order: the same bits on every machine, and exact for fractions."""


def fractions(x: Array) -> Anything:
    """Convert numbers to `fractions.Fraction`, exactly."""
    return like(np.asarray(x), np.empty(0, object))
