"""The rows of a ring.

A tensor keeps its last `depth` rows; row i is at i modulo `depth`.  The first `MARGIN` floats of
every plane of a row and those behind the image's width are zero: the padding of the convolutions.
Rows above and below the image are zero as well.  Every operation leaves it so.
"""

from __future__ import annotations

from collections.abc import Sequence

from sesr_kernels.inference.operands import Ring
from sesr_kernels.machine.compiled import Floats, compiled

MARGIN = 16
"""Floats of padding left of a row, and at least that many right of it; no tap reaches farther."""


@compiled
def row_start(tensors: Sequence[Ring], number: int, row: int) -> int:
    """Index of the first float of a row, padding included."""
    ring = tensors[number]
    return ring.offset + (row % ring.depth) * ring.planes * ring.pitch


@compiled
def row_address(tensors: Sequence[Ring], number: int, row: int, base: int) -> int:
    """Address of a row's first pixel in rings that begin at `base`."""
    return base + 4 * (row_start(tensors, number, row) + MARGIN)


@compiled
def plane_stride(tensors: Sequence[Ring], number: int) -> int:
    """Bytes between two channels as a sum reads them: 0 repeats the only one."""
    return 4 * tensors[number].pitch if tensors[number].channels > 1 else 0


@compiled
def blank(tensors: Sequence[Ring], number: int, row: int, work: Floats) -> None:
    """Zero a row outside the image."""
    start = row_start(tensors, number, row)
    # all planes and their padding are one run of floats
    for i in range(start, start + tensors[number].planes * tensors[number].pitch):
        work[i] = 0


@compiled
def clear(tensors: Sequence[Ring], number: int, row: int, work: Floats) -> None:
    """Zero the padding right of a row."""
    ring, start = tensors[number], row_start(tensors, number, row)
    for c in range(ring.planes):
        # as far as a pixel's taps reach; what tiles leave farther right is no pixel's
        first = start + c * ring.pitch + MARGIN + ring.width
        for x in range(first, first + MARGIN):
            work[x] = 0
