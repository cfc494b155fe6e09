"""Each arithmetic's roundings as expressions of C: a writer for each of their classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from sesr_ref.exchange.c import text
from sesr_ref.exchange.c.site import Site
from sesr_ref.integers.arithmetic import (
    Arithmetic,
    Dequantised,
    FixedPoint,
    FloatScale,
    Shift,
    exponent,
)
from sesr_ref.integers.grid import Grid
from sesr_ref.integers.rounding import (
    Apply,
    Fixed,
    fixed_point,
    once_rounded,
    sixteen_bits,
    twice_rounded,
    twice_rounded_up,
)
from sesr_ref.limits import check

F32 = np.float32
MOST = 1 << 62
"""Bound of every intermediate result: it fits 64 bits, and so does its sum with another one."""


class Term(NamedTuple):
    """A value above its zero point, as an expression; its largest magnitude; its grid."""

    value: str
    bound: int
    grid: Grid


class Slopes(NamedTuple):
    """Integer slopes and their grid."""

    values: npt.NDArray[Any]
    grid: Grid

    @property
    def above_zero(self) -> npt.NDArray[Any]:
        """The slopes less their zero point."""
        return np.asarray(self.values, np.int64) - self.grid.zero_point


class Writer(Protocol):
    """Expressions for a value on a tensor's grid, zero point added, not yet clipped."""

    def rescale(self, term: Term, source: npt.NDArray[Any], target: Grid, key: str) -> str:
        """A value in units of `source` a channel; `key` names its constants."""
        ...

    def prelu(self, term: Term, slopes: Slopes, target: Grid) -> str:
        """A value; one below its zero point is multiplied by the slope."""
        ...

    def add(self, terms: Sequence[Term], target: Grid) -> str:
        """The sum of two values."""
        ...


def scales(grid: Grid) -> npt.NDArray[np.float64]:
    """The scale or scales in float64."""
    return grid.scales.astype(np.float64)


def per_channel(site: Site, key: str, values: Any, c_type: str) -> str:
    """A constant: a number where all channels have the same, else that of channel ``c``."""
    flat = np.atleast_1d(values)
    if (flat == flat[0]).all():
        real = c_type in ("float", "double")
        return text.real(flat[0], c_type) if real else text.whole(flat[0])
    return f"{site.sheet.array(site.out.id, key, flat, c_type)}[c]"


def fitting(site: Site, bound: int) -> None:
    """Raise ValueError unless a result so large fits 64 bits."""
    check(bound < MOST, f"{site.layer.name}: bits of an intermediate result", "at most 62",
          bound.bit_length())


def zero(target: Grid) -> str:
    """Add the zero point."""
    return f" + {target.zero_point}" if target.zero_point > 0 else (
        f" - {-target.zero_point}" if target.zero_point else "")


FLOOR_SHIFT = """\
/* x / 2**bits, rounded down; a shift of negative numbers is not defined in C. */
static int64_t @_floor_shift(int64_t x, int bits)
{
    return x < 0 ? ~(~x >> bits) : x >> bits;
}
"""
ONCE = """\
/* x * multiplier * 2**(shift - BITS), rounded once, half up. */
static int64_t @_NAME(int64_t x, int32_t multiplier, int shift)
{
    const int right = BITS - shift;
    return @_floor_shift(x * multiplier + ((int64_t)1 << (right - 1)), right);
}
"""
TWICE = """\
/* x * multiplier * 2**(shift - 31), rounded twice: to 31 bits less, half up but toward zero for
   negative numbers; then by the shift, half away from zero. */
static int64_t @_twice_rounded(int64_t x, int32_t multiplier, int shift)
{
    const int left = shift > 0 ? shift : 0, right = shift < 0 ? -shift : 0;
    const int64_t product = x * ((int64_t)1 << left) * multiplier, half = (int64_t)1 << 30;
    const int64_t high = (product + (product >= 0 ? half : 1 - half)) / ((int64_t)1 << 31);
    const int64_t mask = ((int64_t)1 << right) - 1, threshold = (mask >> 1) + (high < 0);
    return @_floor_shift(high, right) + ((high & mask) > threshold);
}
"""
TWICE_UP = """\
/* x * multiplier * 2**(shift - 31), rounded twice, both times half up. */
static int64_t @_twice_rounded_up(int64_t x, int32_t multiplier, int shift)
{
    const int left = shift > 0 ? shift : 0, right = shift < 0 ? -shift : 0;
    const int64_t product = x * ((int64_t)1 << left) * multiplier;
    const int64_t high = @_floor_shift(product + ((int64_t)1 << 30), 31);
    return @_floor_shift(high + (right ? (int64_t)1 << (right - 1) : 0), right);
}
"""
ROUND = """\
/* The nearest integer, half to even. */
static int64_t @_round(float x)
{
    return (int64_t)rintf(x);
}
"""


