"""Winograd's algorithm in a band: a group of rows of one convolution."""

from __future__ import annotations

from typing import Any

from sesr_kernels import rings as r
from sesr_kernels.compiled import compiled
from sesr_kernels.convolve import OUTS, VECTORS
from sesr_kernels.emit import LANES
from sesr_kernels.rings import MARGIN, TILE, blank, clear, row_start
from sesr_kernels.schedule import GROUP
from sesr_kernels.winograd import gather, gather5, multiply, multiply5, spread, spread5

CHUNK = max(1, 192 // TILE)
"""Tiles that are transformed at a time."""
POINT_PITCH = CHUNK * TILE + 16
"""Floats between two channels of a chunk: an odd number of cache lines."""


@compiled
def winograd_group(
    op: Any, row: int, tensors: Any, taps: Any, weights: int, work: Any, scratch: Any
) -> None:
    """Make a group of rows; those outside the image become zero."""
    target = tensors[op[r.TARGET]]
    if row + GROUP > 0 and row < target[r.ROWS]:
        _group_tables(op, row, tensors, taps, work.ctypes.data)
        tiles = (target[r.WIDTH] + TILE - 1) // TILE
        for first in range(0, tiles, CHUNK):
            _chunk(op, first * TILE, min(CHUNK, tiles - first), tensors, taps, weights, scratch)
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
    op: Any, column: int, tiles: int, tensors: Any, taps: Any, weights: int, scratch: Any
) -> None:
    channels, groups, size, three = op[r.CHANNELS], op[r.GROUPS], op[r.SIZE], op[r.SIZE] == 3
    sources = op[r.PARTS] * channels
    table, pitch, count = taps.ctypes.data, 4 * POINT_PITCH, GROUP + size - 1
    points = scratch.ctypes.data
    products = points + count * sources * pitch
    plane = 4 * tensors[op[r.SOURCE], r.PITCH]
    vectors = tiles * VECTORS + (size + LANES - 2) // LANES
    for c in range(sources):
        source, target = 4 * column + c * plane, points + c * pitch
        if three:
            spread(table, source, target, sources * pitch, vectors)
        else:
            spread5(table, source, target, sources * pitch, vectors)
    plane = 4 * tensors[op[r.TARGET], r.PITCH]
    before = plane if op[r.SECOND] >= 0 and tensors[op[r.SECOND], r.COLUMNS] > 1 else 0
    after = plane if op[r.THIRD] >= 0 and tensors[op[r.THIRD], r.COLUMNS] > 1 else 0
    for g in range(op[r.PARTS] * groups):
        weight = weights + op[r.WEIGHT] + g * count * channels * size * 4 * OUTS
        own = points + g // groups * channels * pitch
        for tile in range(tiles):
            offset = 4 * TILE * tile
            if three:
                multiply(own + offset, sources * pitch, channels, pitch, weight,
                         products + offset, pitch)  # fmt: skip
            else:
                multiply5(own + offset, sources * pitch, channels, pitch, weight,
                          products + offset, pitch)  # fmt: skip
        for c in range(g * OUTS, (g + 1) * OUTS):
            first = products + (c - g * OUTS) * pitch
            bias, slope = weights + op[r.BIAS] + 4 * c, weights + op[r.SLOPE] + 4 * c
            here = 4 * column
            if three:
                gather(first, OUTS * pitch, tiles * VECTORS, bias, slope, table + 64,
                       here + c * plane, table + 96, here + c * before, table + 128,
                       here + c * after, op[r.FLAGS])  # fmt: skip
            else:
                gather5(first, OUTS * pitch, tiles * VECTORS, bias, slope, table + 64,
                        here + c * plane, table + 96, here + c * before, table + 128,
                        here + c * after, op[r.FLAGS])  # fmt: skip
