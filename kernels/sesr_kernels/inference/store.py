"""The end of a band: a row of channels becomes the rows of pixels it stands for."""

from __future__ import annotations

from typing import Any

from sesr_kernels.blocks.weave import weave
from sesr_kernels.inference import rings as r
from sesr_kernels.inference.rings import MARGIN, row_start
from sesr_kernels.machine.compiled import compiled
from sesr_kernels.machine.emit import LANES

weave2, weave4 = weave(2), weave(4)


@compiled
def store(
    op: Any, row: int, tensors: Any, taps: Any, places: Any, work: Any, left: int, right: int,
    first_column: int, result: Any, block: int,
) -> None:  # fmt: skip
    """Store columns `left` to `right` of a row's blocks in the image."""
    source = tensors[op[r.SOURCE]]
    scale = tensors[op[r.TARGET], r.COLUMNS]
    start = row_start(tensors, op[r.SOURCE], row) + MARGIN
    done = left * scale
    if result.shape[2] == 1 and (block == 2 or block == 4):
        vectors = (right - left) * scale // LANES
        if vectors > 0:
            _weave(row, source, taps, places, work.ctypes.data + 4 * (start + done), vectors,
                   result, block, (first_column * scale + done) * block)  # fmt: skip
        done += vectors * LANES
    for c in range(source[r.COLUMNS]):
        y, dx, channel = row * block + places[c, 0], places[c, 1], places[c, 2]
        plane = start + c * source[r.PITCH]
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
        for c in range(source[r.COLUMNS]):
            if places[c, 0] == y - row * block:
                taps[places[c, 1]] = base + 4 * c * source[r.PITCH]
        target = result.ctypes.data + 4 * (y * result.shape[1] + column)
        if block == 2:
            weave2(taps.ctypes.data, target, vectors)
        else:
            weave4(taps.ctypes.data, target, vectors)
