"""One row of what only moves bytes: the image's way in, joined, taken and shuffled channels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sesr_kernels.blocks.products import CHANNELS
from sesr_kernels.blocks.word_rows import SIGN
from sesr_kernels.description.shuffles import Place
from sesr_kernels.inference.operands import Ring
from sesr_kernels.inference.rings import MARGIN, row_start
from sesr_kernels.integers.operands import PartOperands, ShuffleOperands, Step, Words
from sesr_kernels.machine.compiled import compiled

Codes = npt.NDArray[np.int8]
Bytes = npt.NDArray[np.uint8]


@compiled
def byte_start(tensors: Sequence[Ring], number: int, row: int, channel: int) -> int:
    """Index of the byte of a row's first pixel; pixels are four bytes apart."""
    plane = channel // CHANNELS * tensors[number].pitch
    return 4 * (row_start(tensors, number, row) + MARGIN + plane) + channel % CHANNELS


@compiled
def load(
    op: Step,
    row: int,
    tensors: Sequence[Ring],
    fill: int,
    work: Words,
    image: Codes,
    first_column: int,
) -> None:
    """Bring a row of the image in."""
    ring, start = tensors[op.target], row_start(tensors, op.target, row)
    codes = image[row]
    if ring.channels == 1:
        _beside(codes[first_column : first_column + ring.width, 0], fill, start, work)
        return
    for x in range(ring.width):
        for group in range(0, ring.channels, CHANNELS):
            word = np.uint32(0)
            for c in range(min(CHANNELS, ring.channels - group)):
                byte = np.uint32(np.int32(codes[first_column + x, group + c]) + SIGN)
                word |= byte << np.uint32(8 * c)
            place = start + group // CHANNELS * ring.pitch + MARGIN + x
            work[place] = np.int32(word)


@compiled
def _beside(codes: Codes, fill: int, start: int, work: Words) -> None:
    """Each word a pixel and the three right of it, so that products take four pixels at once."""
    zero, width, pixels = fill & 255, len(codes), start + MARGIN
    inside = max(width - CHANNELS + 1, 0)
    for x in range(inside):
        word = np.uint32(0)
        for c in range(CHANNELS):
            word |= np.uint32(np.int32(codes[x + c]) + SIGN) << np.uint32(8 * c)
        work[pixels + x] = np.int32(word)
    # words that reach beyond the row's ends; those behind it are padding
    for x in range(1 - CHANNELS, 0):
        work[pixels + x] = _word_at_end(codes, x, zero)
    for x in range(inside, width):
        work[pixels + x] = _word_at_end(codes, x, zero)


@compiled
def _word_at_end(codes: Codes, x: int, zero: int) -> np.int32:
    word = np.uint32(0)
    for c in range(CHANNELS):
        byte = np.int64(zero)
        if 0 <= x + c < len(codes):
            byte = np.int64(codes[x + c]) + SIGN
        word |= np.uint32(byte) << np.uint32(8 * c)
    return np.int32(word)


@compiled
def concat(op: Step, row: int, tensors: Sequence[Ring], work: Bytes) -> None:
    """Make a row of both operands' channels."""
    channels = tensors[op.source].channels
    _copy(op.source, 0, op.target, 0, channels, row, tensors, work)
    others = tensors[op.second].channels
    _copy(op.second, 0, op.target, channels, others, row, tensors, work)


@compiled
def part(op: Step, own: PartOperands, row: int, tensors: Sequence[Ring], work: Bytes) -> None:
    """Make a row of some channels."""
    channels = tensors[op.target].channels
    _copy(op.source, own.start, op.target, 0, channels, row, tensors, work)


@compiled
def _copy(
    source: int,
    first: int,
    target: int,
    to: int,
    channels: int,
    row: int,
    tensors: Sequence[Ring],
    work: Bytes,
) -> None:
    for c in range(channels):
        x = byte_start(tensors, source, row, first + c)
        y = byte_start(tensors, target, row, to + c)
        for i in range(0, 4 * tensors[target].width, 4):
            work[y + i] = work[x + i]


@compiled
def shuffle(
    op: Step,
    own: ShuffleOperands,
    row: int,
    places: Sequence[Place],
    tensors: Sequence[Ring],
    work: Bytes,
) -> None:
    """Make a row of pixels of the channels that stand for it."""
    source = tensors[op.source]
    for c in range(source.channels):
        place = places[own.places + c]
        if place.row == row % own.block:  # the other channels are other rows of the block
            x = byte_start(tensors, op.source, row // op.ratio, c)
            y = byte_start(tensors, op.target, row, place.channel) + 4 * place.column
            for i in range(source.width):
                work[y + 4 * i * own.block] = work[x + 4 * i]
