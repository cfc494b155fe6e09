"""The compiled half of Winograd's algorithm in training: forward, input and weight gradients.

A band is some groups of four rows of all channels; its six points (eight with five taps) lie in
scratch as planes of rows, like the tensors themselves, so that the taps along the width and the
padding stay as they are.  The size of a band depends on the image's size alone.
"""

from __future__ import annotations

from typing import Any

from sesr_kernels.blocks.convolve import OUTS
from sesr_kernels.blocks.rows import COLUMNS, add, correlate
from sesr_kernels.blocks.winograd import FARTHER, ROWS, multiply, spread
from sesr_kernels.blocks.winograd_rows import (
    assemble3,
    assemble5,
    dual3,
    dual5,
    untransform3,
    untransform5,
    zero,
)
from sesr_kernels.description.packing import round_up
from sesr_kernels.machine.compiled import compiled
from sesr_kernels.machine.emit import LANES, VECTOR_BYTES
from sesr_kernels.machine.host import HOST
from sesr_kernels.machine.tiling import NARROW, TILE, cut, tile_start, tile_vectors, tiling

# columns of a geometry: of an image's planes, and of bands of them in scratch
(HEIGHT, WIDTH, PITCH, START, PLANE, TILES, COUNT, VECTORS_ACROSS, ROW, BAND, LINE,
 LONG_BAND, LONG_LINE) = range(13)  # fmt: skip

SHORT, LONG = 96, 352
"""Columns of a band of groups of rows: for a convolution its points should stay in the first-level
cache, for a weight gradient the sums be loaded and stored seldom."""


