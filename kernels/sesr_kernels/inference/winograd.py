"""Winograd's algorithm in a band: a group of rows of one convolution."""

from __future__ import annotations

from typing import Any

from sesr_kernels.blocks.convolve import OUTS
from sesr_kernels.blocks.winograd import (
    FARTHER,
    MOST_CHANNELS,
    MOST_POINTS,
    gather,
    multiply,
    spread,
)
from sesr_kernels.inference import rings as r
from sesr_kernels.inference.rings import MARGIN, blank, clear, row_start
from sesr_kernels.inference.schedule import GROUP
from sesr_kernels.machine.compiled import compiled
from sesr_kernels.machine.emit import LANES
from sesr_kernels.machine.tiling import TILE, tile_start, tile_vectors, tiling

CHUNK = max(1, 192 // TILE)
"""Tiles that are transformed at a time, and FARTHER vectors more."""
PITCH = 64 * (-(-(CHUNK * TILE + FARTHER * LANES) // 16) | 1)
"""Bytes between two channels of a chunk: an odd number of cache lines."""
POINT_STRIDE, PRODUCT_STRIDE = MOST_CHANNELS * PITCH + 64, OUTS * PITCH + 64
"""Bytes between two points of a channel, and between its products: no multiple of a page."""
SCRATCH = MOST_POINTS * (POINT_STRIDE + PRODUCT_STRIDE) // 4
"""Floats that a chunk needs."""


@compiled
def winograd_group(
    op: Any, row: int, tensors: Any, taps: Any, weights: int, work: Any, scratch: Any
) -> None:
    """Make a group of rows; those outside the image become zero."""
    target = tensors[op[r.TARGET]]
    if row + GROUP > 0 and row < target[r.ROWS]:
        _group_tables(op, row, tensors, taps, work.ctypes.data)
        whole, tiles = tiling(target[r.WIDTH])
        for first in range(0, tiles, CHUNK):
            last = min(first + CHUNK, tiles)
            _chunk(op, first, last, whole, tensors, taps, weights, scratch)
    for y in range(row, row + GROUP):
        if y < 0 or y >= target[r.ROWS]:
            blank(tensors, op[r.TARGET], y, work)
        else:
            clear(target, row_start(tensors, op[r.TARGET], y), work)


@compiled
def _group_tables(op: Any, row: int, tensors: Any, taps: Any, base: int) -> None:
    """Addresses of up to eight source rows, then of four target, first and second residual rows."""
    half = op[r.REACH]
    for y in range(GROUP + 2 * half):
        taps[y] = base + 4 * (row_start(tensors, op[r.SOURCE], row - half + y) + MARGIN - half)
    for y in range(GROUP):
        out = base + 4 * (row_start(tensors, op[r.TARGET], row + y) + MARGIN)
        taps[8 + y] = taps[12 + y] = taps[16 + y] = out
        if op[r.SECOND] >= 0:
            taps[12 + y] = base + 4 * (row_start(tensors, op[r.SECOND], row + y) + MARGIN)
        if op[r.THIRD] >= 0:
            taps[16 + y] = base + 4 * (row_start(tensors, op[r.THIRD], row + y) + MARGIN)


@compiled
def _chunk(
    op: Any, first: int, last: int, whole: int, tensors: Any, taps: Any, weights: int, scratch: Any
) -> None:
    """Make tiles `first` to `last` of a group."""
    channels, groups, size, outs = op[r.CHANNELS], op[r.GROUPS], op[r.SIZE], op[r.OUTS]
    count, table, points = GROUP + size - 1, taps.ctypes.data, scratch.ctypes.data
    products = points + POINT_STRIDE * MOST_POINTS
    column = tile_start(first, whole)
    here, vectors = 4 * column, (tile_start(last, whole) - column) // LANES
    plane = 4 * tensors[op[r.SOURCE], r.PITCH]
    spread(size, table, here, plane, op[r.PARTS] * channels, points, PITCH, POINT_STRIDE,
           vectors + FARTHER, 0)  # fmt: skip
    plane = 4 * tensors[op[r.TARGET], r.PITCH]
    before = plane if op[r.SECOND] >= 0 and tensors[op[r.SECOND], r.COLUMNS] > 1 else 0
    after = plane if op[r.THIRD] >= 0 and tensors[op[r.THIRD], r.COLUMNS] > 1 else 0
    for g in range(op[r.PARTS] * groups):
        c = g * outs
        weight = weights + op[r.WEIGHT] + c * count * channels * size * 4
        own = points + g // groups * channels * PITCH
        for tile in range(first, last):
            offset = 4 * (tile_start(tile, whole) - column)
            multiply(size, outs, tile_vectors(tile, whole), own + offset, POINT_STRIDE, channels,
                     PITCH, weight, products + offset, PITCH, PRODUCT_STRIDE)  # fmt: skip
        gather(size, products, PITCH, PRODUCT_STRIDE, vectors, outs,
               weights + op[r.BIAS] + 4 * c, weights + op[r.SLOPE] + 4 * c,
               table + 64, here + c * plane, plane, table + 96, here + c * before, before,
               table + 128, here + c * after, after, op[r.FLAGS])  # fmt: skip
