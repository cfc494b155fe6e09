"""Convolutions by matrix products over bands of rows (see `patches`), and their gradients."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sesr_ref.ops.arrays import Array, check_images, check_same_dtype
from sesr_ref.ops.patches import bands, parts
from sesr_ref.ops.rearrange import depth_to_space, depth_to_space_vjp


def conv2d(x: Array, weight: Array, bias: Array | None = None, groups: int = 1) -> Array:
    """Convolve with stride 1 and zero 'same' padding.

    ``y[n, h, w, o] = bias[o] + sum_{i,j,c} x[n, h+i-k//2, w+j-k//2, c] * weight[i, j, c, o]``

    Parameters
    ----------
    x : (n, height, width, in) float array
        float32 or float64, which is also the result's.
    weight : (k, k, in // groups, out) float array
        Odd `k`; cross-correlation order, as in TensorFlow.
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
    channels = _groups(x.shape[3], weight.shape[3], groups)
    grads = [_convolve_vjp(dy[..., ys], x[..., xs], weight[..., ys]) for xs, ys in channels]
    dx, dweight = (_join(list(of_groups)) for of_groups in zip(*grads, strict=True))
    return dx, dweight, None if bias is None else dy.sum((0, 1, 2))


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


def conv_transpose2d(
    x: Array, weight: Array, bias: Array | None = None, stride: int = 2, padding: int | None = None
) -> Array:
    """Transposed convolution whose output is exactly `stride` times as high and wide.

    Every input pixel adds ``x[n, h, w] @ weight[i, j]`` to pixel
    ``(stride * h + i - padding, stride * w + j - padding)`` of the output.

    Parameters
    ----------
    x : (n, height, width, in) float array
        float32 or float64, which is also the result's.
    weight : (k, k, in, out) float array
        ``k >= stride``.
    bias : (out,) float array, optional
        Added to every pixel.
    stride : int
        The enlargement.
    padding : int, optional
        Rows and columns cut off at the top and left; ``(k - stride + 1) // 2`` unless given.

    Returns
    -------
    (n, stride * height, stride * width, out) float array

    Raises
    ------
    ValueError
        If the channels do not fit, ``k < stride`` or `padding` is outside [0, k).

    Notes
    -----
    Computed as a convolution to ``stride**2`` phases and depth-to-space, which costs no product
    with a zero of a stuffed input.  FSRCNN's last layer (Dong et al., ECCV 2016, section 3.3).
    """
    padding = _check_transpose(x, weight, bias, stride, padding)
    phases = conv2d(x, _phase_weight(weight, stride, padding))
    y = depth_to_space(phases, stride, "DCR")
    if bias is not None:
        y += bias.astype(x.dtype, copy=False)
    return y


def conv_transpose2d_vjp(
    dy: Array,
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: int = 2,
    padding: int | None = None,
) -> tuple[Array, Array, Array | None]:
    """Gradients of `conv_transpose2d` with respect to `x`, `weight` and `bias`.

    Parameters
    ----------
    dy : (n, stride * height, stride * width, out) float array
        Gradient of the result.
    x, weight, bias, stride, padding
        As given to `conv_transpose2d`.

    Returns
    -------
    dx, dweight : float arrays
        Shaped as `x` and `weight`, in the dtype of `x`.
    dbias : (out,) float array or None
        None without a bias.

    Raises
    ------
    ValueError
        As `conv_transpose2d`, or if `dy` has not the result's shape and dtype.
    """
    padding = _check_transpose(x, weight, bias, stride, padding)
    n, height, width, _ = x.shape
    check_same_dtype(dy, (n, height * stride, width * stride, weight.shape[3]), x)
    phase_weight = _phase_weight(weight, stride, padding)
    dphases = depth_to_space_vjp(dy, stride, "DCR")
    dx, dphase_weight, _ = conv2d_vjp(dphases, x, phase_weight)
    dweight = _phase_weight_vjp(dphase_weight, len(weight), stride, padding)
    return dx, dweight, None if bias is None else dy.sum((0, 1, 2))


def phase_reach(kernel_size: int, stride: int, padding: int) -> int:
    """How many input pixels to each side one output pixel of a transposed convolution reads."""
    return max((stride - 1 + padding) // stride, (kernel_size - 1 - padding) // stride)


def _groups(channels: int, features: int, groups: int) -> Iterator[tuple[slice, slice]]:
    for g in range(groups):
        yield (
            slice(g * channels // groups, (g + 1) * channels // groups),
            slice(g * features // groups, (g + 1) * features // groups),
        )


def _join(groups: list[Array]) -> Array:
    return groups[0] if len(groups) == 1 else np.concatenate(groups, axis=3)


def _phase_taps(
    k: int, stride: int, padding: int
) -> np.ndarray[tuple[int, int], np.dtype[np.intp]]:
    """Tap of the transposed kernel for (phase, tap of the phase's convolution); `k` means none."""
    reach = phase_reach(k, stride, padding)
    offsets = np.arange(-reach, reach + 1)
    taps = np.arange(stride)[:, None] + padding - stride * offsets
    return np.where((taps >= 0) & (taps < k), taps, k)


def _phase_weight(weight: Array, stride: int, padding: int) -> Array:
    """(k, k, in, out) to (2r + 1, 2r + 1, in, stride * stride * out)."""
    taps = _phase_taps(len(weight), stride, padding)
    padded = np.pad(weight, ((0, 1), (0, 1), (0, 0), (0, 0)))
    phases = padded[taps[:, :, None, None], taps]  # row phase, row, column phase, column, in, out
    size = taps.shape[1]
    return phases.transpose(1, 3, 4, 0, 2, 5).reshape(size, size, weight.shape[2], -1)


def _phase_weight_vjp(dphases: Array, k: int, stride: int, padding: int) -> Array:
    taps = _phase_taps(k, stride, padding)
    size, _, channels, features = dphases.shape
    split = dphases.reshape(size, size, channels, stride, stride, -1).transpose(3, 0, 4, 1, 2, 5)
    dpadded = np.zeros((k + 1, k + 1, channels, features // stride**2), dphases.dtype)
    dpadded[taps[:, :, None, None], taps] = split  # a tap belongs to one phase: nothing to add up
    return dpadded[:k, :k]


def _check_conv(x: Array, weight: Array, bias: Array | None, groups: int) -> None:
    check_images(x)
    if weight.ndim != 4 or weight.shape[0] != weight.shape[1] or len(weight) % 2 == 0:
        raise ValueError(f"weight must be (k, k, in, out) with odd k, got shape {weight.shape}")
    channels, features = x.shape[3], weight.shape[3]
    if groups < 1 or channels != groups * weight.shape[2] or features % groups:
        raise ValueError(
            f"weight {weight.shape} in {groups} group(s) does not fit {channels} input channels"
        )
    _check_bias(bias, features)


def _check_transpose(
    x: Array, weight: Array, bias: Array | None, stride: int, padding: int | None
) -> int:
    check_images(x)
    if weight.ndim != 4 or weight.shape[0] != weight.shape[1] or weight.shape[2] != x.shape[3]:
        raise ValueError(f"weight {weight.shape} must be (k, k, {x.shape[3]}, out)")
    k = len(weight)
    if not 1 <= stride <= k:
        raise ValueError(f"stride must be 1 to k = {k}, got {stride}")
    padding = (k - stride + 1) // 2 if padding is None else padding
    if not 0 <= padding < k:
        raise ValueError(f"padding must be in [0, {k}), got {padding}")
    _check_bias(bias, weight.shape[3])
    return padding


def _check_bias(bias: Array | None, features: int) -> None:
    if bias is not None and bias.shape != (features,):
        raise ValueError(f"bias must have shape ({features},), got {bias.shape}")
