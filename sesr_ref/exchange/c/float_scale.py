"""Integers rescaled by way of float32, in C."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_ref.exchange.c.fixed_point import FixedWriter
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
)
from sesr_ref.integers.arithmetic import Dequantised, FloatScale
from sesr_ref.integers.grid import Grid
from sesr_ref.limits import check

ROUND = """\
/* The nearest integer, half to even. */
static int64_t @_round(float x)
{
    return (int64_t)rintf(x);
}
"""


class FloatWriter:
    """Sums in float32 times a float32 scale, rounded to even."""

    def __init__(self, arithmetic: FloatScale, site: Site) -> None:
        self.arithmetic, self.site = arithmetic, site

    def _round(self, number: str, bound: float) -> str:
        fitting(self.site, math.ceil(bound))
        return f"{self.site.sheet.helper('round', ROUND, 'math.h')}({number})"

    def rescale(self, term: Term, source: npt.NDArray[Any], target: Grid, key: str) -> str:
        factors = source.astype(F32) / target.scales
        factor = per_channel(self.site, key, factors, "float", term.channel)
        bound = term.bound * float(factors.max())
        return self._round(f"(float)({term.value}) * {factor}", bound) + plus(target.zero_point)

    def prelu(self, term: Term, slopes: Slopes, target: Grid) -> str:
        if self.arithmetic.builtin_prelu is not None:
            return FixedWriter(self.arithmetic.builtin_prelu, self.site).prelu(term, slopes, target)
        v, grid = term.value, term.grid
        kept = grid.scales / target.scales
        slope = F32(grid.scales * slopes.grid.scales) / target.scales
        keep, below = (
            per_channel(self.site, key, factor, "float")
            for key, factor in (("keep", kept), ("below", slope))
        )
        product = multiplied(self.site, term, slopes)
        number = f"{v} < 0\n    ? (float)({product.value}) * {below}\n    : (float){v} * {keep}"
        most = max(product.bound * float(slope.max()), term.bound * float(kept.max()))
        return self._round(number, most) + plus(target.zero_point)

    def add(self, terms: Sequence[Term], target: Grid) -> str:
        site = self.site
        for term in terms:
            needed = "of one scale (calibrate without fused additions)"
            check(
                term.grid.axis is None, f"{site.layer.name}: grids of its inputs", needed, term.grid
            )
        quotients = [F32(term.grid.scales.max() / target.scales) for term in terms]
        shift = 20 - (math.frexp(float(max(quotients)))[1] - 1)
        check(1 <= shift <= 61, f"{site.layer.name}: shift of its sum", "1 to 61", shift)
        total, bound = f"{1 << (shift - 1)}", 1 << (shift - 1)
        for term, quotient in zip(terms, quotients, strict=True):
            multiplier = round(float(quotient) * 2.0**shift)
            total += f"{LINE}(int64_t)({term.value}) * {multiplier}"
            bound += term.bound * multiplier
        fitting(site, bound)
        function = site.sheet.helper("floor_shift", FLOOR_SHIFT)
        return f"{function}({total}, {shift}){plus(target.zero_point)}"


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
        return f"{function}(({number}) / {divisor}){plus(target.zero_point)}"

    def prelu(self, term: Term, slopes: Slopes, target: Grid) -> str:
        factors = slopes.above_zero.astype(F32) * slopes.grid.scales
        slope = per_channel(self.site, "slope", factors, "float")
        scale = per_channel(self.site, "scale", term.grid.scales, "float")
        real = f"(float){term.value} * {scale}"
        most = term.bound * float(term.grid.scales.max()) * max(1.0, float(np.abs(factors).max()))
        return self._divided(
            f"{term.value} < 0\n    ? {real} * {slope}\n    : {real}", most, target
        )

    def add(self, terms: Sequence[Term], target: Grid) -> str:
        reals = [
            f"(float)({term.value}) * "
            + per_channel(self.site, f"scale{index}", term.grid.scales, "float")
            for index, term in enumerate(terms)
        ]
        most = sum(term.bound * float(term.grid.scales.max()) for term in terms)
        return self._divided(LINE.join(reals), most, target)
