"""The compiled half of inference: one band of rows through every layer, depth first."""

from __future__ import annotations

from typing import Any

from sesr_kernels.blocks.convolve import convolve
from sesr_kernels.inference import rings as r
from sesr_kernels.inference import schedule as sc
from sesr_kernels.inference.elementwise import elementwise, resize
from sesr_kernels.inference.rings import MARGIN, blank, clear, row_start
from sesr_kernels.inference.store import store
from sesr_kernels.inference.winograd import winograd_group
from sesr_kernels.machine.compiled import compiled
from sesr_kernels.machine.tiling import tile_start, tile_vectors, tiling

LOAD, CONV, STORE, WINOGRAD, RESIZE = sc.LOAD, sc.CONV, sc.STORE, sc.WINOGRAD, sc.RESIZE
GROUP = sc.GROUP


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
        done[t] = tensors[t, r.LOW]
    last = program[-1]
    while done[last[r.TARGET]] < tensors[last[r.TARGET], r.HIGH]:
        for i in range(len(program)):
            op = program[i]
            target = op[r.TARGET]
            top = tensors[target, r.HIGH]
            if op[r.KIND] == LOAD:
                top = min(top, (done[target] + step - op[r.PHASE]) // step * step + op[r.PHASE])
            else:
                top = min(top, (done[op[r.SOURCE]] - op[r.REACH]) * op[r.RATIO])
                if op[r.SECOND] >= 0:
                    top = min(top, done[op[r.SECOND]])
                if op[r.THIRD] >= 0:
                    top = min(top, done[op[r.THIRD]])
            if op[r.KIND] == WINOGRAD:
                top = (top - op[r.PHASE]) // GROUP * GROUP + op[r.PHASE]
                for row in range(done[target], top, GROUP):
                    winograd_group(op, row, tensors, taps, weights, work, scratch)
                done[target] = max(done[target], top)
                continue
            for row in range(done[target], top):
                if op[r.KIND] == STORE:
                    store(op, row, tensors, taps, places, work, left, right, first_column, result,
                           block)  # fmt: skip
                elif row < 0 or row >= tensors[target, r.ROWS]:
                    blank(tensors, target, row, work)
                elif op[r.KIND] == CONV:
                    _convolve(op, row, tensors, taps, weights, work)
                elif op[r.KIND] == LOAD:
                    _load(row, tensors, work, image, first_column)
                elif op[r.KIND] == RESIZE:
                    resize(op, row, tensors, taps, places, numbers, work)
                    clear(tensors[target], row_start(tensors, target, row), work)
                else:
                    elementwise(op, row, tensors, places, numbers, work)
                    clear(tensors[target], row_start(tensors, target, row), work)
            done[target] = max(done[target], top)


@compiled
def _load(row: int, tensors: Any, work: Any, image: Any, first_column: int) -> None:
    start = row_start(tensors, 0, row) + MARGIN
    for c in range(image.shape[2]):
        place = start + c * tensors[0, r.PITCH]
        for x in range(tensors[0, r.WIDTH]):
            work[place + x] = image[row, first_column + x, c]
    clear(tensors[0], start - MARGIN, work)


@compiled
def _convolve(op: Any, row: int, tensors: Any, taps: Any, weights: int, work: Any) -> None:
    source, target, outs = tensors[op[r.SOURCE]], tensors[op[r.TARGET]], op[r.OUTS]
    base, size, channels = work.ctypes.data, op[r.SIZE], op[r.CHANNELS]
    stride, plane = 4 * source[r.PITCH], 4 * target[r.PITCH]
    half = size // 2
    for y in range(size):
        there = row_start(tensors, op[r.SOURCE], row - half + y)
        taps[y] = base + 4 * (there + MARGIN - half)
    height, width = size, size
    if size > 5:  # every tap a row of its own
        height, width = size * size, 1
        for y in range(size - 1, -1, -1):
            for x in range(size - 1, -1, -1):
                taps[y * size + x] = taps[y] + 4 * x
    out = base + 4 * (row_start(tensors, op[r.TARGET], row) + MARGIN)
    before, before_step, after, after_step = out, 0, out, 0
    if op[r.SECOND] >= 0:
        before = base + 4 * (row_start(tensors, op[r.SECOND], row) + MARGIN)
        before_step = plane if tensors[op[r.SECOND], r.COLUMNS] > 1 else 0
    if op[r.THIRD] >= 0:
        after = base + 4 * (row_start(tensors, op[r.THIRD], row) + MARGIN)
        after_step = plane if tensors[op[r.THIRD], r.COLUMNS] > 1 else 0
    whole, tiles = tiling(target[r.WIDTH])
    for tile in range(tiles):
        offset = 4 * tile_start(tile, whole)
        vectors = tile_vectors(tile, whole)
        x, left = offset, op[r.GROUPS]
        for g in range(op[r.PARTS] * op[r.GROUPS]):
            if left == 0:
                x, left = x + channels * stride, op[r.GROUPS]
            left -= 1
            first = g * outs
            weight = weights + op[r.WEIGHT] + first * 4 * size * size * channels
            bias, slope = weights + op[r.BIAS] + 4 * first, weights + op[r.SLOPE] + 4 * first
            b, a = before + offset + first * before_step, after + offset + first * after_step
            y = out + offset + first * plane
            convolve(width, outs, vectors, taps.ctypes.data, height, x, channels, stride, weight,
                     bias, slope, b, before_step, a, after_step, y, y, plane,
                     op[r.FLAGS])  # fmt: skip
    clear(target, row_start(tensors, op[r.TARGET], row), work)
