"""Transposed convolution, computed as a convolution to phases and a shuffle; its gradients."""

from __future__ import annotations

import numpy as np

from sesr_ref.limits import check
from sesr_ref.ops.arrays import Array, check_images, check_same_dtype
from sesr_ref.ops.conv import check_bias, conv2d, conv2d_vjp
from sesr_ref.ops.rearrange import depth_to_space, depth_to_space_vjp


def conv_transpose2d(
    x: Array, weight: Array, bias: Array | None = None, stride: int = 2, padding: int | None = None
) -> Array:
    """Transposed convolution whose output is exactly `stride` times as high and wide.

    Every input pixel adds ``x[n, h, w] @ weight[i, j]`` to pixel
    ``(stride * h + i - padding, stride * w + j - padding)`` of the output.

    Parameters
    ----------
    x : (n, height, width, in) float array
        float32 or float64, which is also the result's dtype.
    weight : (k, k, in, out) float array
        ``k >= stride``.
    bias : (out,) float array, optional
        Added to every pixel.
    stride : int
        The enlargement.
    padding : int, optional
        Rows and columns cut off at the top and left; ``(k - stride + 1) // 2`` by default.

    Returns
    -------
    (n, stride * height, stride * width, out) float array

    Raises
    ------
    ValueError
        If the channels do not fit, ``k < stride`` or `padding` is outside [0, k).

    Notes
    -----
    Computed as a convolution to ``stride**2`` phases and depth-to-space, which avoids the products
    with inserted zeros.  FSRCNN's last layer (Dong et al., ECCV 2016, section 3.3).
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
        As `conv_transpose2d`, or if `dy` does not have the result's shape and dtype.
    """
    padding = _check_transpose(x, weight, bias, stride, padding)
    n, height, width, _ = x.shape
    check_same_dtype(dy, (n, height * stride, width * stride, weight.shape[3]), x)
    phase_weight = _phase_weight(weight, stride, padding)
    dphases = depth_to_space_vjp(dy, stride, "DCR")
    dx, dphase_weight, _ = conv2d_vjp(dphases, x, phase_weight)
    dweight = _phase_weight_vjp(dphase_weight, len(weight), stride, padding)
    return dx, dweight, None if bias is None else dy.sum((0, 1, 2))


def _reach(kernel_size: int, stride: int, padding: int) -> int:
    """How many input pixels to each side an output pixel of a transposed convolution reads."""
    return max((stride - 1 + padding) // stride, (kernel_size - 1 - padding) // stride)


def _phase_taps(
    k: int, stride: int, padding: int
) -> np.ndarray[tuple[int, int], np.dtype[np.intp]]:
    """Tap of the transposed kernel for each (phase, tap of its convolution); `k` means no tap."""
    reach = _reach(k, stride, padding)
    offsets = np.arange(-reach, reach + 1)
    taps = np.arange(stride)[:, None] + padding - stride * offsets
    return np.where((taps >= 0) & (taps < k), taps, k)


def _phase_weight(weight: Array, stride: int, padding: int) -> Array:
    """Rearrange (k, k, in, out) to (2r + 1, 2r + 1, in, stride * stride * out)."""
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
    dpadded[taps[:, :, None, None], taps] = split  # each tap belongs to one phase: no sums
    return dpadded[:k, :k]


def _check_transpose(
    x: Array, weight: Array, bias: Array | None, stride: int, padding: int | None
) -> int:
    check_images(x)
    fits = weight.ndim == 4 and weight.shape[1:3] == (len(weight), x.shape[3])
    check(fits, "the shape of weight", f"(k, k, {x.shape[3]}, out)", weight.shape)
    k = len(weight)
    check(1 <= stride <= k, "stride", f"1 to k = {k}", stride)
    padding = (k - stride + 1) // 2 if padding is None else padding
    check(0 <= padding < k, "padding", f"in [0, {k})", padding)
    check_bias(bias, weight.shape[3])
    return padding
