"""Enlargement of rows by an integer factor: the weights of each phase, and the compiled sums.

The arithmetic is that of the engine's own resampling: rows are blended first, then columns, every
tap's product rounded and added in order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from sesr_kernels.inference.operands import ResizeOperands, Ring, Step
from sesr_kernels.inference.rings import MARGIN, row_start
from sesr_kernels.machine.compiled import Floats, Integers, compiled

CLAMP, MIRROR = 0, 1
"""What lies beyond the edges: the last pixel again, or the image mirrored at its edge."""


def _cubic(a: Fraction) -> Callable[[Fraction], Fraction]:
    def kernel(t: Fraction) -> Fraction:
        if t <= 1:
            return ((a + 2) * t - (a + 3)) * t * t + 1
        return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a if t < 2 else Fraction(0)

    return kernel


# mode: (kernel of the distance, its width in pixels, edges)
MODES: dict[str, tuple[Callable[[Fraction], Fraction], int, int]] = {
    "nearest": (lambda t: Fraction(t < Fraction(1, 2)), 1, CLAMP),
    "bilinear": (lambda t: max(1 - t, Fraction(0)), 2, CLAMP),
    "bicubic": (_cubic(Fraction(-1, 2)), 4, MIRROR),
    "bicubic75": (_cubic(Fraction(-3, 4)), 4, CLAMP),
}


class Enlargement(NamedTuple):
    """Each phase's first pixel, relative to the one it lies in, and its weights from there on."""

    firsts: list[int]
    weights: list[list[float]]

    @property
    def size(self) -> int:
        """Taps of every phase."""
        return len(self.weights[0])

    @property
    def reach(self) -> int:
        """Pixels read to each side."""
        return max(-min(self.firsts), max(self.firsts) + self.size - 1)


@lru_cache(maxsize=16)
def enlargement(upscale: int, mode: str) -> Enlargement:
    """Weights of an enlargement, computed exactly and rounded once.

    Parameters
    ----------
    upscale : int
        Phases that a pixel is divided into; pixel centres are at half integers.
    mode : str
        A key of `MODES`.

    Returns
    -------
    Enlargement
        Without the taps that are zero in all of them.
    """
    kernel, width, _ = MODES[mode]
    centres = [Fraction(2 * p + 1, 2 * upscale) - Fraction(1, 2) for p in range(upscale)]
    firsts = [math.floor(centre - Fraction(width, 2)) for centre in centres]
    table = [
        [kernel(abs(centre - first - t)) for t in range(width + 2)]
        for centre, first in zip(centres, firsts, strict=True)
    ]
    used = [t for t in range(width + 2) if any(row[t] for row in table)]
    span = range(used[0], used[-1] + 1)
    return Enlargement(
        [first + span.start for first in firsts], [[float(row[t]) for t in span] for row in table]
    )


@compiled
def inside(index: int, size: int, edge: int) -> int:
    """Index of the pixel that stands for one beyond the edges."""
    if edge == CLAMP:  # the last pixel again
        return min(max(index, 0), size - 1)
    # mirrored at each edge, an image repeats after twice its size
    folded = index % (2 * size)
    return folded if folded < size else 2 * size - 1 - folded


@compiled
def resize(
    op: Step,
    own: ResizeOperands,
    row: int,
    firsts: Integers,
    weights: Floats,
    tensors: Sequence[Ring],
    starts: Integers,
    work: Floats,
) -> None:
    """Make one row of an enlargement: blend the rows around it, then spread the columns."""
    source, target = tensors[op.source], tensors[op.target]
    phase = row % op.ratio
    above = row // op.ratio + firsts[own.firsts + phase]
    for t in range(own.taps):
        # near an edge the same row, or a mirrored one, is read instead of padding
        there = inside(above + t, source.rows, own.edge)
        starts[t] = row_start(tensors, op.source, there) + MARGIN
    between = tensors[own.buffer].offset + MARGIN
    out = row_start(tensors, op.target, row) + MARGIN
    first = own.weights + phase * own.taps
    # rows first, as the engine does: the other order would round otherwise
    for c in range(target.channels):
        plane = c * source.pitch
        _blend_rows(work, starts, plane, own.taps, source.width, weights, first, between)
        _extend(work, between, source.width, op.reach, own.edge)
        y = out + c * target.pitch
        _spread_row(work, between, source.width, op.ratio, own, firsts, weights, y)


@compiled
def _blend_rows(
    work: Floats,
    starts: Integers,
    plane: int,
    taps: int,
    width: int,
    weights: Floats,
    first: int,
    y: int,
) -> None:
    """``y[i] = sum over t of row t[i] * weights[first + t]`` for rows that begin at `starts`."""
    # slices rather than indices into all of `work`: the compiler sees whole vectors
    target = work[y : y + width]
    for i in range(width):
        target[i] = 0
    for t in range(taps):
        start, weight = starts[t] + plane, weights[first + t]
        row = work[start : start + width]
        for i in range(width):
            target[i] += row[i] * weight


@compiled
def _extend(work: Floats, x: int, width: int, reach: int, edge: int) -> None:
    """Continue a row beyond both edges."""
    # once, so that the taps below need not ask where the edges are
    for t in range(1, reach + 1):
        work[x - t] = work[x + inside(-t, width, edge)]
        work[x + width - 1 + t] = work[x + inside(width - 1 + t, width, edge)]


@compiled
def _spread_row(
    work: Floats,
    x: int,
    width: int,
    upscale: int,
    own: ResizeOperands,
    firsts: Integers,
    weights: Floats,
    y: int,
) -> None:
    """Enlarge a row of `width` pixels; every phase has weights of its own."""
    for phase in range(upscale):
        weight = own.weights + phase * own.taps
        start = x + firsts[own.firsts + phase]
        for i in range(width):
            # from zero and in order, each product rounded: as the engine's own resampling
            total = np.float32(0)
            for t in range(own.taps):
                total += work[start + i + t] * weights[weight + t]
            work[y + i * upscale + phase] = total
