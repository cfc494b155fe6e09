"""Arithmetics by name: what a runtime or a piece of hardware makes of the same integers.

Each states how it requantises a convolution's sums, a PReLU and an addition; everything else is
the same in all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from sesr_ref.integers.grid import Grid, Integers
from sesr_ref.integers.rounding import (
    HALVED,
    NO_SHIFT,
    SHIFTED,
    Apply,
    Scaling,
    fixed_point,
    nearest_product,
    nearest_quotient,
    once_rounded,
    real_product,
    scaled_by_floats,
    sixteen_bits,
    twice_rounded,
    twice_rounded_up,
)
from sesr_ref.limits import check

F32 = np.float32
Slopes = tuple[Integers, Grid]
"""Integer slopes and their grid."""


class Addition(NamedTuple):
    """How tensors are added: each less its zero point, shifted up, scaled; then the sum, scaled."""

    headroom: int
    parts: tuple[Scaling, ...]
    last: Scaling

    def apply(self, xs: Sequence[tuple[Integers, Grid]], target: Grid) -> Integers:
        """Add tensors on grids of their own; not yet clipped to the target's."""
        first, *others = (
            part.apply((x - grid.zero_point) << self.headroom)
            for (x, grid), part in zip(xs, self.parts, strict=True)
        )
        return self.last.apply(sum(others, first)) + target.zero_point


class Arithmetic(Protocol):
    """How real factors are applied; results are not yet clipped to the output's grid."""

    @property
    def name(self) -> str:
        """As `ARITHMETICS` has it."""
        ...

    def scaling(self, source: npt.NDArray[np.float64], target: Grid) -> Scaling:
        """From sums of products, in units of `source` a channel, to the grid of a tensor."""
        ...

    def rescale(self, sums: Integers, source: npt.NDArray[np.float64], target: Grid) -> Integers:
        """Apply `scaling` to sums."""
        ...

    def prelu(self, x: Integers, grid: Grid, slopes: Slopes, target: Grid) -> Integers:
        """Keep what is not negative, multiply what is by the slopes."""
        ...

    def addition(self, grids: Sequence[Grid], target: Grid) -> Addition:
        """The sum of two tensors of at most 16 bits on grids of their own."""
        ...

    def add(self, xs: Sequence[tuple[Integers, Grid]], target: Grid) -> Integers:
        """Apply `addition` to two tensors."""
        ...


def _scales(grid: Grid) -> npt.NDArray[np.float64]:
    return grid.scales.astype(np.float64)


class _Scaled:
    """What all arithmetics make of their scalings and additions."""

    def scaling(self, source: npt.NDArray[np.float64], target: Grid) -> Scaling:
        raise NotImplementedError

    def addition(self, grids: Sequence[Grid], target: Grid) -> Addition:
        raise NotImplementedError

    def rescale(self, sums: Integers, source: npt.NDArray[np.float64], target: Grid) -> Integers:
        return self.scaling(source, target).apply(sums) + target.zero_point

    def add(self, xs: Sequence[tuple[Integers, Grid]], target: Grid) -> Integers:
        return self.addition([grid for _, grid in xs], target).apply(xs, target)


@dataclass(frozen=True)
class FixedPoint(_Scaled):
    """Integers throughout: multipliers and shifts, applied by one rounding rule or two.

    `conv` rounds a convolution's sums, `other` everything else.  Quotients of scales are doubles
    for convolutions and additions, float32 for PReLU, as TFLite's kernels compute them.
    """

    name: str
    conv: Apply
    other: Apply
    bits: int = 31

    def scaling(self, source: npt.NDArray[np.float64], target: Grid) -> Scaling:
        return Scaling(self.conv, *fixed_point(source / _scales(target), self.bits))

    def _other(self, factors: npt.NDArray[np.floating]) -> Scaling:
        return Scaling(self.other, *fixed_point(factors, self.bits))

    def prelu(self, x: Integers, grid: Grid, slopes: Slopes, target: Grid) -> Integers:
        values, own = slopes
        v = x - grid.zero_point
        keep = self._other(grid.scales / target.scales)
        if grid.bits == 32:  # the product with a slope would not fit beside a 31-bit multiplier
            factors = grid.scales * own.to_reals(values).astype(F32) / target.scales
            sign = np.sign(factors).astype(np.int64)
            below = sign * self._other(np.abs(factors)).apply(v)
        else:
            scaled = self._other(F32(grid.scales * own.scales) / target.scales)
            below = scaled.apply(v * (values - own.zero_point))
        return np.where(v >= 0, keep.apply(v), below) + target.zero_point

    def addition(self, grids: Sequence[Grid], target: Grid) -> Addition:
        """TFLite's: both operands ``<< 20`` (15 in 16 bits), two multipliers, the sum, a third."""
        headroom = 15 if any(grid.bits == 16 for grid in grids) else 20
        twice = 2.0 * max(float(grid.scales.max()) for grid in grids)
        parts = tuple(self._other(_scales(grid) / twice) for grid in grids)
        return Addition(headroom, parts, self._other(twice / ((1 << headroom) * _scales(target))))

    def add(self, xs: Sequence[tuple[Integers, Grid]], target: Grid) -> Integers:
        if any(grid.bits == 32 for _, grid in xs):
            return self._add_sums(xs, target)
        return super().add(xs, target)

    def _add_sums(self, xs: Sequence[tuple[Integers, Grid]], target: Grid) -> Integers:
        """A convolution's sums and a tensor, brought to the sums' scale and rounded once."""
        ((sums, grid),) = [(x, g) for x, g in xs if g.bits == 32]
        for x, other in ((x, g) for x, g in xs if g.bits != 32):
            sums = sums + self._other(_scales(other) / _scales(grid)).apply(x - other.zero_point)
        return self.rescale(sums, _scales(grid), target)


