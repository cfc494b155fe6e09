"""Scalings as the words that `blocks.scalings` reads, if no intermediate leaves 32 bits.

The engine's integers have 64 bits.  Here a bound on what is scaled says whether 32 do; where they
do not, NumPy runs the network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from sesr_kernels.blocks.scalings import FACTOR, HALF, LEFT, LONG, MASK, RIGHT, SCALING_WORDS
from sesr_kernels.description.integers import Array, Scaling, whole
from sesr_kernels.description.layers import Unsupported

LIMIT = 1 << 31


class Numbers(NamedTuple):
    """How a scaling is applied, a key of `SCALINGS` or `PARTS` or "divided", and its numbers.

    Each is (channels,): int64, `factor` float32 for "nearest", "real" and "divided".
    """

    kind: str
    factor: Array
    left: Array
    right: Array
    half: Array
    mask: Array


def _check(fits: bool | np.bool_, what: str) -> None:
    if not fits:
        raise Unsupported(f"{what} of more than 32 bits")


def _by_floats(scaling: Scaling, bound: float, headroom: int) -> Numbers:
    kind, factor = scaling.rounding, np.atleast_1d(scaling.multiplier).astype(np.float32)
    zeros = np.zeros(factor.shape, np.int64)
    with np.errstate(all="ignore"):
        largest = bound / factor if kind == "divided" else bound * factor
    if kind != "real":  # rounded to an integer, to which a zero point is added
        _check(np.isfinite(factor).all() and (largest < LIMIT - 1024).all(), "results")
    return Numbers(kind, factor, zeros, zeros, zeros, zeros)


def _multiplied(scaling: Scaling, bound: float, headroom: int) -> Numbers:
    """Multipliers of 31 bits; the product's upper word is kept, so it is shifted up to it."""
    once = scaling.rounding.startswith("once")
    bits = 16 if scaling.rounding == "once-16" else 31
    factor = whole(np.atleast_1d(scaling.multiplier)) << 31 - bits
    shift = np.broadcast_to(whole(scaling.shift), factor.shape)
    # of two roundings the first one keeps 31 bits less than the product, of one as many as `shift`
    left = np.maximum(shift + 1, 0 if once else 1)
    right = left - shift - 1 if once else np.maximum(-shift, 0)
    left = left + headroom
    _check((left < 31).all() and (bound * 2.0**left < LIMIT).all(), "sums shifted up")
    _check((right < 32).all() and (factor < LIMIT).all(), "shifts")
    half = (
        np.left_shift(np.int64(1), right + 31) if once else np.left_shift(np.int64(1), right) >> 1
    )
    mask = np.where(right > 0, -1, 0)
    return Numbers("once" if once else scaling.rounding, factor, left, right, half, mask)


def _shifted(scaling: Scaling, bound: float, headroom: int) -> Numbers:
    """Integer factors and shifts to the right, rounded as their name says."""
    factor = whole(np.atleast_1d(scaling.multiplier))
    right = np.broadcast_to(whole(scaling.shift), factor.shape)
    zeros = np.zeros(factor.shape, np.int64)
    if not right.any():
        _check((bound * factor < LIMIT).all(), "products")
        return Numbers("times", factor, zeros, zeros, zeros, zeros)
    left = np.log2(factor).astype(np.int64)
    if (1 << left != factor).any():
        raise Unsupported("multipliers that are shifted")
    # nothing to the right would need rules of its own: one bit up and one down again
    left, right = left + (right == 0), np.maximum(right, 1)
    _check((left < 31).all() and (right < 31).all(), "shifts")
    half = np.left_shift(np.int64(1), right - 1)
    _check((bound * 2.0**left + half < LIMIT).all(), "sums shifted up")
    mask = 2 * half - 1
    if scaling.rounding == "half-even":
        half = half - 1
    return Numbers(scaling.rounding, factor, left, right, half, mask)


KINDS: dict[str, Callable[[Scaling, float, int], Numbers]] = {
    **dict.fromkeys(("nearest", "real", "divided"), _by_floats),
    **dict.fromkeys(("once", "once-16", "twice", "twice-up"), _multiplied),
    **dict.fromkeys(("half-up", "half-even", "floor", "toward-zero"), _shifted),
}


def numbers_of(scaling: Scaling, bound: float, headroom: int = 0) -> Numbers:
    """Work a scaling out for the kernels.

    Parameters
    ----------
    scaling : Scaling
        Of the engine.
    bound : float
        The largest magnitude of what is scaled.
    headroom : int
        Bits that it is shifted up by first.

    Returns
    -------
    Numbers

    Raises
    ------
    Unsupported
        For a rounding that no kernel has, or for numbers that need more than 32 bits.
    """
    if scaling.rounding not in KINDS:
        raise Unsupported(f"rounding {scaling.rounding!r:.40}")
    return KINDS[scaling.rounding](scaling, bound, headroom)


def always_shifted(numbers: Numbers, rounding: str) -> Numbers:
    """The same as a scaling that shifts to the right, where "times" would not do."""
    if numbers.kind != "times":
        return numbers
    left = np.log2(numbers.factor).astype(np.int64) + 1
    ones = np.ones_like(left)
    half = ones - (rounding == "half-even")
    _check((left < 31).all() and (numbers.factor == 1 << left - 1).all(), "factors")
    return Numbers(rounding, numbers.factor, left, ones, half, ones)


def folded(last: Numbers, parts: Sequence[Numbers], zeros: Sequence[int]) -> Numbers:
    """Put the operands' zero points into the half that is added to their sum.

    Parameters
    ----------
    last, parts : Numbers
        Of the sum and of its operands.
    zeros : sequence of int
        Their zero points, as bytes are kept.

    Returns
    -------
    Numbers
        Of the sum; as it is unless operands are only multiplied and the sum only shifted down.
    """
    if last.kind != "half-up" or last.left.any() or any(part.kind != "times" for part in parts):
        return last
    taken = sum(part.factor * zero for part, zero in zip(parts, zeros, strict=True))
    return last._replace(kind="folded", half=last.half - taken)


def scaling_words(numbers: Numbers, channels: int) -> Array:
    """(groups of four channels, words); channels beyond the last repeat it."""
    groups = -(-channels // 4)
    result = np.zeros((groups, SCALING_WORDS), np.int32)
    last = len(numbers.factor) - 1
    own = np.minimum(np.arange(4 * groups), min(last, channels - 1)).reshape(groups, 4)
    bits = numbers.factor.view(np.int32) if numbers.factor.dtype == np.float32 else numbers.factor
    for place, values in (
        (FACTOR, bits),
        (LEFT, numbers.left),
        (RIGHT, numbers.right),
        (HALF, numbers.half),
        (MASK, numbers.mask),
    ):
        result[:, place : place + 4] = values[own].astype(np.int64) & 0xFFFFFFFF
    result[:, LONG : LONG + 8] = numbers.half[own].astype(np.int64).view(np.int32)
    return result
