"""The end of a band: a row of channels becomes the rows of pixels it stands for."""

from __future__ import annotations

from collections.abc import Sequence

from sesr_kernels.blocks.weave import weave
from sesr_kernels.description.shuffles import Place
from sesr_kernels.inference.operands import Ring, Step, StoreOperands
from sesr_kernels.inference.rings import MARGIN, row_start
from sesr_kernels.machine.compiled import Floats, Integers, compiled
from sesr_kernels.machine.emit import LANES

weave2, weave4 = weave(2), weave(4)


@compiled
def store(
    op: Step,
    own: StoreOperands,
    row: int,
    places: Sequence[Place],
    tensors: Sequence[Ring],
    addresses: Integers,
    work: Floats,
    left: int,
    right: int,
    first_column: int,
    result: Floats,
) -> None:
    """Store columns `left` to `right` of a row's blocks in the image."""
    source, block, scale = tensors[op.source], own.block, own.scale
    start = row_start(tensors, op.source, row) + MARGIN
    done = left * scale
    # subpixels of one channel interleave to whole vectors of the image; others go one by one
    if result.shape[2] == 1 and (block == 2 or block == 4):
        vectors = (right - left) * scale // LANES
        if vectors > 0:
            base = work.ctypes.data + 4 * (start + done)
            column = (first_column * scale + done) * block
            _weave(row, block, places, source, addresses, base, vectors, result, column)
        done += vectors * LANES
    # what no whole vectors fill, or all of an image of more channels
    for c in range(source.channels):
        place = places[c]
        y, plane = row * block + place.row, start + c * source.pitch
        for x in range(done, right * scale):
            column = (first_column * scale + x) * block + place.column
            result[y, column, place.channel] = work[plane + x]


@compiled
def _weave(
    row: int,
    block: int,
    places: Sequence[Place],
    source: Ring,
    addresses: Integers,
    base: int,
    vectors: int,
    result: Floats,
    column: int,
) -> None:
    """Store whole vectors of one row's block of an image of one channel."""
    for y in range(block):
        for c in range(source.channels):
            place = places[c]
            if place.row == y:  # the others are other rows of the block
                addresses[place.column] = base + 4 * c * source.pitch
        target = result.ctypes.data + 4 * ((row * block + y) * result.shape[1] + column)
        # how many planes are woven is fixed in the code
        if block == 2:
            weave2(addresses.ctypes.data, target, vectors)
        else:
            weave4(addresses.ctypes.data, target, vectors)
