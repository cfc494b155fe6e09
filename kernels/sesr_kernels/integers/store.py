"""The end of a band: a row of words becomes the rows of codes it stands for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sesr_kernels.blocks.products import CHANNELS
from sesr_kernels.blocks.word_rows import SIGN, weave_bytes
from sesr_kernels.description.shuffles import Place
from sesr_kernels.inference.operands import Ring
from sesr_kernels.inference.rings import MARGIN, row_start
from sesr_kernels.integers.moves import Bytes, Codes, byte_start
from sesr_kernels.integers.operands import Step, StoreOperands, Words
from sesr_kernels.machine.compiled import Integers, compiled
from sesr_kernels.machine.emit import LANES


@compiled
def store(
    op: Step,
    own: StoreOperands,
    row: int,
    places: Sequence[Place],
    tensors: Sequence[Ring],
    addresses: Integers,
    work: Words,
    bytes_: Bytes,
    left: int,
    right: int,
    first_column: int,
    start: int,
    columns: int,
    result: Codes,
) -> None:
    """Store columns `left` to `right` of a row's blocks.

    The output begins at ``result[start]`` and has `columns` pixels a row.
    """
    source, block, scale = tensors[op.source], own.block, own.scale
    done = left * scale
    # subpixels of one channel interleave to whole vectors of the image; others go one by one
    if own.channels == 1 and (block == 1 or block == 2 or block == 4):
        vectors = (right - left) * scale // LANES
        if vectors > 0:
            first = row_start(tensors, op.source, row) + MARGIN + done
            base = work.ctypes.data + 4 * first
            at = start + (first_column * scale + done) * block
            _weave(row, own, places, source, addresses, base, vectors, at, columns, result)
        done += vectors * LANES
    for c in range(source.channels):
        place = places[own.places + c]
        line = start + (row * block + place.row) * columns * own.channels + place.channel
        x = byte_start(tensors, op.source, row, c)
        for i in range(done, right * scale):
            column = (first_column * scale + i) * block + place.column
            result[line + column * own.channels] = np.int8(np.int32(bytes_[x + 4 * i]) - SIGN)


@compiled
def _weave(
    row: int,
    own: StoreOperands,
    places: Sequence[Place],
    source: Ring,
    addresses: Integers,
    base: int,
    vectors: int,
    start: int,
    columns: int,
    result: Codes,
) -> None:
    """Store whole vectors of one row's block of an output of one channel."""
    for y in range(own.block):
        for c in range(source.channels):
            place = places[own.places + c]
            if place.row == y:  # the others are other rows of the block
                addresses[2 * place.column] = base + 4 * (c // CHANNELS) * source.pitch
                addresses[2 * place.column + 1] = 8 * (c % CHANNELS)
        weave_bytes(
            columns=own.block,
            sources=addresses.ctypes.data,
            target=result.ctypes.data + start + (row * own.block + y) * columns,
            count=vectors,
        )