class Applied(NamedTuple):
    """A rounding in C: its name and text, and its largest intermediate result."""

    name: str
    body: str
    peak: Callable[[int, int, int], int]


def _peak_once(bits: int) -> Callable[[int, int, int], int]:
    """Of one product and one half; MOST where the shift is none of C's."""

    def peak(bound: int, multiplier: int, shift: int) -> int:
        right = bits - shift
        return bound * multiplier + (1 << (right - 1)) if 1 <= right <= 62 else MOST

    return peak


def _peak_twice(bound: int, multiplier: int, shift: int) -> int:
    return (bound << max(shift, 0)) * multiplier + (1 << 31)


APPLIED: dict[Apply, Applied] = {
    once_rounded: Applied(
        "once_rounded", ONCE.replace("NAME", "once_rounded").replace("BITS", "31"), _peak_once(31)
    ),
    sixteen_bits: Applied(
        "sixteen_bits", ONCE.replace("NAME", "sixteen_bits").replace("BITS", "16"), _peak_once(16)
    ),
    twice_rounded: Applied("twice_rounded", TWICE, _peak_twice),
    twice_rounded_up: Applied("twice_rounded_up", TWICE_UP, _peak_twice),
}
"""By the reference's function."""


class FixedWriter:
    """Multipliers and shifts throughout."""

    def __init__(self, arithmetic: FixedPoint, site: Site) -> None:
        self.arithmetic, self.site = arithmetic, site

    def _apply(self, apply: Apply, value: str, bound: int, factor: Fixed, key: str) -> str:
        """One rounding of a value times a factor."""
        rounding, site = APPLIED[apply], self.site
        pairs = zip(np.atleast_1d(factor[0]), np.atleast_1d(factor[1]), strict=True)
        fitting(site, max(rounding.peak(bound, int(m), int(s)) for m, s in pairs))
        site.sheet.helper("floor_shift", FLOOR_SHIFT)
        multiplier = per_channel(site, f"{key}_multiplier", factor[0], "int32_t")
        shift = per_channel(site, f"{key}_shift", factor[1], "int8_t")
        return f"{site.sheet.helper(rounding.name, rounding.body)}({value}, {multiplier}, {shift})"

    def _other(self, value: str, bound: int, factors: Any, key: str) -> str:
        """As everything but a convolution is rounded."""
        factor = fixed_point(np.asarray(factors), self.arithmetic.bits)
        return self._apply(self.arithmetic.other, value, bound, factor, key)

    def rescale(self, term: Term, source: npt.NDArray[Any], target: Grid, key: str) -> str:
        factor = fixed_point(source / scales(target), self.arithmetic.bits)
        return self._apply(self.arithmetic.conv, term.value, term.bound, factor, key) + zero(target)

    def prelu(self, term: Term, slopes: Slopes, target: Grid) -> str:
        v, grid, own = term.value, term.grid, slopes.grid
        keep = self._other(v, term.bound, grid.scales / target.scales, "keep")
        if grid.bits == 32:  # the product with a slope would not fit beside a 31-bit multiplier
            factors = grid.scales * own.to_reals(slopes.values).astype(F32) / target.scales
            sign = per_channel(self.site, "sign", np.sign(factors).astype(np.int64), "int8_t")
            below = f"{sign} * " + self._other(v, term.bound, np.abs(factors), "slope")
        else:
            product, bound = multiplied(self.site, term, slopes)
            factors = F32(grid.scales * own.scales) / target.scales
            below = self._other(product, bound, factors, "slope")
        return f"({v} >= 0 ? {keep} : {below}){zero(target)}"

    def add(self, terms: Sequence[Term], target: Grid) -> str:
        if any(term.grid.bits == 32 for term in terms):
            return self._add_sums(terms, target)
        headroom = 15 if any(term.grid.bits == 16 for term in terms) else 20
        twice = 2.0 * max(float(term.grid.scales.max()) for term in terms)
        parts, bound = [], 0
        for index, term in enumerate(terms):
            value, most = f"(int64_t)({term.value}) * {1 << headroom}", term.bound << headroom
            parts.append(self._other(value, most, scales(term.grid) / twice, f"part{index}"))
            bound += most  # the factor is at most a half
        last = twice / ((1 << headroom) * scales(target))
        return self._other("\n        + ".join(parts), bound, last, "total") + zero(target)

    def _add_sums(self, terms: Sequence[Term], target: Grid) -> str:
        """A convolution's sums and a tensor, brought to the sums' scale and rounded once."""
        (site, sums) = self.site, [term for term in terms if term.grid.bits == 32]
        check(len(sums) == 1, f"{site.layer.name}: inputs of 32 bits", "one", len(sums))
        value, bound, grid = sums[0]
        for other in (term for term in terms if term.grid.bits != 32):
            ratio = scales(other.grid) / scales(grid)
            value += f"\n        + {self._other(other.value, other.bound, ratio, 'part')}"
            bound += math.ceil(other.bound * float(ratio.max())) + 2
        return self.rescale(Term(value, bound, grid), scales(grid), target, "total")


