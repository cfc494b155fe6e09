"""Operations that move or interpolate pixels, each followed by its gradient."""

from __future__ import annotations

import numpy as np

from sesr_ref.limits import check, one_of
from sesr_ref.ops.arrays import Array, check_images, check_same_dtype
from sesr_ref.ops.resampling import resample_matrix


def depth_to_space(x: Array, block: int, mode: str = "DCR") -> Array:
    """Channels to pixels: (n, h, w, b*b*c) -> (n, b*h, b*w, c).

    Parameters
    ----------
    x : (n, height, width, block**2 * channels) array
        Any dtype.
    block : int
        The enlargement, at least 1.
    mode : {"DCR", "CRD"}
        Channel ``(row*b + column)*c + channel`` (TensorFlow) or ``(channel*b + row)*b + column``
        (PyTorch's pixel_shuffle).

    Returns
    -------
    (n, block * height, block * width, channels) array

    Raises
    ------
    ValueError
        If the channels are not a multiple of ``block**2`` or the mode is unknown.
    """
    _check_block(x, block)
    n, height, width, channels = x.shape
    check(channels % block**2 == 0, "channels", f"a multiple of {block}**2", channels)
    split, order, _ = _layout(mode, block, channels // block**2)
    y = x.reshape(n, height, width, *split).transpose(order)
    return y.reshape(n, height * block, width * block, channels // block**2)


def depth_to_space_vjp(dy: Array, block: int, mode: str = "DCR") -> Array:
    """Gradient of `depth_to_space`, which is its inverse (space-to-depth)."""
    _check_block(dy, block)
    n, height, width, channels = dy.shape
    fits = height % block == width % block == 0
    check(fits, "height and width", f"multiples of {block}", (height, width))
    _, _, back = _layout(mode, block, channels)
    dx = dy.reshape(n, height // block, block, width // block, block, channels).transpose(back)
    return dx.reshape(n, height // block, width // block, block**2 * channels)


def _check_block(x: Array, block: int) -> None:
    check(x.ndim == 4, "the shape of x", "(n, height, width, channels)", x.shape)
    check(block >= 1, "block", "1 or more", block)


def _layout(
    mode: str, block: int, channels: int
) -> tuple[tuple[int, int, int], tuple[int, ...], tuple[int, ...]]:
    """How the channel axis splits, the order of all axes, and the inverse order."""
    one_of("mode", mode, ("DCR", "CRD"))
    if mode == "DCR":
        return (block, block, channels), (0, 1, 3, 2, 4, 5), (0, 1, 3, 2, 4, 5)
    return (channels, block, block), (0, 1, 4, 2, 5, 3), (0, 1, 3, 5, 2, 4)


def resize(x: Array, upscale: int, mode: str = "bicubic") -> Array:
    """Enlarge by an integer factor, first along the height, then along the width.

    Parameters
    ----------
    x : (n, height, width, channels) float array
        Its dtype is also the result's.
    upscale : int
        The enlargement.
    mode : {"nearest", "bilinear", "bicubic", "bicubic75"}
        See `sesr_ref.network.Resize`.

    Returns
    -------
    (n, upscale * height, upscale * width, channels) float array
    """
    check_images(x)
    down, across = (resample_matrix(size, upscale, mode) for size in x.shape[1:3])
    return across.apply(down.apply(x, axis=1), axis=2)


def resize_vjp(dy: Array, x: Array, upscale: int, mode: str = "bicubic") -> Array:
    """Gradient of `resize` with respect to `x`."""
    n, height, width, channels = x.shape
    check_same_dtype(dy, (n, height * upscale, width * upscale, channels), x)
    down, across = (resample_matrix(size, upscale, mode) for size in x.shape[1:3])
    return down.apply_transposed(across.apply_transposed(dy, axis=2), axis=1)


def cut_channels(x: Array, start: int, stop: int) -> Array:
    """Channels `start` up to `stop`."""
    check_images(x)
    valid = 0 <= start < stop <= x.shape[3]
    check(valid, "start and stop", f"0 <= start < stop <= {x.shape[3]}", (start, stop))
    return x[..., start:stop].copy()


def cut_channels_vjp(dy: Array, x: Array, start: int, stop: int) -> Array:
    """Gradient of `cut_channels`: zeros for the other channels."""
    check_same_dtype(dy, (*x.shape[:3], stop - start), x)
    dx = np.zeros_like(x)
    dx[..., start:stop] = dy
    return dx


def pad(x: Array, size: int) -> Array:
    """Add `size` zeros on every side; if it is negative, cut off as many pixels instead."""
    check_images(x)
    padded = tuple(side + 2 * size for side in x.shape[1:3])
    check(min(padded) >= 1, "the padded size", "at least 1 x 1", padded)
    if size < 0:
        return x[:, -size:size, -size:size].copy()
    return np.pad(x, ((0, 0), (size, size), (size, size), (0, 0)))


def pad_vjp(dy: Array, x: Array, size: int) -> Array:
    """Gradient of `pad`: cut off what it added, or add zeros where it cut."""
    n, height, width, channels = x.shape
    check_same_dtype(dy, (n, height + 2 * size, width + 2 * size, channels), x)
    return pad(dy, -size)
