"""One row of everything in a band that is no convolution: elementwise, shuffled, enlarged."""

from __future__ import annotations

from typing import Any

import numpy as np

from sesr_kernels.blocks.convolve import RELU
from sesr_kernels.inference import rings as r
from sesr_kernels.inference import schedule as sc
from sesr_kernels.inference.resampling import blend_rows, inside, spread_row
from sesr_kernels.inference.rings import MARGIN, row_start
from sesr_kernels.machine.compiled import compiled

ACTIVATION, ADD, CONCAT, SHUFFLE, AFFINE, CLIP = (
    sc.ACTIVATION, sc.ADD, sc.CONCAT, sc.SHUFFLE, sc.AFFINE, sc.CLIP
)  # fmt: skip


@compiled
def elementwise(op: Any, row: int, tensors: Any, places: Any, numbers: Any, work: Any) -> None:
    """Make one row by an operation on single values, or by moving them."""
    source, target = tensors[op[r.SOURCE]], tensors[op[r.TARGET]]
    out = row_start(tensors, op[r.TARGET], row) + MARGIN
    x = row_start(tensors, op[r.SOURCE], row // op[r.RATIO]) + MARGIN
    if op[r.KIND] == SHUFFLE:
        _shuffle(op, row, source, target, x, out, places, work)
        return
    other = 0
    if op[r.SECOND] >= 0:
        other = row_start(tensors, op[r.SECOND], row) + MARGIN
    repeated = op[r.SECOND] >= 0 and tensors[op[r.SECOND], r.COLUMNS] == 1
    a, b = numbers[op[r.NUMBER]], numbers[op[r.NUMBER] + 1]
    for c in range(target[r.COLUMNS]):
        y, here = out + c * target[r.PITCH], x + c * source[r.PITCH]
        there = other if repeated else other + c * target[r.PITCH]
        if op[r.KIND] == CONCAT and c >= source[r.COLUMNS]:
            here = other + (c - source[r.COLUMNS]) * target[r.PITCH]
        for i in range(target[r.WIDTH]):
            value = work[here + i]
            if op[r.KIND] == ADD:
                value += work[there + i]
            elif op[r.KIND] == AFFINE:
                value = value * a + b
            elif op[r.KIND] == CLIP:
                value = a if value < a else (b if value > b else value)
            elif op[r.KIND] == ACTIVATION and not value > 0:
                if op[r.FLAGS] == RELU:
                    value = np.float32(0) if value < 0 else value
                else:
                    value *= numbers[op[r.SLOPE] + c]
            work[y + i] = value


@compiled
def _shuffle(
    op: Any, row: int, source: Any, target: Any, x: int, out: int, places: Any, work: Any
) -> None:
    """Spread the channels of the row's part of a block."""
    block = op[r.SIZE]
    first = op[r.NUMBER]
    for c in range(source[r.COLUMNS]):
        if places[first + c, 0] == row % block:
            y = out + places[first + c, 2] * target[r.PITCH] + places[first + c, 1]
            for i in range(source[r.WIDTH]):
                work[y + i * block] = work[x + c * source[r.PITCH] + i]


@compiled
def resize(
    op: Any, row: int, tensors: Any, taps: Any, places: Any, numbers: Any, work: Any
) -> None:
    """Make one row of an enlargement by a fixed kernel."""
    source, target = tensors[op[r.SOURCE]], tensors[op[r.TARGET]]
    ratio, count, edge, firsts = op[r.RATIO], op[r.SIZE], op[r.FLAGS], op[r.FIRSTS]
    above = row // ratio + places[firsts + row % ratio, 0]
    for t in range(count):
        taps[t] = row_start(tensors, op[r.SOURCE], inside(above + t, source[r.ROWS], edge)) + MARGIN
    between = tensors[op[r.BUFFER], r.OFFSET] + MARGIN
    out, weights = row_start(tensors, op[r.TARGET], row) + MARGIN, op[r.NUMBER]
    for c in range(target[r.COLUMNS]):
        blend_rows(work, taps, c * source[r.PITCH], count, source[r.WIDTH], numbers,
                   weights + row % ratio * count, between)  # fmt: skip
        spread_row(work, between, source[r.WIDTH], op[r.REACH], edge, places, firsts, ratio, count,
                   numbers, weights, out + c * target[r.PITCH])  # fmt: skip
