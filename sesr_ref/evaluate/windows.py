"""Parts of an axis: what to enlarge, what is seen around it, its bicubic weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sesr_ref.ops.resampling import Resampling, resample_matrix

LARGEST_TILE = 1024
BICUBIC_REACH = 2
"""Input pixels on either side that bicubic enlargement reads."""


class Window(NamedTuple):
    """Rows or columns to enlarge (`core`), and those that it takes (`seen`)."""

    core: slice
    seen: slice

    @classmethod
    def around(cls, core: slice, margin: int, size: int, step: int = 1) -> Window:
        """See `margin` pixels more on either side that are there, from a multiple of `step` on."""
        first = max(core.start - margin, 0) // step * step
        return cls(core, slice(first, min(core.stop + margin, size)))

    def inside(self, upscale: int) -> slice:
        """The core's place in the enlarged `seen`."""
        start = (self.core.start - self.seen.start) * upscale
        return slice(start, start + (self.core.stop - self.core.start) * upscale)

    def bicubic(self, size: int, upscale: int) -> Resampling:
        """Weights that make the enlarged core of `seen`, as in the whole axis of `size` pixels."""
        whole = resample_matrix(size, upscale)
        wanted = scaled(self.core, upscale)
        length = self.seen.stop - self.seen.start
        return Resampling(length, whole.taps[wanted] - self.seen.start, whole.weights[wanted])


def scaled(span: slice, upscale: int) -> slice:
    """The place of `span` in the enlarged axis."""
    return slice(span.start * upscale, span.stop * upscale)


def spans(size: int, length: int | None) -> Iterator[slice]:
    """Cut `size` into spans of `length`, or into equal ones of at most `LARGEST_TILE`."""
    if length is None:
        count = -(-size // LARGEST_TILE)
        length = -(-size // count)
    for start in range(0, size, length):
        yield slice(start, min(start + length, size))
