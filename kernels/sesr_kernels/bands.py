"""The compiled half of inference: one band of rows through every layer, depth first.

A row of a tensor is `planes` rows of `pitch` floats, of which the first `MARGIN` and those behind
the image's width are zero: the padding of the convolutions.  Rows above and below the image are
zero as well.  Every operation leaves it so.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sesr_kernels import schedule as sc
from sesr_kernels.compiled import compiled
from sesr_kernels.convolve import OUTS, RELU, VECTORS, convolution
from sesr_kernels.emit import LANES
from sesr_kernels.resampling import blend_rows, inside, spread_row
from sesr_kernels.weave import weave
from sesr_kernels.winograd import gather, gather5, multiply, multiply5, spread, spread5

MARGIN = 16
"""Floats of padding left of a row, and at least that many right of it; no tap reaches farther."""

# columns of an operation's row in the program
(KIND, TARGET, SOURCE, SECOND, THIRD, SIZE, REACH, RATIO, FLAGS, CHANNELS, GROUPS, WEIGHT, BIAS,
 SLOPE, NUMBER, PHASE, FIELDS) = range(17)  # fmt: skip
BUFFER, FIRSTS = WEIGHT, BIAS  # of an enlargement: its tensor of one row, its rows of `places`
PARTS = NUMBER  # of a convolution: each reads CHANNELS inputs for GROUPS blocks of outputs
# columns of a tensor's row
OFFSET, DEPTH, PLANES, PITCH, WIDTH, LOW, HIGH, ROWS, COLUMNS = range(9)

conv1, conv3, conv5 = (convolution(width) for width in (1, 3, 5))
weave2, weave4 = weave(2), weave(4)
LOAD, CONV, ACTIVATION, ADD, CONCAT = sc.LOAD, sc.CONV, sc.ACTIVATION, sc.ADD, sc.CONCAT
SHUFFLE, AFFINE, CLIP, STORE, WINOGRAD = sc.SHUFFLE, sc.AFFINE, sc.CLIP, sc.STORE, sc.WINOGRAD
RESIZE = sc.RESIZE
GROUP = sc.GROUP
TILE = VECTORS * LANES
CHUNK = max(1, 192 // TILE)
"""Tiles that Winograd's algorithm transforms at a time."""
POINT_PITCH = CHUNK * TILE + 16
"""Floats between two channels of a chunk: an odd number of cache lines."""


