"""The rows of a ring of words, as `inference.rings` has them: padding is the zero point."""

from __future__ import annotations

from collections.abc import Sequence

from sesr_kernels.inference.operands import Ring
from sesr_kernels.inference.rings import MARGIN, row_start
from sesr_kernels.integers.operands import Words
from sesr_kernels.machine.compiled import compiled


@compiled
def blank(tensors: Sequence[Ring], number: int, row: int, fill: int, work: Words) -> None:
    """Fill a row outside the image."""
    start = row_start(tensors, number, row)
    for i in range(start, start + tensors[number].planes * tensors[number].pitch):
        work[i] = fill


@compiled
def clear(tensors: Sequence[Ring], number: int, row: int, fill: int, work: Words) -> None:
    """Fill the padding right of a row."""
    ring, start = tensors[number], row_start(tensors, number, row)
    for group in range(ring.planes):
        first = start + group * ring.pitch + MARGIN + ring.width
        for x in range(first, first + MARGIN):
            work[x] = fill
