"""Single operations on (n, height, width, channels) arrays, with the reference's signatures.

Each answers None for what it does not take: another dtype than float32, or arguments that do not
fit, so that the reference does the work or states the mistake.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_kernels.blocks import prelu as whole
from sesr_kernels.description.packing import transposed
from sesr_kernels.description.phases import phase_weight, phase_weight_vjp
from sesr_kernels.description.single import Conv, ConvTranspose, Single
from sesr_kernels.inference.rules import MAX_KERNEL_SIZE
from sesr_kernels.inference.run import network
from sesr_kernels.machine.threads import Threads
from sesr_kernels.training.run import weight_gradients

Array = npt.NDArray[Any]
Gradients = tuple[Array, Array, Array | None]


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    groups: int = 1,
    *,
    threads: Threads | None = None,
) -> Array | None:
    """Convolve with stride 1 and zero 'same' padding; as `sesr_ref.ops.conv.conv2d`."""
    if not (_float32(x, weight, bias) and _fits(x, weight, bias, groups)):
        return None
    if groups > 1:
        biases = [None] * groups if bias is None else np.split(bias, groups)
        parts = zip(np.split(x, groups, 3), np.split(weight, groups, 3), biases, strict=True)
        found = [conv2d(*part, threads=threads) for part in parts]
        return np.concatenate([y for y in found if y is not None], axis=3)
    layer = Conv(weight.shape[3], len(weight), 1, bias is not None)
    params = {"layer.weight": weight} | ({} if bias is None else {"layer.bias": bias})
    return network(Single(layer, x.shape[3]), params, x, threads, winograd=False)


def conv2d_vjp(
    dy: Array,
    x: Array,
    weight: Array,
    bias: Array | None = None,
    groups: int = 1,
    *,
    threads: Threads | None = None,
) -> Gradients | None:
    """Gradients of `conv2d`; as `sesr_ref.ops.conv.conv2d_vjp`."""
    if not (_float32(dy, x, weight, bias) and _fits(x, weight, bias, groups)):
        return None
    if dy.shape != (*x.shape[:3], weight.shape[3]):
        return None
    parts = [np.split(array, groups, axis=3) for array in (dy, x, weight)]
    dxs, dweights = [], []
    for own_dy, own_x, own_weight in zip(*parts, strict=True):
        dxs.append(conv2d(own_dy, np.ascontiguousarray(transposed(own_weight)), threads=threads))
        dweights.append(weight_gradients(own_x, own_dy, len(weight), threads or Threads()))
    dx = np.concatenate([d for d in dxs if d is not None], axis=3)
    dbias = None if bias is None else np.concatenate([d for _, d in dweights])
    return dx, np.concatenate([d for d, _ in dweights], axis=3), dbias


def conv_transpose2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: int = 2,
    padding: int | None = None,
    *,
    threads: Threads | None = None,
) -> Array | None:
    """As `sesr_ref.ops.conv.conv_transpose2d`."""
    crop = _crop(x, weight, bias, stride, padding)
    if crop is None:
        return None
    layer = ConvTranspose(weight.shape[3], len(weight), stride, crop, bias is not None)
    params = {"layer.weight": weight} | ({} if bias is None else {"layer.bias": bias})
    return network(Single(layer, x.shape[3], stride), params, x, threads, winograd=False)


def conv_transpose2d_vjp(
    dy: Array,
    x: Array,
    weight: Array,
    bias: Array | None = None,
    stride: int = 2,
    padding: int | None = None,
    *,
    threads: Threads | None = None,
) -> Gradients | None:
    """As `sesr_ref.ops.conv.conv_transpose2d_vjp`."""
    crop = _crop(x, weight, bias, stride, padding)
    n, height, width, _ = x.shape
    if crop is None or not _float32(dy):
        return None
    if dy.shape != (n, height * stride, width * stride, weight.shape[3]):
        return None
    phases = np.ascontiguousarray(phase_weight(weight, stride, crop))
    found = conv2d_vjp(_phases(dy, stride), x, phases, threads=threads)
    if found is None:
        return None
    dweight = phase_weight_vjp(found[1], len(weight), stride, crop)
    if bias is None:
        return found[0], dweight, None
    return found[0], dweight, dy.sum((0, 1, 2), np.float64).astype(np.float32)


def prelu(x: Array, slope: Array) -> Array | None:
    """As `sesr_ref.ops.pointwise.prelu`."""
    if not _float32(x, slope) or slope.shape != x.shape[3:]:
        return None
    return whole.prelu(x, slope)


def prelu_vjp(dy: Array, x: Array, slope: Array) -> tuple[Array, Array] | None:
    """As `sesr_ref.ops.pointwise.prelu_vjp`."""
    if not _float32(dy, x, slope) or dy.shape != x.shape or slope.shape != x.shape[3:]:
        return None
    return whole.prelu_vjp(dy, x, slope)


SHARED = (conv2d, conv2d_vjp, conv_transpose2d, conv_transpose2d_vjp)
"""Operations that threads share; the others run in the caller's."""


def operations(threads: Threads) -> dict[str, Callable[..., Any]]:
    """Operation: function with the reference's signature."""
    found: dict[str, Callable[..., Any]] = {
        function.__name__: partial(function, threads=threads) for function in SHARED
    }
    return found | {"prelu": prelu, "prelu_vjp": prelu_vjp}


def _float32(*arrays: Array | None) -> bool:
    """Whether all are float32 and the first, which holds pixels, has some."""
    given = [a for a in arrays if a is not None]
    return given[0].size > 0 and given[0].ndim == 4 and all(a.dtype == np.float32 for a in given)


def _fits(x: Array, weight: Array, bias: Array | None, groups: int) -> bool:
    return (
        weight.ndim == 4
        and weight.shape[0] == weight.shape[1]
        and len(weight) % 2 == 1
        and len(weight) <= MAX_KERNEL_SIZE
        and groups >= 1
        and x.shape[3] == groups * weight.shape[2]
        and weight.shape[3] % groups == 0
        and (bias is None or bias.shape == weight.shape[3:])
    )


def _crop(
    x: Array, weight: Array, bias: Array | None, stride: int, padding: int | None
) -> int | None:
    """Padding of a transposed convolution; None if anything does not fit."""
    if not _float32(x, weight, bias) or weight.ndim != 4 or weight.shape[0] != weight.shape[1]:
        return None
    k = len(weight)
    crop = (k - stride + 1) // 2 if padding is None else padding
    fits = 1 <= stride <= k <= MAX_KERNEL_SIZE and 0 <= crop < k and weight.shape[2] == x.shape[3]
    return crop if fits and (bias is None or bias.shape == weight.shape[3:]) else None


def _phases(dy: Array, stride: int) -> Array:
    """Pixels of each block of an enlarged image to channels: what depth to space takes back."""
    n, height, width, channels = dy.shape
    blocks = dy.reshape(n, height // stride, stride, width // stride, stride, channels)
    return blocks.transpose(0, 1, 3, 2, 4, 5).reshape(
        n, height // stride, width // stride, stride**2 * channels
    )
