"""Keep the colours of transparent pixels from affecting visible ones."""

from __future__ import annotations

import numpy as np

from sesr_ref.images.colour import Pixels, to_float
from sesr_ref.ops.arrays import Array
from sesr_ref.tiles import Span


def visible_colours(image: Pixels, rows: slice, columns: slice, reach: int) -> Array:
    """Colours of a part of an image, with those of fully transparent pixels replaced.

    Parameters
    ----------
    image : (height, width, channels) array
        The last channel is alpha.
    rows, columns : slice
        The part; the result does not depend on where it ends.
    reach : int
        Fully transparent pixels up to this far from visible ones get the mean colour of their
        coloured neighbours; those further away get 0.

    Returns
    -------
    (rows, columns, channels - 1) float array
        In [0, 1].
    """
    height, width = image.shape[:2]
    down, across = Span.around(rows, reach, height), Span.around(columns, reach, width)
    part = to_float(image[down.seen, across.seen])
    known = part[..., -1:] > 0
    weighted = np.where(known, part, 0)
    weighted[..., -1:] = known  # sums of colours, and in the last channel how many
    for _ in range(reach):
        if known.all():
            break
        total = _sum_around(weighted)
        new = ~known & (total[..., -1:] > 0)
        np.divide(total, total[..., -1:], out=weighted, where=np.broadcast_to(new, total.shape))
        known |= new
    return weighted[down.inside(1), across.inside(1), :-1]


def _sum_around(planes: Array) -> Array:
    """Sum over the 3 x 3 pixels around each pixel, zero outside."""
    for axis in (0, 1):
        moved = np.moveaxis(planes, axis, 0)
        total = moved.copy()
        total[1:] += moved[:-1]
        total[:-1] += moved[1:]
        planes = np.moveaxis(total, 0, axis)
    return planes
