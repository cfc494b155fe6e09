"""The compiled half of Winograd's algorithm in training: forward, input and weight gradients.

A band is some groups of four rows of all channels; its six points lie in scratch as six planes of
rows, like the tensors themselves, so that the taps along the width and the padding stay as they
are.  The size of a band depends on the image's size alone.
"""

from __future__ import annotations

from typing import Any

from sesr_kernels.compiled import compiled
from sesr_kernels.convolve import OUTS, VECTORS
from sesr_kernels.emit import LANES, VECTOR_BYTES
from sesr_kernels.packing import round_up
from sesr_kernels.rows import COLUMNS, correlate
from sesr_kernels.rows import ROWS as BLOCK_ROWS
from sesr_kernels.winograd import POINTS, ROWS, TAPS, spread
from sesr_kernels.winograd_rows import BLOCK, assemble, dual, products, untransform, zero

# columns of a geometry: of an image's planes, and of a band's
HEIGHT, WIDTH, PADDING, PITCH, START, PLANE, TILES, COUNT, BAND, LINE = range(10)

TILE = VECTORS * LANES
BLOCK_BYTES = BLOCK * VECTOR_BYTES
LONGEST_BAND = 288
"""Columns of a band: its points of 16 channels fill a fifth of the second-level cache."""


def band(height: int, pitch: int) -> tuple[int, int]:
    """Groups of rows in a band such that an image takes the fewest tiles; pitch of its planes."""
    every = -(-height // ROWS)
    most = max(1, min(every, LONGEST_BAND // pitch))

    def tiles(groups: int) -> int:
        whole, rest = divmod(every, groups)
        return whole * -(-groups * pitch // TILE) + -(-rest * pitch // TILE)

    best = min(range(most, 0, -1), key=tiles)
    length = round_up(best * pitch, TILE) + 2 * LANES
    return best, round_up(length, 32) + 16  # an odd number of cache lines


def scratch_size(channels: int, features: int, line: int) -> int:
    """Floats that either function below needs."""
    outputs = round_up(features, BLOCK_ROWS)
    sums = POINTS * outputs // BLOCK_ROWS * channels * BLOCK * LANES
    return POINTS * line * (channels + max(outputs, OUTS)) + sums


@compiled
def winograd(
    op: Any, rows: Any, base: int, scratch: int, weights: int, sums: int, shape: Any
) -> None:
    """Run a 3 x 3 convolution (or the gradient of its input) with what follows it."""
    source, channels, groups, flags = op[1], op[3], op[4], op[15]
    line, pitch, stride = 4 * shape[LINE], 4 * shape[PITCH], 4 * shape[PLANE]
    every = (shape[HEIGHT] + ROWS - 1) // ROWS
    found = scratch + POINTS * channels * line
    size = 4 * OUTS * POINTS * TAPS * channels
    for first in range(0, every, shape[BAND]):
        many = min(shape[BAND], every - first)
        _spread(rows, base + source, channels, first, many, scratch, shape)
        for g in range(groups):
            for tile in range((many * shape[PITCH] + TILE - 1) // TILE):
                offset = tile * TILE * 4
                products(scratch + offset, channels * line, channels, line,
                         weights + op[5] + g * size, found + offset, line)  # fmt: skip
            for c in range(g * OUTS, (g + 1) * OUTS):
                there = base + c * stride + first * ROWS * pitch
                for r in range(many):
                    place = there + r * ROWS * pitch
                    assemble(
                        found + (c - g * OUTS) * line + r * pitch, OUTS * line,
                        place + op[7], place + op[8], place + op[11], pitch, shape[WIDTH],
                        weights + op[6] + 4 * c, weights + op[10] + 4 * c,
                        sums + op[12] + c * VECTOR_BYTES, flags,
                    )  # fmt: skip


@compiled
def winograd_correlate(op: Any, rows: Any, base: int, scratch: int, sums: int, shape: Any) -> None:
    """Weight gradient of a 3 x 3 convolution, in the layout of the direct one's sums."""
    dy, x, groups, channels, result, ones = op[1], op[2], op[3], op[4], op[5], op[6]
    line = 4 * shape[LINE]
    every = (shape[HEIGHT] + ROWS - 1) // ROWS
    features = groups * BLOCK_ROWS
    duals = scratch + POINTS * channels * line
    blocks = duals + POINTS * features * line
    columns = channels * TAPS + 1  # the last is the bias's
    for j in range(COLUMNS):
        rows[8 + j], rows[16 + j] = 4 * j, 0
    taps, still = rows.ctypes.data + 64, rows.ctypes.data + 128
    zero(blocks, POINTS * groups * channels * BLOCK)
    for first in range(0, every, shape[BAND]):
        many = min(shape[BAND], every - first)
        _spread(rows, base + x, channels, first, many, scratch, shape)
        _duals(base + dy, features, first, many, duals, shape)
        count = (many * shape[PITCH] + LANES - 1) // LANES
        for p in range(POINTS):
            for g in range(groups):
                outputs = duals + (p * features + g * BLOCK_ROWS) * line
                for c in range(channels):
                    block = blocks + ((p * groups + g) * channels + c) * BLOCK_BYTES
                    inputs = scratch + (p * channels + c) * line
                    correlate(outputs, line, inputs, taps, count, block)
                if p == 1:  # the sum of the four rows
                    block = sums + result + ((g + 1) * columns - 1) * BLOCK_BYTES
                    correlate(outputs, line, base + ones, still, count, block)
    for g in range(groups):
        for c in range(channels):
            untransform(
                blocks + (g * channels + c) * BLOCK_BYTES, groups * channels * BLOCK_BYTES,
                sums + result + (g * columns + c * TAPS) * BLOCK_BYTES,
            )  # fmt: skip


@compiled
def _spread(
    rows: Any, source: int, channels: int, first: int, many: int, target: int, shape: Any
) -> None:
    """Points of a band; the first column is the padding left of the image."""
    line, pitch = 4 * shape[LINE], 4 * shape[PITCH]
    for r in range(many):
        for i in range(POINTS):
            rows[i] = source + ((first + r) * ROWS + i - 1) * pitch - 4
        for c in range(channels):
            spread(rows.ctypes.data, c * 4 * shape[PLANE], target + c * line + r * pitch,
                   channels * line, shape[PITCH] // LANES + 1)  # fmt: skip


@compiled
def _duals(dy: int, features: int, first: int, many: int, target: int, shape: Any) -> None:
    """Points of a band's gradient, zero behind the last row."""
    line, pitch = 4 * shape[LINE], 4 * shape[PITCH]
    for f in range(features):
        for r in range(many):
            place = dy + f * 4 * shape[PLANE] + (first + r) * ROWS * pitch
            dual(place, pitch, target + f * line + r * pitch, features * line,
                 (shape[PITCH] + LANES - 1) // LANES)  # fmt: skip
        for p in range(POINTS):
            zero(target + (p * features + f) * line + many * pitch, 1)
