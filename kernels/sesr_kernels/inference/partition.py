"""How images are cut into jobs: strips of columns and bands of rows, each with its exact halo."""

from __future__ import annotations

import itertools
from typing import NamedTuple

from sesr_kernels.description.packing import round_up
from sesr_kernels.machine.emit import LANES

LOST = 8
"""Columns' worth of work that a row of a strip costs, whatever its width."""
SHORTEST_BAND, LEAST_COLUMNS = 16, 16
"""Rows of a band; columns of a strip beside four times its halo."""
WIDER = 1.25
"""How much wider than the caches like a strip may be, if that makes it a better fit."""


class Job(NamedTuple):
    """One strip of one band of one image: rows and columns of the input."""

    image: int
    top: int
    bottom: int
    left: int
    right: int


class Needs(NamedTuple):
    """What a network needs of strips and bands.

    `strip` is the number of columns that the caches like, `halo` that of those which an output
    needs on each side; `rows` is how many more a band makes on each side, on average of all layers;
    bands begin at multiples of `step`.
    """

    strip: int
    halo: int
    rows: float
    step: int


def jobs(needs: Needs, n: int, height: int, width: int, threads: int) -> tuple[Job, ...]:
    """Cut `n` images so that the last of the threads ends as early as possible."""
    strips, bands = grid(needs, n, height, width, threads)
    # bands begin where steps do: the rings were rehearsed from such a row on
    rows = [height * b // bands // needs.step * needs.step for b in range(bands)] + [height]
    columns = _columns(needs, width, strips)
    return tuple(
        Job(image, rows[b], rows[b + 1], left, right)
        for image in range(n)
        # from the bottom: the rows above a band, whole groups of Winograd's, cost more than those
        # below, and the caller, who takes the first job, starts before its helpers
        for b in reversed(range(bands))
        for left, right in itertools.pairwise(columns)
    )


def grid(needs: Needs, n: int, height: int, width: int, threads: int) -> tuple[int, int]:
    """Strips and bands by which the last thread ends first; the fewer the better if many do."""
    fewest = max(1, int(-(-width // (WIDER * needs.strip))))
    most = max(fewest, min(fewest + threads, width // (LEAST_COLUMNS + 4 * needs.halo)))
    bands = max(1, min(2 * threads, height // SHORTEST_BAND))

    def cost(cut: tuple[int, int]) -> float:
        rounds = -(-n * cut[0] * cut[1] // threads)
        columns = -(-width // cut[0]) + min(cut[0] - 1, 2) * needs.halo
        rows = height / cut[1] + min(cut[1] - 1, 2) * needs.rows
        return rounds * (round_up(columns, LANES) + LOST) * rows

    return min(itertools.product(range(fewest, most + 1), range(1, bands + 1)), key=cost)


def _columns(needs: Needs, width: int, strips: int) -> list[int]:
    """Edges of strips that with their halo are whole vectors, the last one excepted."""
    edges = [0]
    for i in range(1, strips):
        beside = needs.halo * (1 if i == 1 else 2)
        vectors = max(1, round((width * i / strips - edges[-1] + beside) / LANES))
        edges.append(min(max(edges[-1] + vectors * LANES - beside, edges[-1] + 1), width - 1))
    return [*edges, width]
