"""Integer weights in the order in which the kernels read them, and what their sums begin with."""

from __future__ import annotations

import numpy as np

from sesr_kernels.blocks.convolve import WIDTHS
from sesr_kernels.blocks.products import BESIDE, CHANNELS
from sesr_kernels.description.integers import Array, Products, byte_of, whole
from sesr_kernels.description.layers import Unsupported
from sesr_kernels.description.packing import round_up
from sesr_kernels.description.phases import phase_weight
from sesr_kernels.integers.lowering import Multiplying
from sesr_kernels.machine.host import HOST
from sesr_kernels.machine.words import SIGNED_PIXELS

CODES = 255
"""The largest difference of two bytes."""


def parts_of(given: Products) -> int:
    """How many parts of a convolution read channels of their own: its groups, if possible."""
    _, _, channels, features = given.weight.shape
    per = features // given.groups
    # channels of a group that fill no whole words: one convolution whose other weights are zero
    fits = channels % CHANNELS == 0 and per % HOST.blocks(per) == 0
    return given.groups if fits else 1


def dense(work: Multiplying) -> Array:
    """(side, side, in, out) weights, of each of its parts; zeros make a kernel square."""
    given = work.given
    weight = whole(given.weight)
    if given.stride:
        return phase_weight(weight, given.stride, given.crop)
    if (beyond := work.side - np.array(weight.shape[:2])).any():
        weight = np.pad(weight, [(b // 2, b // 2) for b in beyond] + [(0, 0), (0, 0)])
    return weight if parts_of(given) == given.groups else _with_zeros(weight, given.groups)


def _with_zeros(weight: Array, groups: int) -> Array:
    height, width, channels, features = weight.shape
    per = features // groups
    result = np.zeros((height, width, channels * groups, features), weight.dtype)
    for g in range(groups):
        ins, outs = slice(g * channels, (g + 1) * channels), slice(g * per, (g + 1) * per)
        result[:, :, ins, outs] = weight[..., outs]
    return result


def per_phase(given: Products, values: Array, features: int) -> Array:
    """Numbers of each output: those of a transposed convolution are every phase's."""
    return np.tile(values, features // len(values)) if given.stride else values


def largest_sum(work: Multiplying, weight: Array) -> int:
    """Bound of the magnitude of a convolution's sums.

    Returns
    -------
    int

    Raises
    ------
    Unsupported
        If weights do not fit a byte, or sums 32 bits.
    """
    if weight.size and (weight.min() < -128 or weight.max() > 127):
        raise Unsupported(f"weights of {weight.min()} to {weight.max()}")
    sums = np.abs(weight).sum((0, 1, 2)) * CODES
    bias = per_phase(work.given, np.abs(whole(work.given.bias)), len(sums))
    largest = int((sums + bias).max())
    if largest >= 1 << 31:
        raise Unsupported(f"sums up to {largest}")
    return largest


def starts(work: Multiplying, weight: Array) -> Array:
    """What sums begin with: the bias, less what the source's zero point adds to them."""
    zero = work.source.zero_point if SIGNED_PIXELS else byte_of(work.source)
    bias = per_phase(work.given, whole(work.given.bias), weight.shape[3])
    # only the last sum must fit 32 bits: on the way there they wrap around
    values = bias - zero * weight.sum((0, 1, 2))
    return _padded(values, HOST.outs).astype(np.uint32).view(np.int32)


def _padded(values: Array, multiple: int) -> Array:
    return np.pad(values, (0, -len(values) % multiple))


def beside(weight: Array) -> Array:
    """Weights of one channel for words of four pixels beside each other.

    Parameters
    ----------
    weight : (side, side, 1, out) array
        Of one channel.

    Returns
    -------
    (side, 1, in, out) array
        The channels are pixels; of two words (side, 2, 4, out), for two taps.
    """
    side, _, _, features = weight.shape
    wide = np.zeros((side, round_up(side, CHANNELS), features), weight.dtype)
    wide[:, :side] = weight[:, :, 0]
    columns = BESIDE if wide.shape[1] == BESIDE * CHANNELS else 1
    return wide.reshape(side, columns, -1, features)


def packed(weight: Array, outs: int) -> Array:
    """To words: (blocks of outputs, rows, groups of channels, columns, forms, outs)."""
    if weight.shape[1] > max(WIDTHS):  # the kernel takes every tap for a row
        weight = weight.reshape(-1, 1, *weight.shape[2:])
    rows, columns, channels, features = weight.shape
    groups, blocks = -(-channels // CHANNELS), -(-features // outs)
    wide = np.zeros((rows, columns, groups * CHANNELS, blocks * outs), np.int64)
    wide[:, :, :channels, :features] = weight
    split = wide.reshape(rows, columns, groups, CHANNELS, blocks, outs)
    forms = _forms(split.transpose(4, 0, 2, 1, 3, 5))
    return np.ascontiguousarray(forms.astype(np.uint32)).view(np.int32)


def _forms(weight: Array) -> Array:
    """Four channels, next to the last axis, as words in the form that products take."""
    first, second, third, fourth = (weight[..., c, :] for c in range(CHANNELS))
    if HOST.products == "plain":
        return weight
    if HOST.products == "pairs":
        words = [_together(16, first, third), _together(16, second, fourth)]
        return np.stack(words, -2)
    return _together(8, first, second, third, fourth)[..., None, :]


def _together(bits: int, *values: Array) -> Array:
    mask = (1 << bits) - 1
    result = np.zeros_like(values[0])
    for i, value in enumerate(values):
        result |= (value & mask) << bits * i
    return result
