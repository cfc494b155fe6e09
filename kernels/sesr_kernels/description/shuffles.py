"""Depth-to-space as a table: which pixel of a block each channel is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Place(NamedTuple):
    """Where in a block of the result a channel ends up."""

    row: int
    column: int
    channel: int


def combined(channels: int, blocks: Sequence[tuple[int, str]]) -> tuple[int, list[Place]]:
    """Several shuffles, given as (block, mode), as one.

    Parameters
    ----------
    channels : int
        Ahead of the first.
    blocks : sequence of (int, str)
        In order.

    Returns
    -------
    block : int
        Of all together.
    places : list of Place
        Of each channel, in order.
    """
    grid = np.arange(channels).reshape(1, 1, channels)
    for block, mode in blocks:
        grid = _depth_to_space(grid, block, mode)
    found = np.unravel_index(np.argsort(grid, axis=None), grid.shape)
    return len(grid), [Place(int(y), int(x), int(c)) for y, x, c in zip(*found, strict=True)]


def _depth_to_space(x: Array, block: int, mode: str) -> Array:
    height, width, channels = x.shape
    features = channels // block**2
    if mode == "DCR":
        y = x.reshape(height, width, block, block, features).transpose(0, 2, 1, 3, 4)
    else:
        y = x.reshape(height, width, features, block, block).transpose(0, 3, 1, 4, 2)
    return y.reshape(height * block, width * block, features)