def multiplied(site: Site, term: Term, slopes: Slopes) -> tuple[str, int]:
    """A value times its slope, and a bound of it."""
    values = slopes.above_zero
    bound = term.bound * int(np.abs(values).max())
    slope = per_channel(site, "slope", values, text.narrowest(values))
    cast = "(int64_t)" if bound >= 1 << 31 and term.grid.bits != 32 else ""
    return f"{cast}{term.value} * {slope}", bound


class FloatWriter:
    """Sums in float32 times a float32 scale, rounded to even."""

    def __init__(self, arithmetic: FloatScale, site: Site) -> None:
        self.arithmetic, self.site = arithmetic, site

    def _round(self, number: str, bound: float) -> str:
        fitting(self.site, math.ceil(bound))
        return f"{self.site.sheet.helper('round', ROUND, 'math.h')}({number})"

    def rescale(self, term: Term, source: npt.NDArray[Any], target: Grid, key: str) -> str:
        factors = source.astype(F32) / target.scales
        factor = per_channel(self.site, key, factors, "float")
        bound = term.bound * float(factors.max())
        return self._round(f"(float)({term.value}) * {factor}", bound) + zero(target)

    def prelu(self, term: Term, slopes: Slopes, target: Grid) -> str:
        if self.arithmetic.builtin_prelu is not None:
            return FixedWriter(self.arithmetic.builtin_prelu, self.site).prelu(term, slopes, target)
        v, grid = term.value, term.grid
        kept, slope = grid.scales / target.scales, F32(grid.scales * slopes.grid.scales) / target.scales
        keep, below = (
            per_channel(self.site, key, factor, "float")
            for key, factor in (("keep", kept), ("below", slope))
        )
        product, bound = multiplied(self.site, term, slopes)
        number = f"{v} < 0 ? (float)({product}) * {below} : (float){v} * {keep}"
        most = max(bound * float(slope.max()), term.bound * float(kept.max()))
        return self._round(number, most) + zero(target)

    def add(self, terms: Sequence[Term], target: Grid) -> str:
        site = self.site
        quotients = [F32(term.grid.scales.max() / target.scales) for term in terms]
        shift = 20 - (math.frexp(float(max(quotients)))[1] - 1)
        check(1 <= shift <= 61, f"{site.layer.name}: shift of its sum", "1 to 61", shift)
        total, bound = f"{1 << (shift - 1)}", 1 << (shift - 1)
        for term, quotient in zip(terms, quotients, strict=True):
            multiplier = round(float(quotient) * 2.0**shift)
            total += f"\n        + (int64_t)({term.value}) * {multiplier}"
            bound += term.bound * multiplier
        fitting(site, bound)
        return f"{site.sheet.helper('floor_shift', FLOOR_SHIFT)}({total}, {shift}){zero(target)}"