@compiled
def run_band(
    program: Any, tensors: Any, done: Any, taps: Any, places: Any, numbers: Any, weights: int,
    work: Any, scratch: Any, image: Any, first_column: int, left: int, right: int, step: int,
    result: Any, block: int,
) -> None:  # fmt: skip
    """Make the rows of `result` that the last row of `tensors` states.

    `first_column` is that of the strip with its halo; columns `left` to `right` of the strip are
    the ones to store.
    """
    for t in range(len(done)):  # not a slice: Numba would compile the words of its error too
        done[t] = tensors[t, LOW]
    last = program[-1]
    while done[last[TARGET]] < tensors[last[TARGET], HIGH]:
        for i in range(len(program)):
            op = program[i]
            target = op[TARGET]
            top = tensors[target, HIGH]
            if op[KIND] == LOAD:
                top = min(top, (done[target] + step - op[PHASE]) // step * step + op[PHASE])
            else:
                top = min(top, (done[op[SOURCE]] - op[REACH]) * op[RATIO])
                if op[SECOND] >= 0:
                    top = min(top, done[op[SECOND]])
                if op[THIRD] >= 0:
                    top = min(top, done[op[THIRD]])
            if op[KIND] == WINOGRAD:
                top = (top - op[PHASE]) // GROUP * GROUP + op[PHASE]
                for row in range(done[target], top, GROUP):
                    _winograd(op, row, tensors, taps, weights, work, scratch)
                done[target] = max(done[target], top)
                continue
            for row in range(done[target], top):
                if op[KIND] == STORE:
                    _store(op, row, tensors, taps, places, work, left, right, first_column, result,
                           block)  # fmt: skip
                elif row < 0 or row >= tensors[target, ROWS]:
                    _blank(tensors, target, row, work)
                elif op[KIND] == CONV:
                    _convolve(op, row, tensors, taps, weights, work)
                elif op[KIND] == LOAD:
                    _load(row, tensors, work, image, first_column)
                elif op[KIND] == RESIZE:
                    _resize(op, row, tensors, taps, places, numbers, work)
                    _clear(tensors[target], _row(tensors, target, row), work)
                else:
                    _other(op, row, tensors, places, numbers, weights, work)
                    _clear(tensors[target], _row(tensors, target, row), work)
            done[target] = max(done[target], top)


@compiled
def _row(tensors: Any, number: int, row: int) -> int:
    """Index of the first float of a row."""
    tensor = tensors[number]
    return tensor[OFFSET] + (row % tensor[DEPTH]) * tensor[PLANES] * tensor[PITCH]  # type: ignore[no-any-return]


@compiled
def _blank(tensors: Any, number: int, row: int, work: Any) -> None:
    """Zero a row outside the image."""
    start = _row(tensors, number, row)
    for i in range(start, start + tensors[number, PLANES] * tensors[number, PITCH]):
        work[i] = 0


@compiled
def _load(row: int, tensors: Any, work: Any, image: Any, first_column: int) -> None:
    start = _row(tensors, 0, row) + MARGIN
    for c in range(image.shape[2]):
        place = start + c * tensors[0, PITCH]
        for x in range(tensors[0, WIDTH]):
            work[place + x] = image[row, first_column + x, c]
    _clear(tensors[0], start - MARGIN, work)


@compiled
def _convolve(op: Any, row: int, tensors: Any, taps: Any, weights: int, work: Any) -> None:
    source, target = tensors[op[SOURCE]], tensors[op[TARGET]]
    base, size, channels, flags = work.ctypes.data, op[SIZE], op[CHANNELS], op[FLAGS]
    stride, plane = 4 * source[PITCH], 4 * target[PITCH]
    half = size // 2
    for y in range(size):
        there = _row(tensors, op[SOURCE], row - half + y)
        taps[y] = base + 4 * (there + MARGIN - half)
    height, table = size, taps.ctypes.data
    if size > 5:  # every tap a row of its own
        height = size * size
        for y in range(size - 1, -1, -1):
            for x in range(size - 1, -1, -1):
                taps[y * size + x] = taps[y] + 4 * x
    out = base + 4 * (_row(tensors, op[TARGET], row) + MARGIN)
    before, before_step, after, after_step = out, 0, out, 0
    if op[SECOND] >= 0:
        before = base + 4 * (_row(tensors, op[SECOND], row) + MARGIN)
        before_step = plane if tensors[op[SECOND], COLUMNS] > 1 else 0
    if op[THIRD] >= 0:
        after = base + 4 * (_row(tensors, op[THIRD], row) + MARGIN)
        after_step = plane if tensors[op[THIRD], COLUMNS] > 1 else 0
    for tile in range((target[WIDTH] + TILE - 1) // TILE):
        offset = 4 * TILE * tile
        x, left = offset, op[GROUPS]
        for g in range(op[PARTS] * op[GROUPS]):
            if left == 0:
                x, left = x + channels * stride, op[GROUPS]
            left -= 1
            first = g * OUTS
            weight = weights + op[WEIGHT] + first * 4 * size * size * channels
            bias, slope = weights + op[BIAS] + 4 * first, weights + op[SLOPE] + 4 * first
            b, a = before + offset + first * before_step, after + offset + first * after_step
            y = out + offset + first * plane
            if size == 3:
                conv3(table, height, x, channels, stride, weight, bias, slope, b, before_step,
                      a, after_step, y, y, plane, flags)  # fmt: skip
            elif size == 5:
                conv5(table, height, x, channels, stride, weight, bias, slope, b, before_step,
                      a, after_step, y, y, plane, flags)  # fmt: skip
            else:
                conv1(table, height, x, channels, stride, weight, bias, slope, b, before_step,
                      a, after_step, y, y, plane, flags)  # fmt: skip
    _clear(target, _row(tensors, op[TARGET], row), work)


@compiled
def _winograd(
    op: Any, row: int, tensors: Any, taps: Any, weights: int, work: Any, scratch: Any
) -> None:
    """Make a group of rows; those outside the image become zero."""
    target = tensors[op[TARGET]]
    if row + GROUP > 0 and row < target[ROWS]:
        _group_tables(op, row, tensors, taps, work.ctypes.data)
        tiles = (target[WIDTH] + TILE - 1) // TILE
        for first in range(0, tiles, CHUNK):
            _chunk(op, first * TILE, min(CHUNK, tiles - first), tensors, taps, weights, scratch)
    for y in range(row, row + GROUP):
        if y < 0 or y >= target[ROWS]:
            _blank(tensors, op[TARGET], y, work)
        else:
            _clear(target, _row(tensors, op[TARGET], y), work)


@compiled
def _group_tables(op: Any, row: int, tensors: Any, taps: Any, base: int) -> None:
    """Addresses of up to eight source rows, then of four target, first and second residual rows."""
    half = op[REACH]
    for y in range(GROUP + 2 * half):
        taps[y] = base + 4 * (_row(tensors, op[SOURCE], row - half + y) + MARGIN - half)
    for y in range(GROUP):
        out = base + 4 * (_row(tensors, op[TARGET], row + y) + MARGIN)
        taps[8 + y] = taps[12 + y] = taps[16 + y] = out
        if op[SECOND] >= 0:
            taps[12 + y] = base + 4 * (_row(tensors, op[SECOND], row + y) + MARGIN)
        if op[THIRD] >= 0:
            taps[16 + y] = base + 4 * (_row(tensors, op[THIRD], row + y) + MARGIN)


@compiled
def _chunk(
    op: Any, column: int, tiles: int, tensors: Any, taps: Any, weights: int, scratch: Any
) -> None:
    channels, groups, size, three = op[CHANNELS], op[GROUPS], op[SIZE], op[SIZE] == 3
    sources = op[PARTS] * channels
    table, pitch, count = taps.ctypes.data, 4 * POINT_PITCH, GROUP + size - 1
    points = scratch.ctypes.data
    products = points + count * sources * pitch
    plane = 4 * tensors[op[SOURCE], PITCH]
    vectors = tiles * VECTORS + (size + LANES - 2) // LANES
    for c in range(sources):
        source, target = 4 * column + c * plane, points + c * pitch
        if three:
            spread(table, source, target, sources * pitch, vectors)
        else:
            spread5(table, source, target, sources * pitch, vectors)
    plane = 4 * tensors[op[TARGET], PITCH]
    before = plane if op[SECOND] >= 0 and tensors[op[SECOND], COLUMNS] > 1 else 0
    after = plane if op[THIRD] >= 0 and tensors[op[THIRD], COLUMNS] > 1 else 0
    for g in range(op[PARTS] * groups):
        weight = weights + op[WEIGHT] + g * count * channels * size * 4 * OUTS
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
            bias, slope = weights + op[BIAS] + 4 * c, weights + op[SLOPE] + 4 * c
            here = 4 * column
            if three:
                gather(first, OUTS * pitch, tiles * VECTORS, bias, slope, table + 64,
                       here + c * plane, table + 96, here + c * before, table + 128,
                       here + c * after, op[FLAGS])  # fmt: skip
            else:
                gather5(first, OUTS * pitch, tiles * VECTORS, bias, slope, table + 64,
                        here + c * plane, table + 96, here + c * before, table + 128,
                        here + c * after, op[FLAGS])  # fmt: skip


@compiled
def _clear(target: Any, start: int, work: Any) -> None:
    """Zero the padding right of a row."""
    for c in range(target[PLANES]):
        first = start + c * target[PITCH] + MARGIN + target[WIDTH]
        for x in range(first, first + MARGIN):
            work[x] = 0


@compiled
def _other(
    op: Any, row: int, tensors: Any, places: Any, numbers: Any, weights: int, work: Any
) -> None:
    source, target = tensors[op[SOURCE]], tensors[op[TARGET]]
    out = _row(tensors, op[TARGET], row) + MARGIN
    x = _row(tensors, op[SOURCE], row // op[RATIO]) + MARGIN
    if op[KIND] == SHUFFLE:
        _shuffle(op, row, source, target, x, out, places, work)
        return
    other = 0
    if op[SECOND] >= 0:
        other = _row(tensors, op[SECOND], row) + MARGIN
    repeated = op[SECOND] >= 0 and tensors[op[SECOND], COLUMNS] == 1
    a, b = numbers[op[NUMBER]], numbers[op[NUMBER] + 1]
    for c in range(target[COLUMNS]):
        y, here = out + c * target[PITCH], x + c * source[PITCH]
        there = other if repeated else other + c * target[PITCH]
        if op[KIND] == CONCAT and c >= source[COLUMNS]:
            here = other + (c - source[COLUMNS]) * target[PITCH]
        for i in range(target[WIDTH]):
            value = work[here + i]
            if op[KIND] == ADD:
                value += work[there + i]
            elif op[KIND] == AFFINE:
                value = value * a + b
            elif op[KIND] == CLIP:
                value = a if value < a else (b if value > b else value)
            elif op[KIND] == ACTIVATION and not value > 0:
                if op[FLAGS] == RELU:
                    value = np.float32(0) if value < 0 else value
                else:
                    value *= numbers[op[SLOPE] + c]
            work[y + i] = value


@compiled
def _resize(
    op: Any, row: int, tensors: Any, taps: Any, places: Any, numbers: Any, work: Any
) -> None:
    source, target = tensors[op[SOURCE]], tensors[op[TARGET]]
    ratio, count, edge = op[RATIO], op[SIZE], op[FLAGS]
    above = row // ratio + places[op[FIRSTS] + row % ratio, 0]
    for t in range(count):
        taps[t] = _row(tensors, op[SOURCE], inside(above + t, source[ROWS], edge)) + MARGIN
    between = tensors[op[BUFFER], OFFSET] + MARGIN
    out, weights = _row(tensors, op[TARGET], row) + MARGIN, op[NUMBER]
    for c in range(target[COLUMNS]):
        blend_rows(work, taps, c * source[PITCH], count, source[WIDTH], numbers,
                   weights + row % ratio * count, between)  # fmt: skip
        spread_row(work, between, source[WIDTH], op[REACH], edge, places, op[FIRSTS], ratio, count,
                   numbers, weights, out + c * target[PITCH])  # fmt: skip


@compiled
def _shuffle(
    op: Any, row: int, source: Any, target: Any, x: int, out: int, places: Any, work: Any
) -> None:
    """Spread the channels of the row's part of a block."""
    block = op[SIZE]
    first = op[NUMBER]
    for c in range(source[COLUMNS]):
        if places[first + c, 0] == row % block:
            y = out + places[first + c, 2] * target[PITCH] + places[first + c, 1]
            for i in range(source[WIDTH]):
                work[y + i * block] = work[x + c * source[PITCH] + i]


@compiled
def _store(
    op: Any, row: int, tensors: Any, taps: Any, places: Any, work: Any, left: int, right: int,
    first_column: int, result: Any, block: int,
) -> None:  # fmt: skip
    source = tensors[op[SOURCE]]
    scale = tensors[op[TARGET], COLUMNS]
    start = _row(tensors, op[SOURCE], row) + MARGIN
    done = left * scale
    if result.shape[2] == 1 and (block == 2 or block == 4):
        vectors = (right - left) * scale // LANES
        if vectors > 0:
            _weave(row, source, taps, places, work.ctypes.data + 4 * (start + done), vectors,
                   result, block, (first_column * scale + done) * block)  # fmt: skip
        done += vectors * LANES
    for c in range(source[COLUMNS]):
        y, dx, channel = row * block + places[c, 0], places[c, 1], places[c, 2]
        plane = start + c * source[PITCH]
        for x in range(done, right * scale):
            column = (first_column * scale + x) * block + dx
            result[y, column, channel] = work[plane + x]


@compiled
def _weave(
    row: int, source: Any, taps: Any, places: Any, base: int, vectors: int, result: Any,
    block: int, column: int,
) -> None:  # fmt: skip
    """Store whole vectors of one row's block of an image of one channel."""
    for y in range(row * block, (row + 1) * block):
        for c in range(source[COLUMNS]):
            if places[c, 0] == y - row * block:
                taps[places[c, 1]] = base + 4 * c * source[PITCH]
        target = result.ctypes.data + 4 * (y * result.shape[1] + column)
        if block == 2:
            weave2(taps.ctypes.data, target, vectors)
        else:
            weave4(taps.ctypes.data, target, vectors)
