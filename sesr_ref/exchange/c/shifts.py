"""Shifts alone, in C: the arithmetic of designs in HDL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_ref.exchange.c import text
from sesr_ref.exchange.c.site import Site
from sesr_ref.exchange.c.term import (
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
from sesr_ref.integers.arithmetic import Shift
from sesr_ref.integers.grid import Grid
from sesr_ref.limits import check

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


def exponent(factors: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Logarithms of powers of two; ValueError for anything else."""
    fractions, exponents = np.frexp(factors)
    for factor in np.atleast_1d(factors)[np.atleast_1d(fractions != 0.5)]:
        check(False, "a quotient of scales", "a power of two (calibrate with power_of_two)", factor)
    logarithms: npt.NDArray[np.int64] = exponents.astype(np.int64) - 1
    return logarithms


class ShiftWriter:
    """Shifts alone, rounded once."""

    def __init__(self, arithmetic: Shift, site: Site) -> None:
        self.mode, self.site = arithmetic.mode, site

    def _shifted(self, term: Term, factors: npt.NDArray[Any], key: str) -> str:
        site, bound, shifts = self.site, term.bound, -exponent(factors)
        least, most = int(np.min(shifts)), int(np.max(shifts))
        fitting(site, max(bound << max(-least, 0), bound + (1 << max(most, 0))))
        if self.mode != "toward-zero":
            site.sheet.helper("floor_shift", FLOOR_SHIFT)
        body = SHIFTED.replace("MODE", self.mode).replace("BODY", text.block(HALVED[self.mode]))
        shift = per_channel(site, f"{key}_shift", shifts, "int8_t", term.channel)
        return f"{site.sheet.helper('shifted', body)}({term.value}, {shift})"

    def rescale(self, term: Term, source: npt.NDArray[Any], target: Grid, key: str) -> str:
        factors = source / scales(target)
        return self._shifted(term, factors, key) + plus(target.zero_point)

    def prelu(self, term: Term, slopes: Slopes, target: Grid) -> str:
        quotient = scales(term.grid) / scales(target)
        keep = self._shifted(term, quotient, "keep")
        factors = quotient * scales(slopes.grid)
        below = self._shifted(multiplied(self.site, term, slopes), factors, "slope")
        return f"({term.value} >= 0\n    ? {keep}\n    : {below}){plus(target.zero_point)}"

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
        total = Term(LINE.join(parts), bound, target)
        factors = np.asarray(finest) / scales(target)
        return self._shifted(total, factors, "total") + plus(target.zero_point)