@dataclass(frozen=True)
class FloatScale(_Scaled):
    """Sums in float32 times a float32 scale, rounded to even: XNNPACK's convolution and PReLU."""

    name: str
    builtin_prelu: FixedPoint | None = None

    def scaling(self, source: npt.NDArray[np.float64], target: Grid) -> Scaling:
        return scaled_by_floats(nearest_product, source.astype(F32) / target.scales)

    def prelu(self, x: Integers, grid: Grid, slopes: Slopes, target: Grid) -> Integers:
        if self.builtin_prelu is not None:  # XNNPACK's delegate leaves it to TFLite's own kernel
            return self.builtin_prelu.prelu(x, grid, slopes, target)
        values, own = slopes
        v = x - grid.zero_point
        keep = grid.scales / target.scales
        below = F32(grid.scales * own.scales) / target.scales
        product = np.where(v < 0, v * (values - own.zero_point), v)
        scaled = scaled_by_floats(nearest_product, np.where(v < 0, below, keep))
        return scaled.apply(product) + target.zero_point

    def addition(self, grids: Sequence[Grid], target: Grid) -> Addition:
        """XNNPACK's: 21-bit multipliers from float32 quotients, one shift, half up."""
        for grid in grids:
            needed = "on one scale (calibrate without fused additions)"
            check(grid.axis is None, f"arithmetic {self.name!r} adds tensors, which", needed, grid)
        quotients = [F32(grid.scales.max() / target.scales) for grid in grids]
        shift = 20 - (math.frexp(float(max(quotients)))[1] - 1)
        whole = [round(float(quotient) * 2.0**shift) for quotient in quotients]
        parts = tuple(Scaling(SHIFTED["half-up"], np.asarray(w, np.int64), NO_SHIFT) for w in whole)
        return Addition(
            0, parts, Scaling(SHIFTED["half-up"], np.ones((), np.int64), np.asarray(shift))
        )


@dataclass(frozen=True)
class Dequantised(_Scaled):
    """ONNX Runtime's QDQ: convolutions as `FloatScale`; the others in float32, then a division."""

    name: str
    conv: FloatScale = field(default_factory=lambda: FloatScale("float"))

    def scaling(self, source: npt.NDArray[np.float64], target: Grid) -> Scaling:
        return self.conv.scaling(source, target)

    def prelu(self, x: Integers, grid: Grid, slopes: Slopes, target: Grid) -> Integers:
        values, own = slopes
        real = (x - grid.zero_point).astype(F32) * grid.scales
        slope = (values - own.zero_point).astype(F32) * own.scales
        divided = scaled_by_floats(nearest_quotient, target.scales)
        return divided.apply(np.where(real < 0, real * slope, real)) + target.zero_point

    def addition(self, grids: Sequence[Grid], target: Grid) -> Addition:
        parts = tuple(scaled_by_floats(real_product, grid.scales) for grid in grids)
        return Addition(0, parts, scaled_by_floats(nearest_quotient, target.scales))


@dataclass(frozen=True)
class Shift(_Scaled):
    """Powers of two, shifts alone, rounded once: what a design in HDL does.

    Every quotient of scales must be a power of two; an addition aligns both operands to the finer
    one, exactly.
    """

    name: str
    mode: str

    def scaling(self, source: npt.NDArray[np.float64], target: Grid) -> Scaling:
        return self._by(source / _scales(target))

    def prelu(self, x: Integers, grid: Grid, slopes: Slopes, target: Grid) -> Integers:
        values, own = slopes
        v = x - grid.zero_point
        below = v * (values - own.zero_point)
        quotient = _scales(grid) / _scales(target)
        rounded: Integers = np.where(
            v >= 0, self._by(quotient).apply(v), self._by(quotient * _scales(own)).apply(below)
        )
        return rounded + target.zero_point

    def addition(self, grids: Sequence[Grid], target: Grid) -> Addition:
        finest = min(float(grid.scales.min()) for grid in grids)
        parts = tuple(self._by(_scales(grid) / finest) for grid in grids)
        return Addition(0, parts, self._by(np.asarray(finest) / _scales(target)))

    def _by(self, factor: npt.NDArray[np.float64]) -> Scaling:
        shift = -_exponent(factor)
        left = np.left_shift(np.int64(1), np.maximum(-shift, 0))
        return Scaling(SHIFTED[self.mode], left, np.maximum(shift, 0))


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
