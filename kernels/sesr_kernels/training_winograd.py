"""The compiled half of Winograd's algorithm in training: forward, input and weight gradients.

A band is some groups of four rows of all channels; its six points (eight with five taps) lie in
scratch as planes of rows, like the tensors themselves, so that the taps along the width and the
padding stay as they are.  The size of a band depends on the image's size alone.
"""

from __future__ import annotations

from typing import Any

from sesr_kernels.compiled import compiled
from sesr_kernels.convolve import OUTS
from sesr_kernels.emit import LANES, VECTOR_BYTES
from sesr_kernels.packing import round_up
from sesr_kernels.rows import COLUMNS, add, correlate
from sesr_kernels.rows import ROWS as BLOCK_ROWS
from sesr_kernels.tiling import NARROW, TILE, VECTORS, tile_start, tiling
from sesr_kernels.winograd import ROWS, multiply, spread
from sesr_kernels.winograd_rows import (
    assemble3,
    assemble5,
    dual3,
    dual5,
    untransform3,
    untransform5,
    zero,
)

# columns of a geometry: of an image's planes, and of a band's
HEIGHT, WIDTH, PADDING, PITCH, START, PLANE, TILES, COUNT, BAND, LINE = range(10)

BLOCK = BLOCK_ROWS * COLUMNS
BLOCK_BYTES = BLOCK * VECTOR_BYTES
LONGEST_BAND = 288
"""Columns of a band: its points of 16 channels fill a fifth of the second-level cache."""


