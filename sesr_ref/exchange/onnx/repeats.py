"""Channels and pixels that repeat: what Tile, Expand and Concat of an image amount to."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import NamedTuple

from sesr_ref.exchange.onnx.axes import Axes, Axis, Shape4, image_axes, lengths
from sesr_ref.network import MAX_SIZE


class Repeat(NamedTuple):
    """What each channel of the result was, how often each pixel repeats, and the axes' order."""

    channels: tuple[int, ...]
    upscale: int
    order: tuple[int, ...]


def repeat_of(axes: Axes, shape: Shape4) -> Repeat | None:
    """The repeated channels and pixels of a plain tensor that `axes` amount to.

    Parameters
    ----------
    axes : Axes
        Of the tensor after the chain, with factors of axis ``"*"`` where something repeats.
    shape : (int, int, int, int)
        Of the plain NCHW tensor before it.

    Returns
    -------
    Repeat or None
        None where neither channels nor whole pixels repeat.
    """
    batch, _, rows, columns = image_axes(shape)
    for order in permutations(range(4)) if len(axes) == 4 else ():
        n, c, h, w = (axes[order.index(i)] for i in range(4))
        upscale = _repeats(h, rows)
        whole = n == batch and upscale == _repeats(w, columns) > 0
        if whole and all(factor.axis in "c*" for factor in c) and lengths((c,))[0] <= MAX_SIZE:
            return Repeat(_channels(c), upscale, order)
    return None


def _repeats(axis: Axis, plain: Axis) -> int:
    """How often each pixel along an axis stands beside itself; 0 where it is something else."""
    if axis == plain:
        return 1
    return axis[-1].size if axis and axis[:-1] == plain and axis[-1].axis == "*" else 0


def _channels(axis: Axis) -> tuple[int, ...]:
    """The channel that each index along an axis of factors stands for."""
    found = [0]
    for factor in axis:
        step = factor.step if factor.axis == "c" else 0
        found = [channel + step * digit for channel in found for digit in range(factor.size)]
    return tuple(found)


def parts_of(channels: Sequence[int]) -> list[tuple[int, int]]:
    """Start and stop of the slices whose concatenation gives these channels.

    Parameters
    ----------
    channels : sequence of int
        Such as (0, 1, 2, 0, 1, 2) or (0, 0, 1, 1, 2, 2).

    Returns
    -------
    list of (int, int)
        Such as [(0, 3), (0, 3)], or each channel by itself where that takes fewer different ones.
    """
    single = [(channel, channel + 1) for channel in channels]
    runs: list[tuple[int, int]] = []
    for channel in channels:
        if runs and runs[-1][1] == channel:
            runs[-1] = (runs[-1][0], channel + 1)
        else:
            runs.append((channel, channel + 1))
    return min(runs, single, key=lambda parts: len(set(parts)))