class DequantisedWriter:
    """Convolutions as `FloatWriter`; the others in float32, then a division."""

    def __init__(self, arithmetic: Dequantised, site: Site) -> None:
        self.conv, self.site = FloatWriter(arithmetic.conv, site), site

    def rescale(self, term: Term, source: npt.NDArray[Any], target: Grid, key: str) -> str:
        return self.conv.rescale(term, source, target, key)

    def _divided(self, number: str, bound: float, target: Grid) -> str:
        fitting(self.site, math.ceil(bound / float(target.scales.min())))
        divisor = per_channel(self.site, "divisor", target.scales, "float")
        function = self.site.sheet.helper("round", ROUND, "math.h")
        return f"{function}(({number}) / {divisor}){zero(target)}"

    def prelu(self, term: Term, slopes: Slopes, target: Grid) -> str:
        factors = slopes.above_zero.astype(F32) * slopes.grid.scales
        slope = per_channel(self.site, "slope", factors, "float")
        scale = per_channel(self.site, "scale", term.grid.scales, "float")
        real = f"(float){term.value} * {scale}"
        most = term.bound * float(term.grid.scales.max()) * max(1.0, float(np.abs(factors).max()))
        return self._divided(f"{term.value} < 0 ? {real} * {slope} : {real}", most, target)

    def add(self, terms: Sequence[Term], target: Grid) -> str:
        reals = [
            f"(float)({term.value}) * "
            + per_channel(self.site, f"scale{index}", term.grid.scales, "float")
            for index, term in enumerate(terms)
        ]
        most = sum(term.bound * float(term.grid.scales.max()) for term in terms)
        return self._divided("\n        + ".join(reals), most, target)


SHIFTED = """\
/* x / 2**shift, MODE; a negative shift multiplies. */
static int64_t @_shifted(int64_t x, int shift)
{
    if (shift <= 0)
        return x * ((int64_t)1 << -shift);
BODY}
"""
HALVED = {
    "half-up": "return @_floor_shift(x + ((int64_t)1 << (shift - 1)), shift);\n",
    "half-even": """\
const int64_t low = @_floor_shift(x, shift), half = (int64_t)1 << (shift - 1);
const int64_t rest = x - low * ((int64_t)1 << shift);
return low + (rest > half || (rest == half && low % 2 != 0));
""",
    "floor": "return @_floor_shift(x, shift);\n",
    "toward-zero": "return x / ((int64_t)1 << shift);\n",
}
"""By the mode of `Shift`."""


class ShiftWriter:
    """Shifts alone, rounded once."""

    def __init__(self, arithmetic: Shift, site: Site) -> None:
        self.mode, self.site = arithmetic.mode, site

    def _shifted(self, value: str, bound: int, factors: npt.NDArray[Any], key: str) -> str:
        site, shifts = self.site, -exponent(factors)
        least, most = int(np.min(shifts)), int(np.max(shifts))
        fitting(site, max(bound << max(-least, 0), bound + (1 << max(most, 0))))
        if self.mode != "toward-zero":
            site.sheet.helper("floor_shift", FLOOR_SHIFT)
        body = SHIFTED.replace("MODE", self.mode).replace("BODY", text.block(HALVED[self.mode]))
        shift = per_channel(site, f"{key}_shift", shifts, "int8_t")
        return f"{site.sheet.helper('shifted', body)}({value}, {shift})"

    def rescale(self, term: Term, source: npt.NDArray[Any], target: Grid, key: str) -> str:
        factors = source / scales(target)
        return self._shifted(term.value, term.bound, factors, key) + zero(target)

    def prelu(self, term: Term, slopes: Slopes, target: Grid) -> str:
        quotient = scales(term.grid) / scales(target)
        product, bound = multiplied(self.site, term, slopes)
        keep = self._shifted(term.value, term.bound, quotient, "keep")
        below = self._shifted(product, bound, quotient * scales(slopes.grid), "slope")
        return f"({term.value} >= 0 ? {keep} : {below}){zero(target)}"

    def add(self, terms: Sequence[Term], target: Grid) -> str:
        finest = min(float(term.grid.scales.min()) for term in terms)
        parts, bound = [], 0
        for index, term in enumerate(terms):
            aligned = exponent(scales(term.grid) / finest)
            fitting(self.site, term.bound << int(np.max(aligned)))
            bound += term.bound << int(np.max(aligned))
            powers = np.int64(1) << aligned
            factor = per_channel(self.site, f"part{index}", powers, "int64_t")
            parts.append(f"(int64_t)({term.value}) * {factor}")
        total = "\n        + ".join(parts)
        return self._shifted(total, bound, np.asarray(finest) / scales(target), "total") + zero(target)


WRITERS: dict[type[Any], Callable[[Any, Site], Writer]] = {
    FixedPoint: FixedWriter,
    FloatScale: FloatWriter,
    Dequantised: DequantisedWriter,
    Shift: ShiftWriter,
}
"""By the class of an arithmetic."""


def writer_of(arithmetic: Arithmetic, site: Site) -> Writer:
    """The writer of an arithmetic's roundings for one layer."""
    return WRITERS[type(arithmetic)](arithmetic, site)
