"""Roundings and arithmetics written once more in Python's own integers, one value at a time.

From the definitions: gemmlowp's fixedpoint.h, TFLite's quantization_util.cc and its reference
kernels, XNNPACK's qs8 microkernels, TOSA's RESCALE.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np


def quantize_multiplier(factor: float, bits: int = 31) -> tuple[int, int]:
    if factor == 0:
        return 0, 0
    shift = math.floor(math.log2(factor)) + 1
    while Fraction(factor) >= Fraction(2) ** shift:
        shift += 1
    while Fraction(factor) < Fraction(2) ** (shift - 1):
        shift -= 1
    exact = Fraction(factor) * Fraction(2) ** (bits - shift)
    multiplier = math.floor(exact + Fraction(1, 2))
    if multiplier == 1 << bits:
        return multiplier // 2, shift + 1
    return (0, 0) if shift < -31 else (multiplier, shift)


def truncated(numerator: int, denominator: int) -> int:
    """C's division."""
    sign = -1 if (numerator < 0) != (denominator < 0) else 1
    return sign * (abs(numerator) // abs(denominator))


def doubling_high_mul(a: int, b: int) -> int:
    nudge = 1 << 30 if a * b >= 0 else 1 - (1 << 30)
    return truncated(a * b + nudge, 1 << 31)


def divide_by_power(x: int, exponent: int) -> int:
    """To nearest, ties away from zero."""
    exact = Fraction(x, 1 << exponent)
    return math.floor(exact + Fraction(1, 2)) if x >= 0 else math.ceil(exact - Fraction(1, 2))


def twice_rounded(x: int, multiplier: int, shift: int) -> int:
    left, right = max(shift, 0), max(-shift, 0)
    return divide_by_power(doubling_high_mul(x << left, multiplier), right)


def once_rounded(x: int, multiplier: int, shift: int) -> int:
    return math.floor(Fraction(x * multiplier, 1 << (31 - shift)) + Fraction(1, 2))


def tosa_rescale(x: int, multiplier: int, shift: int, double: bool) -> int:
    """TOSA's apply_scale_32; `shift` is the whole shift to the right."""
    half = 1 << (shift - 1)
    if double and shift > 31:
        half += (1 << 30) if x >= 0 else -(1 << 30)
    return (x * multiplier + half) >> shift


def shifted(x: int, shift: int, mode: str) -> int:
    exact = Fraction(x, 1 << shift)
    if mode == "half-up":
        return math.floor(exact + Fraction(1, 2))
    if mode == "half-even":
        return round(exact)
    return math.floor(exact) if mode == "floor" else math.trunc(exact)


def add_tflite(
    a: int, b: int, scales: tuple[float, float, float], zeros: tuple[int, int, int]
) -> int:
    """The reference kernel of ADD on int8, before it saturates."""
    s1, s2, out = scales
    twice = 2.0 * max(s1, s2)
    parts = [
        twice_rounded((v - z) << 20, *quantize_multiplier(s / twice))
        for v, s, z in ((a, s1, zeros[0]), (b, s2, zeros[1]))
    ]
    return twice_rounded(sum(parts), *quantize_multiplier(twice / ((1 << 20) * out))) + zeros[2]


def prelu_tflite(
    x: int, slope: int, scales: tuple[float, float, float], zeros: tuple[int, int]
) -> int:
    """The reference kernel of PRELU on int8, before it saturates; quotients are float32's."""
    s, alpha, out = (np.float32(v) for v in scales)
    v = x - zeros[0]
    if v >= 0:
        return twice_rounded(v, *quantize_multiplier(float(s / out))) + zeros[1]
    factor = float(np.float32(np.float32(s * alpha) / out))
    return twice_rounded(v * slope, *quantize_multiplier(factor)) + zeros[1]