def band(height: int, pitch: int) -> tuple[int, int]:
    """Groups of rows in a band such that an image takes the fewest vectors; pitch of its planes."""
    every = -(-height // ROWS)
    most = max(1, min(every, LONGEST_BAND // pitch))

    def vectors(groups: int) -> int:
        whole, rest = divmod(every, groups)
        return whole * -(-groups * pitch // LANES) + -(-rest * pitch // LANES)

    best = min(range(most, 0, -1), key=vectors)
    length = round_up(best * pitch, TILE) + 2 * LANES
    return best, round_up(length, 32) + 16  # an odd number of cache lines


def scratch_size(taps: int, channels: int, features: int, line: int) -> int:
    """Floats that either function below needs."""
    points, outputs = taps + ROWS - 1, round_up(features, BLOCK_ROWS)
    blocks = points * -(-channels * taps // COLUMNS) + 1
    sums = outputs // BLOCK_ROWS * blocks * BLOCK * LANES
    return points * line * (channels + max(outputs, OUTS)) + sums


@compiled
def winograd(
    op: Any, rows: Any, base: int, scratch: int, weights: int, sums: int, shape: Any
) -> None:
    """Run a convolution (or the gradient of its input) with what follows it."""
    source, taps, channels, groups, flags, outs = op[1], op[2], op[3], op[4], op[15], op[16]
    line, pitch, stride = 4 * shape[LINE], 4 * shape[PITCH], 4 * shape[PLANE]
    points, every = taps + ROWS - 1, (shape[HEIGHT] + ROWS - 1) // ROWS
    found = scratch + points * channels * line
    size = 4 * points * taps * channels
    for first in range(0, every, shape[BAND]):
        many = min(shape[BAND], every - first)
        _spread(taps, rows, base + source, channels, first, many, scratch, shape)
        for g in range(groups):
            whole, tiles = tiling(many * shape[PITCH])
            for tile in range(tiles):
                x = 4 * tile_start(tile, whole)
                multiply(taps, outs, VECTORS if tile < whole else NARROW, scratch + x,
                         channels * line, channels, line, weights + op[5] + g * outs * size,
                         found + x, line, outs * line)  # fmt: skip
            for c in range(g * outs, (g + 1) * outs):
                there = base + c * stride + first * ROWS * pitch
                for r in range(many):
                    x, y = found + (c - g * outs) * line + r * pitch, there + r * ROWS * pitch
                    bias, slope = weights + op[6] + 4 * c, weights + op[10] + 4 * c
                    total = sums + op[12] + c * VECTOR_BYTES
                    if taps == 3:
                        assemble3(x, outs * line, y + op[7], y + op[8], y + op[11], pitch,
                                  shape[WIDTH], bias, slope, total, flags)  # fmt: skip
                    else:
                        assemble5(x, outs * line, y + op[7], y + op[8], y + op[11], pitch,
                                  shape[WIDTH], bias, slope, total, flags)  # fmt: skip


@compiled
def winograd_correlate(
    op: Any, shifts: Any, rows: Any, base: int, scratch: int, sums: int, shape: Any
) -> None:
    """Weight gradient of a convolution, in the layout of the direct one's sums."""
    dy, x, groups, first_shift, result, ones = op[1], op[2], op[3], op[4], op[6], op[9]
    taps, channels = op[7], op[8]
    line = 4 * shape[LINE]
    points, every = taps + ROWS - 1, (shape[HEIGHT] + ROWS - 1) // ROWS
    features, columns = groups * BLOCK_ROWS, (channels * taps + COLUMNS - 1) // COLUMNS
    duals = scratch + points * channels * line
    blocks = duals + points * features * line
    biases = blocks + points * groups * columns * BLOCK_BYTES
    for j in range(COLUMNS):
        rows[j] = 0
    still, table = rows.ctypes.data, shifts.ctypes.data + 8 * first_shift
    zero(blocks, (points * columns + 1) * groups * BLOCK)
    for first in range(0, every, shape[BAND]):
        many = min(shape[BAND], every - first)
        _duals(taps, base + dy, features, first, many, duals, shape)
        count = (many * shape[PITCH] + LANES - 1) // LANES
        for g in range(groups):  # the second point is the sum of the four rows
            outputs = duals + (features + g * BLOCK_ROWS) * line
            correlate(outputs, line, base + ones, still, count, biases + g * BLOCK_BYTES)
        _spread(taps, rows[8:], base + x, channels, first, many, scratch, shape)
        for p in range(points):
            inputs = scratch + p * channels * line
            for g in range(groups):
                outputs = duals + (p * features + g * BLOCK_ROWS) * line
                block = blocks + (p * groups + g) * columns * BLOCK_BYTES
                for j in range(columns):
                    correlate(outputs, line, inputs, table + 8 * j * COLUMNS, count,
                              block + j * BLOCK_BYTES)  # fmt: skip
    _collect(taps, groups, channels, rows, blocks, biases, sums + result)


@compiled
def _collect(
    taps: int, groups: int, channels: int, rows: Any, blocks: int, biases: int, sums: int
) -> None:
    """Sums of all points to those of the taps, channel by channel, and of the bias."""
    columns = (channels * taps + COLUMNS - 1) // COLUMNS
    wide = (channels * taps * taps + COLUMNS) // COLUMNS
    stride = groups * columns * BLOCK_BYTES
    for g in range(groups):
        for k in range(channels * taps):
            c, j = k // taps, k % taps
            for i in range(taps):
                rows[i] = _column(sums, g * wide, (c * taps + i) * taps + j)
            source = _column(blocks, g * columns, k)
            if taps == 3:
                untransform3(source, stride, rows.ctypes.data)
            else:
                untransform5(source, stride, rows.ctypes.data)
        bias = _column(sums, g * wide, channels * taps * taps)
        for r in range(BLOCK_ROWS):
            offset = r * COLUMNS * VECTOR_BYTES
            add(bias + offset, biases + g * BLOCK_BYTES + offset, 1, bias + offset)


@compiled
def _column(blocks: int, first: int, column: int) -> int:
    """Address of a column of partial sums, counted from a block on."""
    block = first + column // COLUMNS
    return blocks + block * BLOCK_BYTES + column % COLUMNS * VECTOR_BYTES


@compiled
def _spread(
    taps: int, rows: Any, source: int, channels: int, first: int, many: int, target: int, shape: Any
) -> None:
    """Points of a band; the first columns are the padding left of the image.

    What lies behind the last row is of this image too: no NaN of an earlier one.
    """
    line, pitch, half = 4 * shape[LINE], 4 * shape[PITCH], taps // 2
    count = (shape[PITCH] + taps + 2 * LANES - 1) // LANES
    for r in range(many):
        for i in range(taps + ROWS - 1):
            rows[i] = source + ((first + r) * ROWS + i - half) * pitch - 4 * half
        spread(taps, rows.ctypes.data, 0, 4 * shape[PLANE], channels, target + r * pitch, line,
               channels * line, count)  # fmt: skip


@compiled
def _duals(
    taps: int, dy: int, features: int, first: int, many: int, target: int, shape: Any
) -> None:
    """Points of a band's gradient, zero behind the last row."""
    line, pitch = 4 * shape[LINE], 4 * shape[PITCH]
    count = (shape[PITCH] + LANES - 1) // LANES
    for f in range(features):
        for r in range(many):
            x = dy + f * 4 * shape[PLANE] + (first + r) * ROWS * pitch
            y = target + f * line + r * pitch
            if taps == 3:
                dual3(x, pitch, y, features * line, count)
            else:
                dual5(x, pitch, y, features * line, count)
        for p in range(taps + ROWS - 1):
            zero(target + (p * features + f) * line + many * pitch, 1)
