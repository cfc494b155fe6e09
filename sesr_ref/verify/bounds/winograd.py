"""How much larger rounding errors of Winograd's convolutions are than those of a plain sum.

A tile of F(m x n, 3 x 3) is ``y = A' [(G g G') * (B' d B)] A``.  With absolute values everywhere,
the same expression bounds every intermediate number, and each element of the result is a sum of
products with a fixed number of roundings.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from sesr_ref.limits import one_of
from sesr_ref.ops.arrays import Array

POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)
"""Interpolation points in the order in which usual tiles use them, infinity last."""
TILES = (1, 2, 4, 6)
"""Output sizes of a tile along one axis; 1 is the plain convolution."""
TAPS = 3


@lru_cache
def transforms(size: int) -> tuple[Array, Array, Array]:
    """Toom and Cook's matrices A' (size, a), G (a, 3), B' (a, a) with ``a = size + 2``.

    Parameters
    ----------
    size : int
        Outputs of the one-dimensional tile F(size, 3): one of `TILES`.

    Returns
    -------
    tuple of float64 arrays
        ``A' ((G g) * (B' d))`` is the correlation of ``a`` samples d with 3 taps g.

    Raises
    ------
    ValueError
        For another size.

    Notes
    -----
    Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016); their matrices
    scale rows of G against those of B', which leaves the products unchanged.
    """
    one_of("a Winograd tile's size", size, TILES)
    if size == 1:
        return np.ones((1, TAPS)), np.eye(TAPS), np.eye(TAPS)
    points = np.array(POINTS[: size + 1])
    powers = points[:, None] ** np.arange(max(size, TAPS))
    last = np.eye(1, TAPS, TAPS - 1)
    others = [np.delete(points, j) for j in range(len(points))]
    scale = np.array([np.prod(p - rest) for p, rest in zip(points, others, strict=True)])
    after = np.vstack([powers[:, :size], np.eye(1, size, size - 1)]).T
    weights = np.vstack([powers[:, :TAPS] / scale[:, None], last])
    rows = [np.append(np.poly(rest)[::-1], 0.0) for rest in others]
    return after, weights, np.array([*rows, np.poly(points)[::-1]])


def amplified(weight: Array, tiles: tuple[int, int], power: int) -> Array:
    """Coefficient with which one input channel's pixels enter one output channel, to `power`.

    Parameters
    ----------
    weight : (3, 3, in, out) float array
        As stored.
    tiles : (int, int)
        Output rows and columns of a tile.
    power : {1, 2}
        1: its product with the largest ``|x|`` in reach of a tile bounds every partial sum.
        2: its product with the largest ``x**2`` is the variance of a sum of independent terms.

    Returns
    -------
    (in, out) float64 array
    """
    (after_y, weights_y, before_y), (after_x, weights_x, before_x) = map(transforms, tiles)
    if power == 1:
        weight, weights_y, weights_x = np.abs(weight), np.abs(weights_y), np.abs(weights_x)
    kernel = np.abs(np.einsum("ai,bj,ijco->abco", weights_y, weights_x, weight)) ** power
    rows, columns = ((np.abs(before) ** power).sum(1) for before in (before_y, before_x))
    out = [np.abs(after) ** power for after in (after_y, after_x)]
    sums = np.einsum("ya,xb,a,b,abco->yxco", *out, rows, columns, kernel, optimize=True)
    return np.asarray(sums.max((0, 1)))


def roundings(channels: int, tiles: tuple[int, int]) -> int:
    """Largest number of roundings on a path from a pixel to the result.

    Along an axis with ``a = size + 2`` samples: a in the input transform, 3 in the weights', a in
    the output transform; along an axis without a transform, 3 taps.  Then a product and the sum
    over the channels.

    Parameters
    ----------
    channels : int
        Channels of the input.
    tiles : (int, int)
        Output rows and columns of a tile.

    Returns
    -------
    int
    """
    along = sum(2 * (size + 2) + TAPS if size > 1 else TAPS for size in tiles)
    return 1 + channels + along


def largest_nearby(x: Array, tiles: tuple[int, int]) -> Array:
    """For each pixel of `x` (n, h, w, c), the largest value that can share a tile with it."""
    for axis, size in ((1, tiles[0]), (2, tiles[1])):
        x = _running_max(x, size, axis)
    return x


def _running_max(x: Array, reach: int, axis: int) -> Array:
    padding = [(0, 0)] * x.ndim
    padding[axis] = (reach, reach)
    padded = np.pad(x, padding)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis)
    return np.asarray(windows.max(-1))
