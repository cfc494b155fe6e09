"""Convolutions by matrix products over bands of rows (see `patches`), and their gradients."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sesr_ref.limits import check
from sesr_ref.ops.arrays import Array, check_images, check_same_dtype, check_shape
from sesr_ref.ops.patches import bands, matrix_count


def conv2d(x: Array, weight: Array, bias: Array | None = None, groups: int = 1) -> Array:
    """Convolve with stride 1 and zero 'same' padding.

    ``y[n, h, w, o] = bias[o] + sum_{i,j,c} x[n, h+i-k//2, w+j-k//2, c] * weight[i, j, c, o]``

    Parameters
    ----------
    x : (n, height, width, in) float array
        float32 or float64, which is also the result's dtype.
    weight : (k, k, in // groups, out) float array
        Odd `k`, or odd rows and columns that differ; cross-correlation order, as in TensorFlow.
    bias : (out,) float array, optional
        Added to every pixel.
    groups : int
        Number of independent convolutions into which the channels are split.

    Returns
    -------
    (n, height, width, out) float array

    Raises
    ------
    ValueError
        If `k` is even, or the channels of `x`, `weight` and `bias` do not fit.

    Notes
    -----
    Bhardwaj et al. (MLSys 2022), section 3.1.  Agrees with TensorFlow `nn.conv2d`, padding SAME.
    """
    _check_conv(x, weight, bias, groups)
    weight, _ = _squared(weight)
    channels = _groups(x.shape[3], weight.shape[3], groups)
    y = _join([_convolve(x[..., xs], weight[..., ys]) for xs, ys in channels])
    if bias is not None:
        y += bias.astype(x.dtype, copy=False)
    return y


def conv2d_vjp(
    dy: Array, x: Array, weight: Array, bias: Array | None = None, groups: int = 1
) -> tuple[Array, Array, Array | None]:
    """Gradients of `conv2d` with respect to `x`, `weight` and `bias`, given the result's.

    Parameters
    ----------
    dy : (n, height, width, out) float array
        Gradient of the result.
    x, weight, bias, groups
        As given to `conv2d`.

    Returns
    -------
    dx, dweight : float arrays
        Shaped as `x` and `weight`, in the dtype of `x`.
    dbias : (out,) float array or None
        None without a bias.

    Raises
    ------
    ValueError
        As `conv2d`, or if `dy` does not have the result's shape and dtype.
    """
    _check_conv(x, weight, bias, groups)
    check_same_dtype(dy, (*x.shape[:3], weight.shape[3]), x)
    weight, own = _squared(weight)
    channels = _groups(x.shape[3], weight.shape[3], groups)
    grads = [_convolve_vjp(dy[..., ys], x[..., xs], weight[..., ys]) for xs, ys in channels]
    dx, dweight = (_join(list(of_groups)) for of_groups in zip(*grads, strict=True))
    return dx, dweight[own], None if bias is None else dy.sum((0, 1, 2))


def _squared(weight: Array) -> tuple[Array, tuple[slice, slice]]:
    """Pad a weight with zeros to a square, and return where the weight lies in it."""
    rows, columns = weight.shape[:2]
    if rows == columns:
        return weight, (slice(None), slice(None))
    side = max(rows, columns)
    top, left = (side - rows) // 2, (side - columns) // 2
    place = slice(top, top + rows), slice(left, left + columns)
    square = np.zeros((side, side, *weight.shape[2:]), weight.dtype)
    square[place] = weight
    return square, place


def _convolve(x: Array, weight: Array) -> Array:
    k, _, _, features = weight.shape
    y = np.empty((*x.shape[:3], features), x.dtype)
    split = _split(weight, x)
    for image, rows, patches in bands(x, k, features):
        _add_products(patches, split, y[image, rows].reshape(-1, features))
    return y


def _convolve_vjp(dy: Array, x: Array, weight: Array) -> tuple[Array, Array]:
    """Compute both gradients from patches of `dy`: that of `x` is also a convolution of them."""
    k, _, channels, features = weight.shape
    dx = np.empty(x.shape, x.dtype)
    split = _split(_reversed(weight), dy)
    dsplit = np.zeros_like(split)
    for image, rows, patches in bands(dy, k, channels):
        _add_products(patches, split, dx[image, rows].reshape(-1, channels))
        pixels = x[image, rows].reshape(-1, channels)
        for total, part in zip(dsplit, patches, strict=True):
            total += part.T @ pixels
    return dx, np.ascontiguousarray(_reversed(dsplit.reshape(k, k, features, channels)))


def _split(weight: Array, x: Array) -> Array:
    """Split the weight into one matrix for each matrix that `bands` yields."""
    k, _, channels, features = weight.shape
    return weight.astype(x.dtype, copy=False).reshape(matrix_count(k, channels), -1, features)


def _add_products(patches: list[Array], split: Array, out: Array) -> None:
    np.matmul(patches[0], split[0], out=out)
    for part, matrix in zip(patches[1:], split[1:], strict=True):
        out += part @ matrix


def _reversed(weight: Array) -> Array:
    return weight[::-1, ::-1].swapaxes(2, 3)


def _groups(channels: int, features: int, groups: int) -> Iterator[tuple[slice, slice]]:
    for g in range(groups):
        yield (
            slice(g * channels // groups, (g + 1) * channels // groups),
            slice(g * features // groups, (g + 1) * features // groups),
        )


def _join(groups: list[Array]) -> Array:
    return groups[0] if len(groups) == 1 else np.concatenate(groups, axis=3)


def _check_conv(x: Array, weight: Array, bias: Array | None, groups: int) -> None:
    check_images(x)
    odd = weight.ndim == 4 and all(side % 2 for side in weight.shape[:2])
    check(odd, "the shape of weight", "(k, k, in, out) with odd k", weight.shape)
    check(groups >= 1, "groups", "1 or more", groups)
    channels, features = x.shape[3], weight.shape[3]
    fits = channels == groups * weight.shape[2] and features % groups == 0
    needed = f"(k, k, {channels}/{groups}, a multiple of {groups}) for {groups} group(s)"
    check(fits, "the shape of weight", needed, weight.shape)
    check_bias(bias, features)


def check_bias(bias: Array | None, features: int) -> None:
    """Raise ValueError unless `bias` is None or has `features` values."""
    if bias is not None:
        check_shape("bias", bias, (features,))
