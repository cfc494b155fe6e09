"""Multiplying integers by real factors: the roundings of runtimes and of hardware.

A factor is a 31-bit multiplier and a shift, ``factor = multiplier * 2**(shift - 31)``, as TFLite
states it; what differs is how the product is rounded.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sesr_ref.integers.grid import Integers

Factors = npt.NDArray[np.float64]
Fixed = tuple[Integers, Integers]
"""Multipliers and shifts, one each or one a channel."""
LEAST_SHIFT = -31
"""Factors below 2**-32 count as 0."""
Apply = Callable[[Integers, Integers, Integers], Integers]
"""``apply(x, multiplier, shift)``."""


def fixed_point(factors: npt.NDArray[np.floating], bits: int = 31) -> Fixed:
    """Multipliers of so many bits and shifts, as TFLite's QuantizeMultiplier makes them.

    Parameters
    ----------
    factors : () or (channels,) array
        Not negative.
    bits : int
        Of a multiplier.

    Returns
    -------
    multiplier, shift : int64 arrays
        ``factor = multiplier * 2**(shift - bits)``, multipliers in [2**(bits - 1), 2**bits).
    """
    pairs = [_fixed_point(float(factor), bits) for factor in np.atleast_1d(factors)]
    multipliers, shifts = (np.array(part, np.int64) for part in zip(*pairs, strict=True))
    return (multipliers, shifts) if np.ndim(factors) else (multipliers[0], shifts[0])


def _fixed_point(factor: float, bits: int) -> tuple[int, int]:
    if factor == 0:
        return 0, 0
    fraction, shift = math.frexp(factor)
    multiplier = math.floor(fraction * (1 << bits) + 0.5)  # half away from zero, and it is positive
    if multiplier == 1 << bits:
        multiplier, shift = multiplier // 2, shift + 1
    return (0, 0) if shift < LEAST_SHIFT else (multiplier, shift)


def twice_rounded(x: Integers, multiplier: Integers, shift: Integers) -> Integers:
    """gemmlowp's, TFLite's, TOSA's DOUBLE_ROUND: high half (half up), then a shift (from zero)."""
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    product = (x << left) * multiplier
    high = _divided_toward_zero(product + np.where(product >= 0, 1 << 30, 1 - (1 << 30)), 31)
    mask = (np.int64(1) << right) - 1
    remainder, threshold = high & mask, (mask >> 1) + (high < 0)
    rounded: Integers = (high >> right) + (remainder > threshold)
    return rounded


def _divided_toward_zero(x: Integers, bits: int) -> Integers:
    """C's division by a power of two."""
    return np.where(x >= 0, x >> bits, -((-x) >> bits))


def once_rounded(x: Integers, multiplier: Integers, shift: Integers) -> Integers:
    """One rounding, half up: TFLITE_SINGLE_ROUNDING, TOSA's SINGLE_ROUND."""
    total = 31 - shift
    rounded: Integers = (x * multiplier + (np.int64(1) << (total - 1))) >> total
    return rounded


def twice_rounded_up(x: Integers, multiplier: Integers, shift: Integers) -> Integers:
    """ruy's: as `twice_rounded`, but both roundings are half up."""
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    high = ((x << left) * multiplier + (1 << 30)) >> 31
    half = np.where(right > 0, np.int64(1) << np.maximum(right - 1, 0), 0)
    rounded: Integers = (high + half) >> right
    return rounded


def sixteen_bits(x: Integers, multiplier: Integers, shift: Integers) -> Integers:
    """A multiplier of 16 bits and one shift, half up: what the Ethos-N's driver encodes."""
    total = 16 - shift
    rounded: Integers = (x * multiplier + (np.int64(1) << (total - 1))) >> total
    return rounded


def _half_up(x: Integers, shift: Integers) -> Integers:
    half = np.where(shift > 0, np.int64(1) << np.maximum(shift - 1, 0), 0)
    rounded: Integers = (x + half) >> shift
    return rounded


def _half_even(x: Integers, shift: Integers) -> Integers:
    low, half = x >> shift, np.where(shift > 0, np.int64(1) << np.maximum(shift - 1, 0), 0)
    rest = x - (low << shift)
    up = (rest > half) | ((rest == half) & (low & 1 == 1))
    rounded: Integers = low + (up & (shift > 0))
    return rounded


def _toward_zero(x: Integers, shift: Integers) -> Integers:
    return np.where(x >= 0, x >> shift, -((-x) >> shift))


HALVED: dict[str, Callable[[Integers, Integers], Integers]] = {
    "half-up": _half_up,
    "half-even": _half_even,
    "floor": lambda x, shift: x >> shift,
    "toward-zero": _toward_zero,
}
"""Roundings of a shift to the right."""


def real_product(x: Integers, scale: npt.NDArray[np.float32], _: Integers) -> npt.NDArray[Any]:
    """A float32 product, not rounded to an integer."""
    return x.astype(np.float32) * scale


def nearest_product(x: Integers, scale: npt.NDArray[np.float32], _: Integers) -> Integers:
    """XNNPACK's: the float32 product, half to even."""
    return _even(real_product(x, scale, _))


def nearest_quotient(x: npt.NDArray[Any], scale: npt.NDArray[np.float32], _: Integers) -> Integers:
    """ONNX Runtime's: the float32 quotient, half to even."""
    return _even(x / scale)


def _even(x: npt.NDArray[Any]) -> Integers:
    rounded: Integers = np.rint(x).astype(np.int64)
    return rounded


def _by_shift(mode: str) -> Apply:
    return lambda x, multiplier, shift: HALVED[mode](x * multiplier, shift)


SHIFTED = {mode: _by_shift(mode) for mode in HALVED}
"""Integer factors and shifts to the right."""
ROUNDINGS: dict[str, Apply] = {
    "twice": twice_rounded,
    "twice-up": twice_rounded_up,
    "once": once_rounded,
    "once-16": sixteen_bits,
    "nearest": nearest_product,
    "real": real_product,
    "divided": nearest_quotient,
    **SHIFTED,
}
"""Name: how a multiplier and a shift (a float32 scale and nothing) are applied."""
_NAMES = {rule: name for name, rule in ROUNDINGS.items()}


class Scaling(NamedTuple):
    """Real factors, one or one a channel, as an arithmetic applies them to integers."""

    rule: Apply
    multiplier: npt.NDArray[Any]
    shift: Integers

    @property
    def rounding(self) -> str:
        """Name of the rule in `ROUNDINGS`; "" if it is none of them."""
        return _NAMES.get(self.rule, "")

    def apply(self, x: npt.NDArray[Any]) -> Integers:
        """Multiply and round."""
        return self.rule(x, self.multiplier, self.shift)


NO_SHIFT = np.zeros((), np.int64)


def scaled_by_floats(rule: Apply, scale: npt.NDArray[Any]) -> Scaling:
    """A scaling by float32 numbers."""
    return Scaling(rule, np.asarray(scale, np.float32), NO_SHIFT)
