"""One row of what is no convolution: functions of each value, sums, joined and moved channels."""

from __future__ import annotations

from collections.abc import Sequence

from sesr_kernels.blocks.pointwise import pointwise
from sesr_kernels.description.shuffles import Place
from sesr_kernels.inference.operands import PointwiseOperands, Ring, ShuffleOperands, Step
from sesr_kernels.inference.rings import MARGIN, row_start
from sesr_kernels.machine.compiled import Floats, compiled
from sesr_kernels.machine.emit import LANES


@compiled
def pointwise_row(
    op: Step,
    own: PointwiseOperands,
    row: int,
    tensors: Sequence[Ring],
    weights: int,
    work: Floats,
) -> None:
    """Make a row by a function of each value."""
    source, target = tensors[op.source], tensors[op.target]
    x = work.ctypes.data + 4 * (row_start(tensors, op.source, row) + MARGIN)
    y = work.ctypes.data + 4 * (row_start(tensors, op.target, row) + MARGIN)
    for c in range(target.channels):
        pointwise(
            function=own.function,
            x=x + 4 * c * source.pitch,
            first=weights + own.first + 4 * c,
            second=weights + own.second + 4 * c,
            # whole vectors: what is made of the padding is cleared with it
            count=(target.width + LANES - 1) // LANES,
            y=y + 4 * c * target.pitch,
        )


@compiled
def add(op: Step, row: int, tensors: Sequence[Ring], work: Floats) -> None:
    """Make a row of a sum."""
    source, target, other = tensors[op.source], tensors[op.target], tensors[op.second]
    x = row_start(tensors, op.source, row) + MARGIN
    there = row_start(tensors, op.second, row) + MARGIN
    y = row_start(tensors, op.target, row) + MARGIN
    # one channel is repeated over those of the first operand
    pitch = other.pitch if other.channels > 1 else 0
    for _ in range(target.channels):
        for i in range(target.width):
            work[y + i] = work[x + i] + work[there + i]
        x, there, y = x + source.pitch, there + pitch, y + target.pitch


@compiled
def concat(op: Step, row: int, tensors: Sequence[Ring], work: Floats) -> None:
    """Make a row of both operands' channels."""
    y = row_start(tensors, op.target, row) + MARGIN
    y = _copy(op.source, row, y, op.target, tensors, work)
    _copy(op.second, row, y, op.target, tensors, work)


@compiled
def _copy(number: int, row: int, y: int, target: int, tensors: Sequence[Ring], work: Floats) -> int:
    """Copy all channels of a row to `y`; where the next one goes."""
    source, x = tensors[number], row_start(tensors, number, row) + MARGIN
    for _ in range(source.channels):
        for i in range(source.width):
            work[y + i] = work[x + i]
        x, y = x + source.pitch, y + tensors[target].pitch
    return y


@compiled
def shuffle(
    op: Step,
    own: ShuffleOperands,
    row: int,
    places: Sequence[Place],
    tensors: Sequence[Ring],
    work: Floats,
) -> None:
    """Make a row of pixels of the channels that stand for it."""
    source, target = tensors[op.source], tensors[op.target]
    x = row_start(tensors, op.source, row // op.ratio) + MARGIN
    out = row_start(tensors, op.target, row) + MARGIN
    for c in range(source.channels):
        place = places[own.places + c]
        if place.row == row % own.block:  # the other channels are other rows of the block
            y = out + place.channel * target.pitch + place.column
            for i in range(source.width):
                work[y + i * own.block] = work[x + c * source.pitch + i]
