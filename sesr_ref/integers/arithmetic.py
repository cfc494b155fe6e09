"""Arithmetics by name: what a runtime or a piece of hardware makes of the same integers.

Each states how it requantises a convolution's sums, a PReLU and an addition; everything else is
the same in all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from sesr_ref.integers.grid import Grid, Integers
from sesr_ref.integers.rounding import (
    HALVED,
    Apply,
    fixed_point,
    once_rounded,
    sixteen_bits,
    twice_rounded,
    twice_rounded_up,
)
from sesr_ref.limits import check

F32 = np.float32
Slopes = tuple[Integers, Grid]
"""Integer slopes and their grid."""


class Arithmetic(Protocol):
    """How real factors are applied; results are not yet clipped to the output's grid."""

    @property
    def name(self) -> str:
        """As `ARITHMETICS` has it."""
        ...

    def rescale(self, sums: Integers, source: npt.NDArray[np.float64], target: Grid) -> Integers:
        """Sums of products, in units of `source` a channel, to the grid of a tensor."""
        ...

    def prelu(self, x: Integers, grid: Grid, slopes: Slopes, target: Grid) -> Integers:
        """Keep what is not negative, multiply what is by the slopes."""
        ...

    def add(self, xs: Sequence[tuple[Integers, Grid]], target: Grid) -> Integers:
        """Sum of two tensors on grids of their own."""
        ...


def _scales(grid: Grid) -> npt.NDArray[np.float64]:
    return grid.scales.astype(np.float64)


@dataclass(frozen=True)
class FixedPoint:
    """Integers throughout: multipliers and shifts, applied by one rounding rule or two.

    `conv` rounds a convolution's sums, `other` everything else.  Quotients of scales are doubles
    for convolutions and additions, float32 for PReLU, as TFLite's kernels compute them.
    """

    name: str
    conv: Apply
    other: Apply
    bits: int = 31

    def rescale(self, sums: Integers, source: npt.NDArray[np.float64], target: Grid) -> Integers:
        factors = source / _scales(target)
        return self.conv(sums, *fixed_point(factors, self.bits)) + target.zero_point

    def prelu(self, x: Integers, grid: Grid, slopes: Slopes, target: Grid) -> Integers:
        values, own = slopes
        v = x - grid.zero_point
        keep = fixed_point(grid.scales / target.scales, self.bits)
        if grid.bits == 32:  # the product with a slope would not fit beside a 31-bit multiplier
            factors = grid.scales * own.to_reals(values).astype(F32) / target.scales
            sign = np.sign(factors).astype(np.int64)
            below = sign * self.other(v, *fixed_point(np.abs(factors), self.bits))
        else:
            scaled = fixed_point(F32(grid.scales * own.scales) / target.scales, self.bits)
            below = self.other(v * (values - own.zero_point), *scaled)
        return np.where(v >= 0, self.other(v, *keep), below) + target.zero_point

    def add(self, xs: Sequence[tuple[Integers, Grid]], target: Grid) -> Integers:
        """TFLite's: both operands ``<< 20`` (15 in 16 bits), two multipliers, the sum, a third."""
        if any(grid.bits == 32 for _, grid in xs):
            return self._add_sums(xs, target)
        headroom = 15 if any(grid.bits == 16 for _, grid in xs) else 20
        twice = 2.0 * max(float(grid.scales.max()) for _, grid in xs)
        total: Integers = np.zeros((), np.int64)
        for x, grid in xs:
            part = fixed_point(_scales(grid) / twice, self.bits)
            total = total + self.other((x - grid.zero_point) << headroom, *part)
        last = fixed_point(twice / ((1 << headroom) * _scales(target)), self.bits)
        return self.other(total, *last) + target.zero_point

    def _add_sums(self, xs: Sequence[tuple[Integers, Grid]], target: Grid) -> Integers:
        """A convolution's sums and a tensor, brought to the sums' scale and rounded once."""
        ((sums, grid),) = [(x, g) for x, g in xs if g.bits == 32]
        for x, other in ((x, g) for x, g in xs if g.bits != 32):
            ratio = fixed_point(_scales(other) / _scales(grid), self.bits)
            sums = sums + self.other(x - other.zero_point, *ratio)
        return self.rescale(sums, _scales(grid), target)


@dataclass(frozen=True)
class FloatScale:
    """Sums in float32 times a float32 scale, rounded to even: XNNPACK's convolution and PReLU."""

    name: str
    builtin_prelu: FixedPoint | None = None

    def rescale(self, sums: Integers, source: npt.NDArray[np.float64], target: Grid) -> Integers:
        scale = source.astype(F32) / target.scales
        rounded: Integers = np.rint(sums.astype(F32) * scale).astype(np.int64)
        return rounded + target.zero_point

    def prelu(self, x: Integers, grid: Grid, slopes: Slopes, target: Grid) -> Integers:
        if self.builtin_prelu is not None:  # XNNPACK's delegate leaves it to TFLite's own kernel
            return self.builtin_prelu.prelu(x, grid, slopes, target)
        values, own = slopes
        v = x - grid.zero_point
        keep = grid.scales / target.scales
        below = F32(grid.scales * own.scales) / target.scales
        product = np.where(v < 0, v * (values - own.zero_point), v).astype(F32)
        factor = np.where(v < 0, below, keep).astype(F32)
        rounded: Integers = np.rint(product * factor).astype(np.int64)
        return rounded + target.zero_point

    def add(self, xs: Sequence[tuple[Integers, Grid]], target: Grid) -> Integers:
        """XNNPACK's: 21-bit multipliers from float32 quotients, one shift, half up."""
        for _, grid in xs:
            needed = "on one scale (calibrate without fused additions)"
            check(grid.axis is None, f"arithmetic {self.name!r} adds tensors, which", needed, grid)
        quotients = [F32(grid.scales.max() / target.scales) for _, grid in xs]
        shift = 20 - (math.frexp(float(max(quotients)))[1] - 1)
        total: Integers = np.asarray(np.int64(1) << np.int64(shift - 1))
        for (x, grid), quotient in zip(xs, quotients, strict=True):
            total = total + (x - grid.zero_point) * round(float(quotient) * 2.0**shift)
        return (total >> np.int64(shift)) + target.zero_point


