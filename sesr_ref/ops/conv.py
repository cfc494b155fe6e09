"""Convolutions by matrix products over bands of rows (see `patches`), and their gradients."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sesr_ref.ops.arrays import Array, check_images, check_same_dtype
from sesr_ref.ops.patches import bands, parts


def conv2d(x: Array, weight: Array, bias: Array | None = None, groups: int = 1) -> Array:
    """Convolve with stride 1 and zero 'same' padding.

    ``y[n, h, w, o] = bias[o] + sum_{i,j,c} x[n, h+i-k//2, w+j-k//2, c] * weight[i, j, c, o]``

    Parameters
    ----------
    x : (n, height, width, in) float array
        float32 or float64, which is also the result's.
    weight : (k, k, in // groups, out) float array
        Odd `k`, or odd rows and columns that differ; cross-correlation order, as in TensorFlow.
    bias : (out,) float array, optional
        Added to every pixel.
    groups : int
        Input and output channels are split into this many independent convolutions.

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
    """Gradients of `conv2d` with respect to `x`, `weight` and `bias`, given that of its result.

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
        As `conv2d`, or if `dy` has not the result's shape and dtype.
    """
    _check_conv(x, weight, bias, groups)
    check_same_dtype(dy, (*x.shape[:3], weight.shape[3]), x)
    weight, own = _squared(weight)
    channels = _groups(x.shape[3], weight.shape[3], groups)
    grads = [_convolve_vjp(dy[..., ys], x[..., xs], weight[..., ys]) for xs, ys in channels]
    dx, dweight = (_join(list(of_groups)) for of_groups in zip(*grads, strict=True))
    return dx, dweight[own], None if bias is None else dy.sum((0, 1, 2))


def _squared(weight: Array) -> tuple[Array, tuple[slice, slice]]:
    """A weight with zeros around it that make it square, and its own place in that."""
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
    """Both gradients from the patches of `dy`: that of `x` is a convolution of them too."""
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
    """The weight as `bands` wants it multiplied."""
    k, _, channels, features = weight.shape
    return weight.astype(x.dtype, copy=False).reshape(parts(k, channels), -1, features)


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
    if weight.ndim != 4 or any(side % 2 == 0 for side in weight.shape[:2]):
        raise ValueError(f"weight must be (k, k, in, out) with odd k, got shape {weight.shape}")
    channels, features = x.shape[3], weight.shape[3]
    if groups < 1 or channels != groups * weight.shape[2] or features % groups:
        raise ValueError(
            f"weight {weight.shape} in {groups} group(s) does not fit {channels} input channels"
        )
    check_bias(bias, features)


def check_bias(bias: Array | None, features: int) -> None:
    """Raise ValueError unless there is no bias or one of `features` values."""
    if bias is not None and bias.shape != (features,):
        raise ValueError(f"bias must have shape ({features},), got {bias.shape}")
