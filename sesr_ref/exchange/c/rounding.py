"""Each arithmetic's roundings as expressions of C: a writer for each of their classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy.typing as npt

from sesr_ref.exchange.c.fixed_point import FixedWriter
from sesr_ref.exchange.c.float_scale import DequantisedWriter, FloatWriter
from sesr_ref.exchange.c.shifts import ShiftWriter
from sesr_ref.exchange.c.site import Site
from sesr_ref.exchange.c.term import Slopes, Term
from sesr_ref.integers.arithmetic import Arithmetic, Dequantised, FixedPoint, FloatScale, Shift
from sesr_ref.integers.grid import Grid


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
