"""Multipliers and shifts in C: the arithmetic of integers throughout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sesr_ref.exchange.c.site import Site
from sesr_ref.exchange.c.term import (
    F32,
    FLOOR_SHIFT,
    LINE,
    Slopes,
    Term,
    fitting,
    multiplied,
    per_channel,
    plus,
    scales,
)
from sesr_ref.integers.arithmetic import FixedPoint
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


class Applied(NamedTuple):
    """A rounding in C: its name, its text, and the shift to the right of a factor of 1.

    `once` is None where products are rounded twice, which takes any shift.
    """

    name: str
    body: str
    once: int | None = None


APPLIED: dict[Apply, Applied] = {
    once_rounded: Applied(
        "once_rounded", ONCE.replace("NAME", "once_rounded").replace("BITS", "31"), 31
    ),
    sixteen_bits: Applied(
        "sixteen_bits", ONCE.replace("NAME", "sixteen_bits").replace("BITS", "16"), 16
    ),
    twice_rounded: Applied("twice_rounded", TWICE),
    twice_rounded_up: Applied("twice_rounded_up", TWICE_UP),
}
"""By the reference's function."""


def check_rounding(site: Site, rounding: Applied, bound: int, factor: Fixed) -> None:
    """Raise ValueError if a factor's shift is none of C's, or a product does not fit 64 bits."""
    for multiplier, shift in zip(*map(np.atleast_1d, factor), strict=True):
        if rounding.once is None:
            fitting(site, (bound << max(int(shift), 0)) * int(multiplier) + (1 << 31))
            continue
        right = rounding.once - int(shift)
        what = f"{site.layer.name}: the shift of {rounding.name} to the right"
        check(1 <= right <= 62, what, "1 to 62", right)
        fitting(site, bound * int(multiplier) + (1 << (right - 1)))


class FixedWriter:
    """Multipliers and shifts throughout."""

    def __init__(self, arithmetic: FixedPoint, site: Site) -> None:
        self.arithmetic, self.site = arithmetic, site

    def _apply(self, apply: Apply, term: Term, factor: Fixed, key: str) -> str:
        """One rounding of a value times a factor."""
        rounding, site = APPLIED[apply], self.site
        check_rounding(site, rounding, term.bound, factor)
        site.sheet.helper("floor_shift", FLOOR_SHIFT)
        multiplier, shift = (
            per_channel(site, f"{key}_{what}", values, c_type, term.channel)
            for what, values, c_type in zip(
                ("multiplier", "shift"), factor, ("int32_t", "int8_t"), strict=True
            )
        )
        function = site.sheet.helper(rounding.name, rounding.body)
        return f"{function}({term.value}, {multiplier}, {shift})"

    def _other(self, term: Term, factors: Any, key: str) -> str:
        """As everything but a convolution is rounded."""
        factor = fixed_point(np.asarray(factors), self.arithmetic.bits)
        return self._apply(self.arithmetic.other, term, factor, key)

    def rescale(self, term: Term, source: npt.NDArray[Any], target: Grid, key: str) -> str:
        factor = fixed_point(source / scales(target), self.arithmetic.bits)
        return self._apply(self.arithmetic.conv, term, factor, key) + plus(target.zero_point)

    def prelu(self, term: Term, slopes: Slopes, target: Grid) -> str:
        grid, own = term.grid, slopes.grid
        keep = self._other(term, grid.scales / target.scales, "keep")
        if grid.bits == 32:  # the product with a slope would not fit beside a 31-bit multiplier
            factors = grid.scales * own.to_reals(slopes.values).astype(F32) / target.scales
            sign = per_channel(self.site, "sign", np.sign(factors).astype(np.int64), "int8_t")
            below = f"{sign} * " + self._other(term, np.abs(factors), "slope")
        else:
            factors = F32(grid.scales * own.scales) / target.scales
            below = self._other(multiplied(self.site, term, slopes), factors, "slope")
        return f"({term.value} >= 0\n    ? {keep}\n    : {below}){plus(target.zero_point)}"

    def add(self, terms: Sequence[Term], target: Grid) -> str:
        if any(term.grid.bits == 32 for term in terms):
            return self._add_sums(terms, target)
        headroom = 15 if any(term.grid.bits == 16 for term in terms) else 20
        twice = 2.0 * max(float(term.grid.scales.max()) for term in terms)
        parts, bound = [], 0
        for index, term in enumerate(terms):
            value, most = f"(int64_t)({term.value}) * {1 << headroom}", term.bound << headroom
            factors = scales(term.grid) / twice  # at most a half
            parts.append(self._other(Term(value, most, term.grid), factors, f"part{index}"))
            bound += most
        total = Term(LINE.join(parts), bound, target)
        last = twice / ((1 << headroom) * scales(target))
        return self._other(total, last, "total") + plus(target.zero_point)

    def _add_sums(self, terms: Sequence[Term], target: Grid) -> str:
        """A convolution's sums and a tensor, brought to the sums' scale and rounded once."""
        sums = [term for term in terms if term.grid.bits == 32]
        check(len(sums) == 1, f"{self.site.layer.name}: inputs of 32 bits", "one", len(sums))
        value, bound, grid, _ = sums[0]
        for other in (term for term in terms if term.grid.bits != 32):
            ratio = scales(other.grid) / scales(grid)
            value += LINE + self._other(other, ratio, "part")
            bound += math.ceil(other.bound * float(ratio.max())) + 2
        return self.rescale(Term(value, bound, grid), scales(grid), target, "total")
