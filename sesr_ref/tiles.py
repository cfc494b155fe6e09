"""Tiles: parts of an image, each with the pixels around it that its result depends on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from sesr_ref.network import Network
from sesr_ref.ops.arrays import Array
from sesr_ref.ops.table import Ops
from sesr_ref.receptive import halo


class HasTile(Protocol):
    """A plan for tiles, as `sesr_ref.plan_tiles` returns it."""

    @property
    def tile(self) -> tuple[int, int]:
        """Rows and columns of the input that a tile covers, without its halo."""


Tile = int | tuple[int, int]


class Span(NamedTuple):
    """Rows or columns to compute (`core`), and those that they depend on (`seen`)."""

    core: slice
    seen: slice

    @classmethod
    def around(cls, core: slice, margin: int, size: int, step: int = 1) -> Span:
        """See up to `margin` more pixels on either side, starting at a multiple of `step`."""
        first = max(core.start - margin, 0) // step * step
        return cls(core, slice(first, min(core.stop + margin, size)))

    def inside(self, upscale: int) -> slice:
        """Position of the core within the result of `seen`, enlarged by `upscale`."""
        start = (self.core.start - self.seen.start) * upscale
        return slice(start, start + (self.core.stop - self.core.start) * upscale)


class Window(NamedTuple):
    """A part of the images of a batch, or of one of them, in pixels of the network's input."""

    rows: Span
    columns: Span
    image: slice = slice(None)

    def of(self, image: int) -> Window:
        """The same part of one image of the batch."""
        return self._replace(image=slice(image, image + 1))

    def cut(self, array: Array, height: int) -> Array:
        """Cut the seen part out of a whole tensor, given the input's `height`."""
        ratio = array.shape[1] // height
        return array[self.image, scaled(self.rows.seen, ratio), scaled(self.columns.seen, ratio)]

    def inside(self, array: Array) -> Array:
        """The core of a tensor that was computed from the seen part."""
        ratio = self.ratio(array)
        return array[:, self.rows.inside(ratio), self.columns.inside(ratio)]

    def ratio(self, array: Array) -> int:
        """How many times as large as the seen part of the input such a tensor is."""
        return int(array.shape[1] // (self.rows.seen.stop - self.rows.seen.start))

    def start(self, array: Array) -> tuple[int, int, int, int]:
        """Index in the whole tensor of the core's first element."""
        ratio = self.ratio(array)
        return (
            self.image.start or 0,
            self.rows.core.start * ratio,
            self.columns.core.start * ratio,
            0,
        )

    def place(self, ratio: int) -> tuple[slice, slice, slice]:
        """Index of the core in the whole tensor, which is `ratio` times as large as the input."""
        return self.image, scaled(self.rows.core, ratio), scaled(self.columns.core, ratio)


def scaled(span: slice, upscale: int) -> slice:
    """Position of `span` in the enlarged axis."""
    return slice(span.start * upscale, span.stop * upscale)


def cuts(size: int, length: int) -> Iterator[slice]:
    """Cut `size` into parts of `length`; the last one may be shorter."""
    for start in range(0, size, length):
        yield slice(start, min(start + length, size))


def windows(
    height: int, width: int, tile: tuple[int, int], margin: int, step: int = 1
) -> Iterator[Window]:
    """Cover an image with tiles.

    Parameters
    ----------
    height, width : int
        Size of the image in pixels.
    tile : (int, int)
        Rows and columns of a window's core.
    margin : int
        Pixels that it sees beyond them on each side, where the image has them.
    step : int
        The seen part starts at a multiple of this.

    Yields
    ------
    Window
        From the top left, row by row; each for every image of a batch.
    """
    for rows in cuts(height, tile[0]):
        for columns in cuts(width, tile[1]):
            yield Window(
                Span.around(rows, margin, height, step), Span.around(columns, margin, width, step)
            )


def assemble(
    compute: Callable[[NDArray[Any]], NDArray[Any]],
    x: NDArray[Any],
    upscale: int,
    parts: Iterable[Window],
    dtype: DTypeLike,
) -> NDArray[Any]:
    """Compute images window by window.

    Parameters
    ----------
    compute : function
        From a part of the images to its enlargement, of the same channels.
    x : (n, height, width, channels) array
        The images.
    upscale : int
        The enlargement.
    parts : iterable of Window
        They cover the images.
    dtype : dtype
        Of the enlargement.

    Returns
    -------
    (n, upscale * height, upscale * width, channels) array
    """
    n, height, width, channels = x.shape
    y = np.empty((n, height * upscale, width * upscale, channels), dtype)
    for window in parts:
        part = np.ascontiguousarray(window.cut(x, height))
        y[window.place(upscale)] = window.inside(compute(part))
    return y


def exact_margin(net: Network, ops: Ops) -> tuple[int, int]:
    """Pixels around a tile that make it exact with these operations, and where it may start.

    Parameters
    ----------
    net : Network
        A collapsed network.
    ops : Ops
        The operations that run it; kernels may need more than the network's halo, since Winograd's
        algorithm works in groups of rows.

    Returns
    -------
    margin : int
        Pixels of the input on each side.
    step : int
        A tile with its margin starts at a multiple of this many pixels.
    """
    return (ops.margin and ops.margin(net)) or (halo(net), 1)
