"""Operations that move or interpolate pixels; each with its gradient below."""

from __future__ import annotations

import numpy as np

from sesr_ref.ops.arrays import Array, check_images, check_same_dtype
from sesr_ref.ops.resampling import resample_matrix


def depth_to_space(x: Array, block: int, mode: str = "DCR") -> Array:
    """Channels to pixels: (n, h, w, b*b*c) -> (n, b*h, b*w, c).

    Parameters
    ----------
    x : (n, height, width, block**2 * channels) array
        Any dtype.
    block : int
        The enlargement, from 1 on.
    mode : {"DCR", "CRD"}
        Channel ``(row*b + column)*c + channel`` (TensorFlow) or ``(channel*b + row)*b + column``
        (PyTorch's pixel_shuffle).

    Returns
    -------
    (n, block * height, block * width, channels) array

    Raises
    ------
    ValueError
        If the channels do not divide by ``block**2`` or the mode is unknown.
    """
    _check_block(x, block)
    n, height, width, channels = x.shape
    if channels % block**2:
        raise ValueError(f"{channels} channels do not divide by {block}**2")
    split, order, _ = _layout(mode, block, channels // block**2)
    y = x.reshape(n, height, width, *split).transpose(order)
    return y.reshape(n, height * block, width * block, channels // block**2)


def depth_to_space_vjp(dy: Array, block: int, mode: str = "DCR") -> Array:
    """Gradient of `depth_to_space`, which is its inverse (space-to-depth)."""
    _check_block(dy, block)
    n, height, width, channels = dy.shape
    if height % block or width % block:
        raise ValueError(f"{height} x {width} pixels do not divide by {block}")
    _, _, back = _layout(mode, block, channels)
    dx = dy.reshape(n, height // block, block, width // block, block, channels).transpose(back)
    return dx.reshape(n, height // block, width // block, block**2 * channels)


def _check_block(x: Array, block: int) -> None:
    if x.ndim != 4 or block < 1:
        raise ValueError(
            f"need (n, height, width, channels) and a block >= 1, got {x.shape}, {block}"
        )


def _layout(
    mode: str, block: int, channels: int
) -> tuple[tuple[int, int, int], tuple[int, ...], tuple[int, ...]]:
    """How the channel axis splits, its order among the pixels', and the way back."""
    if mode == "DCR":
        return (block, block, channels), (0, 1, 3, 2, 4, 5), (0, 1, 3, 2, 4, 5)
    if mode == "CRD":
        return (channels, block, block), (0, 1, 4, 2, 5, 3), (0, 1, 3, 5, 2, 4)
    raise ValueError(f"mode must be 'DCR' or 'CRD', got {mode!r}")


def resize(x: Array, upscale: int, mode: str = "bicubic") -> Array:
    """Enlarge by an integer factor, separably, rows first.

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
    if not 0 <= start < stop <= x.shape[3]:
        raise ValueError(f"channels {start} to {stop} of {x.shape[3]}")
    return x[..., start:stop].copy()


def cut_channels_vjp(dy: Array, x: Array, start: int, stop: int) -> Array:
    """Gradient of `cut_channels`: zeros for the other channels."""
    check_same_dtype(dy, (*x.shape[:3], stop - start), x)
    dx = np.zeros_like(x)
    dx[..., start:stop] = dy
    return dx


def pad(x: Array, size: int) -> Array:
    """Add `size` zeros on every side, or cut off as many pixels if it is negative."""
    check_images(x)
    if min(x.shape[1:3]) + 2 * size < 1:
        raise ValueError(f"nothing is left of {x.shape[1]} x {x.shape[2]} pixels less {-size}")
    if size < 0:
        return x[:, -size:size, -size:size].copy()
    return np.pad(x, ((0, 0), (size, size), (size, size), (0, 0)))


def pad_vjp(dy: Array, x: Array, size: int) -> Array:
    """Gradient of `pad`, which is its counterpart."""
    n, height, width, channels = x.shape
    check_same_dtype(dy, (n, height + 2 * size, width + 2 * size, channels), x)
    return pad(dy, -size)
