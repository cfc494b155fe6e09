"""Enlargement of rows by an integer factor: the weights of each phase, and the compiled sums.

The arithmetic is that of the engine's own resampling: rows are blended first, then columns, every
tap's product rounded and added in order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from sesr_kernels.machine.compiled import compiled

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


class Phases(NamedTuple):
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
def phases(upscale: int, mode: str) -> Phases:
    """Weights of an enlargement, computed exactly and rounded once.

    Parameters
    ----------
    upscale : int
        Phases that a pixel is divided into; pixel centres are at half integers.
    mode : str
        A key of `MODES`.

    Returns
    -------
    Phases
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
    return Phases(
        [first + span.start for first in firsts], [[float(row[t]) for t in span] for row in table]
    )


@compiled
def inside(index: int, size: int, edge: int) -> int:
    """Index of the pixel that stands for one beyond the edges."""
    if edge == CLAMP:
        return min(max(index, 0), size - 1)
    folded = index % (2 * size)
    return folded if folded < size else 2 * size - 1 - folded


@compiled
def blend_rows(
    work: Any, starts: Any, plane: int, count: int, width: int, numbers: Any, first: int, y: int
) -> None:
    """``y[i] = sum over t of row t[i] * numbers[first + t]`` for rows that begin at `starts`."""
    target = work[y : y + width]
    for i in range(width):
        target[i] = 0
    for t in range(count):
        start, weight = starts[t] + plane, numbers[first + t]
        row = work[start : start + width]
        for i in range(width):
            target[i] += row[i] * weight


@compiled
def spread_row(
    work: Any, x: int, width: int, reach: int, edge: int, firsts: Any, first: int, upscale: int,
    count: int, numbers: Any, number: int, y: int,
) -> None:  # fmt: skip
    """Enlarge a row of `width` pixels, around which there is room for `reach` more."""
    for t in range(1, reach + 1):
        work[x - t] = work[x + inside(-t, width, edge)]
        work[x + width - 1 + t] = work[x + inside(width - 1 + t, width, edge)]
    for phase in range(upscale):
        weights = number + phase * count
        start = x + firsts[first + phase, 0]
        for i in range(width):
            total = np.float32(0)
            for t in range(count):
                total += work[start + i + t] * numbers[weights + t]
            work[y + i * upscale + phase] = total
