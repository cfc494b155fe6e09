"""Pieces of an image that can be computed alone: each with its exact halo."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from sesr_ref.ops.arrays import Array
from sesr_ref.receptive import halo
from sesr_ref.verify.model import Model


class Window(NamedTuple):
    """Part of one image: what is computed and, inside it, what is compared, in input pixels."""

    image: int
    outer: tuple[slice, slice]
    inner: tuple[slice, slice]

    def cut(self, array: Array, height: int) -> Array:
        """The computed part of a tensor of an input of `height` rows, in float64."""
        ratio = array.shape[1] // height
        rows, columns = (slice(s.start * ratio, s.stop * ratio) for s in self.outer)
        return np.asarray(array[self.image : self.image + 1, rows, columns], np.float64)

    def inside(self, array: Array) -> Array:
        """The compared part of a tensor that was computed on the window alone."""
        ratio = self.ratio(array)
        rows, columns = (
            slice((i.start - o.start) * ratio, (i.stop - o.start) * ratio)
            for i, o in zip(self.inner, self.outer, strict=True)
        )
        return array[:, rows, columns]

    def ratio(self, array: Array) -> int:
        """How many times as large as the input such a tensor is."""
        return int(array.shape[1] // (self.outer[0].stop - self.outer[0].start))

    def start(self, array: Array) -> tuple[int, ...]:
        """Index in the whole tensor of the compared part's first element."""
        return self.image, *(s.start * self.ratio(array) for s in self.inner), 0


def margin(model: Model) -> int:
    """Pixels around a window that make what is inside exact."""
    reach = halo(model.net)
    if model.arithmetic.winograd is None:
        return reach
    return reach * max(model.arithmetic.winograd)  # bounds look as far as a tile reaches


def tiles(model: Model, shape: tuple[int, ...], size: int) -> Iterator[Window]:
    """Cover every image of a batch of `shape` (n, height, width, channels)."""
    reach = margin(model)
    for image in range(shape[0]):
        for top in range(0, shape[1], size):
            for left in range(0, shape[2], size):
                rows = _span(top, top + size, shape[1], reach)
                columns = _span(left, left + size, shape[2], reach)
                yield Window(image, (rows[0], columns[0]), (rows[1], columns[1]))


def around(
    model: Model, shape: tuple[int, ...], image: int, row: int, column: int, size: int
) -> Window:
    """Up to `size` x `size` pixels with the given one about in their middle."""
    spans = []
    for middle, length in ((row, shape[1]), (column, shape[2])):
        start = max(0, min(middle - size // 2, length - size))
        spans.append(_span(start, start + size, length, 2 * margin(model)))
    return Window(image, (spans[0][0], spans[1][0]), (spans[0][1], spans[1][1]))


def _span(start: int, stop: int, size: int, reach: int) -> tuple[slice, slice]:
    stop = min(stop, size)
    return slice(max(start - reach, 0), min(stop + reach, size)), slice(start, stop)
