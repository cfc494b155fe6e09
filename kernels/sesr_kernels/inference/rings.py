"""The tables that the compiled half of inference reads, and the rows of its rings.

A row of a tensor is `planes` rows of `pitch` floats, of which the first `MARGIN` and those behind
the image's width are zero: the padding of the convolutions.  Rows above and below the image are
zero as well.  Every operation leaves it so.
"""

from __future__ import annotations

from typing import Any

from sesr_kernels.machine.compiled import compiled

MARGIN = 16
"""Floats of padding left of a row, and at least that many right of it; no tap reaches farther."""

# columns of an operation's row in the program
(KIND, TARGET, SOURCE, SECOND, THIRD, SIZE, REACH, RATIO, FLAGS, CHANNELS, GROUPS, WEIGHT, BIAS,
 SLOPE, NUMBER, PHASE, OUTS, FIELDS) = range(18)  # fmt: skip
BUFFER, FIRSTS = WEIGHT, BIAS  # of an enlargement: its tensor of one row, its rows of `places`
PARTS = NUMBER  # of a convolution: each reads CHANNELS inputs for GROUPS blocks of outputs
# columns of a tensor's row
OFFSET, DEPTH, PLANES, PITCH, WIDTH, LOW, HIGH, ROWS, COLUMNS = range(9)


@compiled
def row_start(tensors: Any, number: int, row: int) -> int:
    """Index of the first float of a row."""
    tensor = tensors[number]
    return tensor[OFFSET] + (row % tensor[DEPTH]) * tensor[PLANES] * tensor[PITCH]  # type: ignore[no-any-return]


@compiled
def blank(tensors: Any, number: int, row: int, work: Any) -> None:
    """Zero a row outside the image."""
    start = row_start(tensors, number, row)
    for i in range(start, start + tensors[number, PLANES] * tensors[number, PITCH]):
        work[i] = 0


@compiled
def clear(target: Any, start: int, work: Any) -> None:
    """Zero the padding right of a row."""
    for c in range(target[PLANES]):
        first = start + c * target[PITCH] + MARGIN + target[WIDTH]
        for x in range(first, first + MARGIN):
            work[x] = 0
