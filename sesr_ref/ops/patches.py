"""Patches of images as matrices, a band of rows at a time, so that BLAS computes a convolution.

There are two layouts, chosen by how fast they are copied.  With more than a few channels, a row of
the matrix is *one* row of a patch, ``k * channels`` consecutive numbers.  The same matrix, read
from its i-th image row on, serves the i-th row of the kernel, so a pixel is copied k times instead
of k * k times.  With few channels such copies would be too short; then a whole patch is a column of
the matrix, and the copies run along the image's rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from sesr_ref.ops.arrays import Array

BAND_BYTES = 3 << 20
"""Size of one band's matrix and products: fits the last cache, and is long enough for BLAS."""
BAND_ROWS = 9
"""Fewest rows of a band: the rows above and below it are copied again for each band."""
FEW_CHANNELS = 3

Matrices = Callable[[int], list[Array]]
"""Function from the number of rows of the current band to its matrices."""


def matrix_count(k: int, channels: int) -> int:
    """Number of matrices that `bands` yields; a (k, k, channels, out) weight is split likewise."""
    return 1 if k == 1 or channels <= FEW_CHANNELS else k


def bands(x: Array, k: int, features: int) -> Iterator[tuple[int, slice, list[Array]]]:
    """Yield the patches around all pixels, with zeros beyond the images' borders.

    Parameters
    ----------
    x : (n, height, width, channels) float array
        The images.
    k : int
        Odd size of the patches.
    features : int
        Numbers per pixel that the caller computes; they count towards the size of a band.

    Yields
    ------
    image : int
        Index of the image.
    rows : slice
        The band's rows; the bands cover the image from top to bottom.
    matrices : list of (pixels, k * k * channels / matrix_count) arrays
        The sum of their products with the split weight is the convolution; valid until the next
        band.
    """
    n, height, width, channels = x.shape
    if not x.size:
        return
    if k == 1:
        yield from ((i, slice(0, height), [x[i].reshape(-1, channels)]) for i in range(n))
        return
    pad, split = k // 2, matrix_count(k, channels)
    row_bytes = width * x.itemsize * (k * k * channels // split + features)
    count = min(height, max(BAND_ROWS, BAND_BYTES // row_bytes - 2 * pad))
    padded = np.zeros((count + 2 * pad, width + 2 * pad, channels), x.dtype)
    matrices = (_whole_patches if split == 1 else _rows_of_patches)(padded, k)
    for image in range(n):
        for top in range(0, height, count):
            rows = slice(top, min(top + count, height))
            _fill_band(padded, x[image], top - pad)
            yield image, rows, matrices(rows.stop - top)


def _fill_band(padded: Array, image: Array, top: int) -> None:
    """Copy the rows from `top` on to the middle columns; rows outside the image become 0."""
    first, last = max(top, 0), min(top + len(padded), len(image))
    pad = (padded.shape[1] - image.shape[1]) // 2
    padded[: first - top] = 0
    padded[last - top :] = 0
    padded[first - top : last - top, pad : padded.shape[1] - pad] = image[first:last]


def _rows_of_patches(padded: Array, k: int) -> Matrices:
    height, width, channels = len(padded), padded.shape[1] - k + 1, padded.shape[2]
    windows = np.lib.stride_tricks.as_strided(
        padded, (height, width, k * channels), padded.strides, writeable=False
    )
    patches = np.empty(windows.shape, padded.dtype)

    def matrices(count: int) -> list[Array]:
        np.copyto(patches[: count + k - 1], windows[: count + k - 1])
        flat = patches.reshape(-1, k * channels)
        return [flat[i * width : (i + count) * width] for i in range(k)]

    return matrices


def _whole_patches(padded: Array, k: int) -> Matrices:
    height, width, channels = len(padded) - k + 1, padded.shape[1] - k + 1, padded.shape[2]
    row, pixel, item = padded.strides
    windows = np.lib.stride_tricks.as_strided(
        padded, (k, k, channels, height, width), (row, pixel, item, row, pixel), writeable=False
    )
    patches = np.empty(windows.size, padded.dtype)

    def matrices(count: int) -> list[Array]:
        some = windows[..., :count, :]
        flat = patches[: some.size]
        np.copyto(flat.reshape(some.shape), some)
        return [flat.reshape(k * k * channels, -1).T]

    return matrices