def bands(height: int, width: int) -> tuple[int, int, int, int, int, int]:
    """The last columns of a geometry."""
    across = -(-width // LANES)
    whole, tiles = cut(width)
    made = whole * TILE + (tiles - whole) * NARROW * LANES
    row = max(across * LANES, made) + FARTHER * LANES
    short, long = (_evenly(-(-height // ROWS), max(1, most // row)) for most in (SHORT, LONG))
    # an odd number of cache lines between channels
    return across, row, short, _line(short * row), long, _line(long * row)


def _evenly(groups: int, most: int) -> int:
    """Groups of a band of at most so many, such that all bands have about as many."""
    return -(-groups // -(-groups // most))


def _line(length: int) -> int:
    return round_up(length, 32) + 16


def scratch_size(taps: int, channels: int, features: int, line: int, long_line: int) -> int:
    """Floats that either function below needs."""
    points, outs = taps + ROWS - 1, HOST.blocks(features)
    outputs = round_up(features, outs)
    blocks = points * -(-channels * taps // COLUMNS) + 1
    sums = outputs * blocks * COLUMNS * LANES
    convolution = points * line * (channels + OUTS)
    return max(convolution, points * long_line * (channels + outputs) + sums)


@compiled
def winograd(
    op: Any, rows: Any, base: int, scratch: int, weights: int, sums: int, shape: Any
) -> None:
    """Run a convolution (or the gradient of its input) with what follows it."""
    source, taps, channels, groups, flags, outs = op[1], op[2], op[3], op[4], op[15], op[16]
    line, row, pitch, stride = 4 * shape[LINE], 4 * shape[ROW], 4 * shape[PITCH], 4 * shape[PLANE]
    points, every = taps + ROWS - 1, (shape[HEIGHT] + ROWS - 1) // ROWS
    found = scratch + points * channels * line
    size = 4 * points * taps * channels
    whole, tiles = tiling(shape[WIDTH])
    slopes = weights + op[17] if op[17] >= 0 else 0
    for first in range(0, every, shape[BAND]):
        many = min(shape[BAND], every - first)
        _spread(taps, rows, base + source, channels, first, many, scratch, line, slopes, shape)
        for g in range(groups):
            weight = weights + op[5] + g * outs * size
            for r in range(many):
                for tile in range(tiles):
                    x = r * row + 4 * tile_start(tile, whole)
                    multiply(taps, outs, tile_vectors(tile, whole), scratch + x, channels * line,
                             channels, line, weight, found + x, line, outs * line)  # fmt: skip
            for c in range(g * outs, (g + 1) * outs):
                there = base + c * stride + first * ROWS * pitch
                for r in range(many):
                    x, y = found + (c - g * outs) * line + r * row, there + r * ROWS * pitch
                    bias, slope = weights + op[6] + 4 * c, weights + op[10] + 4 * c
                    total = sums + op[12] + c * VECTOR_BYTES
                    if taps == 3:
                        assemble3(x, outs * line, y + op[7], y + op[8], y + op[11], y + op[13],
                                  pitch, shape[WIDTH], bias, slope, total, flags)  # fmt: skip
                    else:
                        assemble5(x, outs * line, y + op[7], y + op[8], y + op[11], y + op[13],
                                  pitch, shape[WIDTH], bias, slope, total, flags)  # fmt: skip


@compiled
def winograd_correlate(
    op: Any, shifts: Any, rows: Any, base: int, scratch: int, weights: int, sums: int, shape: Any
) -> None:
    """Weight gradient of a convolution, in the layout of the direct one's sums."""
    dy, x, groups, first_shift, result, ones = op[1], op[2], op[3], op[4], op[6], op[9]
    taps, channels, outs, slopes = op[7], op[8], op[10], weights + op[11] if op[11] >= 0 else 0
    line, row = 4 * shape[LONG_LINE], 4 * shape[ROW]
    points, every = taps + ROWS - 1, (shape[HEIGHT] + ROWS - 1) // ROWS
    features, columns = groups * outs, (channels * taps + COLUMNS - 1) // COLUMNS
    duals = scratch + points * channels * line
    blocks = duals + points * features * line
    size = outs * COLUMNS * VECTOR_BYTES
    biases = blocks + points * groups * columns * size
    for j in range(COLUMNS):
        rows[j] = 0
    still, table = rows.ctypes.data, shifts.ctypes.data + 8 * first_shift
    zero(blocks, (points * columns + 1) * groups * outs * COLUMNS)
    count = shape[VECTORS_ACROSS]
    for first in range(0, every, shape[LONG_BAND]):
        many = min(shape[LONG_BAND], every - first)
        _duals(taps, base + dy, features, first, many, duals, line, shape)
        for g in range(groups):  # the second point is the sum of the four rows
            outputs = duals + (features + g * outs) * line
            correlate(outs, outputs, line, row, base + ones, 0, still, many, count,
                      biases + g * size)  # fmt: skip
        _spread(taps, rows[8:], base + x, channels, first, many, scratch, line, slopes, shape)
        for p in range(points):
            inputs = scratch + p * channels * line
            for g in range(groups):
                outputs = duals + (p * features + g * outs) * line
                block = blocks + (p * groups + g) * columns * size
                for j in range(columns):
                    correlate(outs, outputs, line, row, inputs, row, table + 8 * j * COLUMNS, many,
                              count, block + j * size)  # fmt: skip
    _collect(taps, groups, channels, outs, rows, blocks, biases, sums + result)


@compiled
def _collect(
    taps: int, groups: int, channels: int, outs: int, rows: Any, blocks: int, biases: int, sums: int
) -> None:
    """Sums of all points to those of the taps, channel by channel, and of the bias."""
    columns = (channels * taps + COLUMNS - 1) // COLUMNS
    wide = (channels * taps * taps + COLUMNS) // COLUMNS
    size = outs * COLUMNS * VECTOR_BYTES
    stride = groups * columns * size
    for g in range(groups):
        for k in range(channels * taps):
            c, j = k // taps, k % taps
            for i in range(taps):
                rows[i] = _column(sums, size, g * wide, (c * taps + i) * taps + j)
            source = _column(blocks, size, g * columns, k)
            if taps == 3:
                untransform3(source, stride, rows.ctypes.data, outs)
            else:
                untransform5(source, stride, rows.ctypes.data, outs)
        bias = _column(sums, size, g * wide, channels * taps * taps)
        for r in range(outs):
            offset = r * COLUMNS * VECTOR_BYTES
            add(bias + offset, biases + g * size + offset, 1, bias + offset)


@compiled
def _column(blocks: int, size: int, first: int, column: int) -> int:
    """Address of a column of partial sums, counted from a block on."""
    block = first + column // COLUMNS
    return blocks + block * size + column % COLUMNS * VECTOR_BYTES


@compiled
def _spread(
    taps: int, rows: Any, source: int, channels: int, first: int, many: int, target: int,
    line: int, slopes: int, shape: Any,
) -> None:  # fmt: skip
    """Points of a band; the first columns are the padding left of the image.

    What lies behind the last column is of this image too: no NaN of an earlier one.
    """
    pitch, half = 4 * shape[PITCH], taps // 2
    for r in range(many):
        for i in range(taps + ROWS - 1):
            rows[i] = source + ((first + r) * ROWS + i - half) * pitch - 4 * half
        spread(taps, rows.ctypes.data, 0, 4 * shape[PLANE], channels, target + r * 4 * shape[ROW],
               line, channels * line, shape[VECTORS_ACROSS] + FARTHER, slopes)  # fmt: skip


@compiled
def _duals(
    taps: int, dy: int, features: int, first: int, many: int, target: int, line: int, shape: Any
) -> None:
    """Points of a band's gradient, zero behind the last column."""
    pitch, row, count = 4 * shape[PITCH], 4 * shape[ROW], shape[VECTORS_ACROSS]
    for f in range(features):
        for r in range(many):
            x = dy + f * 4 * shape[PLANE] + (first + r) * ROWS * pitch
            y = target + f * line + r * row
            if taps == 3:
                dual3(x, pitch, y, features * line, count)
            else:
                dual5(x, pitch, y, features * line, count)
