"""Parts of a batch: their gradients are added in one order, whoever computes which of them.

A batch's images are cut into parts by their number alone.  Threads share the parts of a process,
processes of a group those of a batch, and the sum has the same bits for any number of either.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

BATCH_PARTS = 16
"""Parts of a batch at least, if it has as many images, for the threads to share.  A part's partial
sums are reduced once."""
MOST_IMAGES = 8
"""Images of a part at most, so that a large batch has parts for many processes."""
TREE_PARTS = 32
"""Parts from which on their sums are added as a binary tree, of which a process needs the
logarithm of all; fewer are added one after the other."""


class Group(Protocol):
    """Processes that share a batch: the one of `rank` is one of `size`."""

    @property
    def rank(self) -> int:
        """The number of this process, from 0 on."""

    @property
    def size(self) -> int:
        """How many there are."""

    def gather(self, array: Array, ends: Sequence[int]) -> None:
        """Fill an array, of which the process r has written the rows `ends[r]` to `ends[r + 1]`."""

    def swap(self, array: Array, partner: int) -> Array:
        """Send an array to a process that sends one alike; the one that it has sent."""


def images_each(batch: int) -> int:
    """Images of each part but perhaps the last."""
    return max(1, min(batch // BATCH_PARTS, MOST_IMAGES))


def part_ends(batch: int, size: int) -> list[int]:
    """Where the parts of each of `size` processes begin, and where the last one's end."""
    parts = -(-batch // images_each(batch))
    return [parts * rank // size for rank in range(size + 1)]


def image_ends(batch: int, size: int) -> list[int]:
    """Where the images of each of `size` processes begin, and where the last one's end."""
    return [min(end * images_each(batch), batch) for end in part_ends(batch, size)]


def own_images(batch: int, rank: int, size: int) -> tuple[int, int]:
    """Images of a batch that are one process's: the first, and the one behind the last.

    Parameters
    ----------
    batch : int
        Images in all.
    rank, size : int
        Of the process, in its group.

    Returns
    -------
    int, int
        Equal if there are more processes than parts.
    """
    ends = image_ends(batch, size)
    return ends[rank], ends[rank + 1]


def summed(losses: Array, rows: Array, batch: int, group: Group | None) -> tuple[Array, Array]:
    """Add up what the processes of a group have computed of a batch.

    Parameters
    ----------
    losses : (images,) float64 array
        Of this process's own images.
    rows : (parts, n) float32 array
        Gradients of its own parts.
    batch : int
        Images in all.
    group : Group, optional
        The processes; this one alone has all parts without it.

    Returns
    -------
    losses : (batch,) float64 array
        Of all images.
    total : (n,) float32 array
        Sum of all rows.
    """
    if group is None:
        return losses, rows.sum(0) if len(rows) < TREE_PARTS else tree_sum(rows)
    all_losses = gathered(losses, image_ends(batch, group.size), group)
    ends = part_ends(batch, group.size)
    if ends[-1] < TREE_PARTS:
        return all_losses, gathered(rows, ends, group).sum(0)
    if _is_tree(ends):
        return all_losses, _doubled(tree_sum(rows), group)
    nodes = [subtrees(ends[rank], ends[rank + 1]) for rank in range(group.size)]
    own = np.stack(
        [tree_sum(rows[a - ends[group.rank] : b - ends[group.rank]]) for a, b in nodes[group.rank]]
    )
    counts = np.cumsum([0, *map(len, nodes)])
    sums = gathered(own, counts.tolist(), group)
    known = dict(zip(chain.from_iterable(nodes), sums, strict=True))
    return all_losses, _completed(0, _power(ends[-1]), ends[-1], known)


def gathered(own: Array, ends: Sequence[int], group: Group) -> Array:
    """Rows of all processes, of which each has its own."""
    rows = np.empty((ends[-1], *own.shape[1:]), own.dtype)
    rows[ends[group.rank] : ends[group.rank + 1]] = own
    group.gather(rows, ends)
    return rows


def tree_sum(rows: Array) -> Array:
    """Sum of rows as a binary tree: neighbours first; a last one without neighbour stays."""
    while len(rows) > 1:
        pairs, rest = rows[: len(rows) // 2 * 2], rows[len(rows) // 2 * 2 :]
        rows = np.concatenate([pairs[::2] + pairs[1::2], rest])
    total: Array = rows[0]
    return total


def subtrees(start: int, stop: int) -> list[tuple[int, int]]:
    """The largest parts of the tree over all numbers from 0 on that lie from `start` to `stop`."""
    found = []
    while start < stop:
        size = _power(stop)
        while start % size or start + size > stop:
            size //= 2
        found.append((start, start + size))
        start += size
    return found


def _is_tree(ends: Sequence[int]) -> bool:
    """Whether processes have equal parts, and these and they are a power of 2 in number."""
    each, size = ends[1], len(ends) - 1
    return ends[-1] == each * size and _power(each) == each and _power(size) == size


def _doubled(total: Array, group: Group) -> Array:
    """Add neighbours, then pairs of them, and so on: what `tree_sum` of all rows adds."""
    step = 1
    while step < group.size:
        total = total + group.swap(total, group.rank ^ step)
        step *= 2
    return total


def _completed(start: int, size: int, count: int, known: dict[tuple[int, int], Array]) -> Array:
    """Sum of the tree's part over `size` numbers from `start` on, of which there are `count`."""
    if (start, start + size) in known:
        return known[start, start + size]
    half = size // 2
    left = _completed(start, half, count, known)
    if start + half >= count:
        return left
    return left + _completed(start + half, half, count, known)


def _power(count: int) -> int:
    """The smallest power of 2 that is not below `count`."""
    return 1 << (count - 1).bit_length()