@dataclass(frozen=True)
class Dequantised:
    """ONNX Runtime's QDQ: convolutions as `FloatScale`; the others in float32, then a division."""

    name: str
    conv: FloatScale = field(default_factory=lambda: FloatScale("float"))

    def rescale(self, sums: Integers, source: npt.NDArray[np.float64], target: Grid) -> Integers:
        return self.conv.rescale(sums, source, target)

    def prelu(self, x: Integers, grid: Grid, slopes: Slopes, target: Grid) -> Integers:
        values, own = slopes
        real = (x - grid.zero_point).astype(F32) * grid.scales
        slope = (values - own.zero_point).astype(F32) * own.scales
        return self._divided(np.where(real < 0, real * slope, real), target)

    def add(self, xs: Sequence[tuple[Integers, Grid]], target: Grid) -> Integers:
        reals = [(x - grid.zero_point).astype(F32) * grid.scales for x, grid in xs]
        return self._divided(sum(reals[1:], reals[0]), target)

    @staticmethod
    def _divided(real: npt.NDArray[np.float32], target: Grid) -> Integers:
        rounded: Integers = np.rint(real / target.scales).astype(np.int64)
        return rounded + target.zero_point


@dataclass(frozen=True)
class Shift:
    """Powers of two, shifts alone, rounded once: what a design in HDL does.

    Every quotient of scales must be a power of two; an addition aligns both operands to the finer
    one, exactly.
    """

    name: str
    mode: str

    def rescale(self, sums: Integers, source: npt.NDArray[np.float64], target: Grid) -> Integers:
        return self._shifted(sums, source / _scales(target)) + target.zero_point

    def prelu(self, x: Integers, grid: Grid, slopes: Slopes, target: Grid) -> Integers:
        values, own = slopes
        v = x - grid.zero_point
        below = v * (values - own.zero_point)
        quotient = _scales(grid) / _scales(target)
        rounded: Integers = np.where(
            v >= 0, self._shifted(v, quotient), self._shifted(below, quotient * _scales(own))
        )
        return rounded + target.zero_point

    def add(self, xs: Sequence[tuple[Integers, Grid]], target: Grid) -> Integers:
        finest = min((float(grid.scales.min()) for _, grid in xs), default=1.0)
        total: Integers = np.zeros((), np.int64)
        for x, grid in xs:
            total = total + ((x - grid.zero_point) << _exponent(_scales(grid) / finest))
        return self._shifted(total, np.asarray(finest) / _scales(target)) + target.zero_point

    def _shifted(self, x: Integers, factor: npt.NDArray[np.float64]) -> Integers:
        shift = -_exponent(factor)
        return HALVED[self.mode](x << np.maximum(-shift, 0), np.maximum(shift, 0))


def _exponent(factor: npt.NDArray[np.float64]) -> Integers:
    """Logarithms of powers of two; ValueError for anything else."""
    fraction, exponent = np.frexp(factor)
    if (fraction != 0.5).any():
        bad = np.atleast_1d(factor)[np.atleast_1d(fraction != 0.5)][0]
        raise ValueError(
            f"arithmetic 'shift' needs scales that are powers of two, got a quotient of {bad:g} "
            "(calibrate with power_of_two=True)"
        )
    return exponent.astype(np.int64) - 1


TFLITE = FixedPoint("tflite", twice_rounded, twice_rounded)
ARITHMETICS: dict[str, Arithmetic] = {
    "tflite": TFLITE,
    "tflite-single": FixedPoint("tflite-single", once_rounded, once_rounded),
    "ruy": FixedPoint("ruy", twice_rounded_up, twice_rounded),
    "litert": FloatScale("litert", TFLITE),
    "float": FloatScale("float"),
    "qdq": Dequantised("qdq"),
    "ethos": FixedPoint("ethos", sixteen_bits, sixteen_bits, 16),
    **{f"shift-{mode}": Shift(f"shift-{mode}", mode) for mode in HALVED},
}
"""By the name of what computes so: TFLite's reference kernels, TFLite Micro and CMSIS-NN
("tflite"; TOSA's DOUBLE_ROUND), the same with one rounding ("tflite-single"; SINGLE_ROUND), LiteRT
without delegates ("ruy") and with its default, XNNPACK ("litert"), XNNPACK alone ("float"), ONNX
Runtime's QDQ ("qdq"), multipliers of 16 bits ("ethos"), shifts of HDL ("shift-...")."""


def arithmetic_named(name: str) -> Arithmetic:
    """Look an arithmetic up; ValueError lists those that are known."""
    if name not in ARITHMETICS:
        raise ValueError(f"arithmetic must be one of {', '.join(ARITHMETICS)}, got {name!r:.60}")
    return ARITHMETICS[name]
