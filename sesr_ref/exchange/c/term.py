"""Values and constants that roundings in C are made of."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sesr_ref.exchange.c import text
from sesr_ref.exchange.c.site import Site
from sesr_ref.integers.grid import Grid
from sesr_ref.limits import check

F32 = np.float32
MOST = 1 << 63
"""No intermediate result may reach it."""
LINE = "\n    + "
"""Between the terms of a long sum."""


class Term(NamedTuple):
    """A value above its zero point: its expression, largest magnitude, grid, and channel."""

    value: str
    bound: int
    grid: Grid
    channel: str = "c"


class Slopes(NamedTuple):
    """Integer slopes and their grid."""

    values: npt.NDArray[Any]
    grid: Grid

    @property
    def above_zero(self) -> npt.NDArray[Any]:
        """The slopes less their zero point."""
        return np.asarray(self.values, np.int64) - self.grid.zero_point


def scales(grid: Grid) -> npt.NDArray[np.float64]:
    """The scale or scales in float64."""
    return grid.scales.astype(np.float64)


def per_channel(site: Site, key: str, values: Any, c_type: str, channel: str = "c") -> str:
    """A constant: a number where all channels have the same, else that of a channel."""
    flat = np.atleast_1d(values)
    if (flat == flat[0]).all():
        real = c_type in ("float", "double")
        return text.real(flat[0], c_type) if real else text.whole(flat[0])
    return f"{site.sheet.array(site.out.id, key, flat, c_type)}[{channel}]"


def fitting(site: Site, bound: int) -> None:
    """Raise ValueError unless a result so large fits 64 bits."""
    what = f"{site.layer.name}: bits of an intermediate result"
    check(bound < MOST, what, "at most 63", bound.bit_length())


def plus(zero: int) -> str:
    """Add a zero point."""
    return f" {'+' if zero > 0 else '-'} {abs(zero)}" if zero else ""


FLOOR_SHIFT = """\
/* x / 2**bits, rounded down; a shift of negative numbers is not defined in C. */
static int64_t @_floor_shift(int64_t x, int bits)
{
    return x < 0 ? ~(~x >> bits) : x >> bits;
}
"""


def multiplied(site: Site, term: Term, slopes: Slopes) -> Term:
    """A value times its slope."""
    values = slopes.above_zero
    bound = term.bound * int(np.abs(values).max())
    slope = per_channel(site, "slope", values, text.narrowest(values))
    cast = "(int64_t)" if bound >= 1 << 31 and term.grid.bits != 32 else ""
    return Term(f"{cast}{term.value} * {slope}", bound, term.grid)
