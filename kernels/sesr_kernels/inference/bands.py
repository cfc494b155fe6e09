"""The compiled half of inference: one band of rows through every layer, depth first."""

from __future__ import annotations

from collections.abc import Sequence

from sesr_kernels.blocks.winograd_points import GROUP
from sesr_kernels.inference.convolution import convolution
from sesr_kernels.inference.elementwise import add, concat, pointwise_row, shuffle
from sesr_kernels.inference.operands import (
    ADD,
    CONCAT,
    CONVOLUTION,
    LOAD,
    POINTWISE,
    RESIZE,
    SHUFFLE,
    STORE,
    WINOGRAD,
    Ring,
    Step,
    Tables,
)
from sesr_kernels.inference.resampling import resize
from sesr_kernels.inference.rings import MARGIN, blank, clear, row_start
from sesr_kernels.inference.store import store
from sesr_kernels.inference.winograd import winograd_group
from sesr_kernels.machine.compiled import Floats, Integers, compiled


@compiled
def run_band(
    tables: Tables,
    tensors: Sequence[Ring],
    done: Integers,
    weights: int,
    addresses: Integers,
    work: Floats,
    scratch: Floats,
    image: Floats,
    first_column: int,
    left: int,
    right: int,
    step: int,
    result: Floats,
) -> None:
    """Make the rows of `result` that the last row of `tensors` states.

    `first_column` is that of the strip with its halo; columns `left` to `right` of the strip are
    the ones to store.  `done` is the row up to which each tensor is made.
    """
    program = tables.program
    for t in range(len(done)):
        done[t] = tensors[t].low
    output = program[-1].target
    # one turn takes `step` rows of the image and lets every operation make what they allow, in the
    # network's order: all that a row of the output needs is then still in its ring
    while done[output] < tensors[output].high:
        for i in range(len(program)):
            op = program[i]
            top = possible(op, tensors, done, step)
            if op.kind == WINOGRAD:
                conv = tables.convolutions[op.operands]
                for row in range(done[op.target], top, GROUP):
                    winograd_group(op, conv, row, tensors, addresses, weights, work, scratch)
            elif op.kind == STORE:
                end = tables.stores[op.operands]
                for row in range(done[op.target], top):
                    store(
                        op,
                        end,
                        row,
                        tables.places,
                        tensors,
                        addresses,
                        work,
                        left,
                        right,
                        first_column,
                        result,
                    )
            else:
                for row in range(done[op.target], top):
                    _make_row(
                        op, row, tables, tensors, addresses, weights, work, image, first_column
                    )
            # not back: the sources may not have come as far as the band's first row
            done[op.target] = max(done[op.target], top)


@compiled
def possible(op: Step, tensors: Sequence[Ring], done: Integers, step: int) -> int:
    """Row of its target up to which an operation can work by now."""
    top = tensors[op.target].high
    if op.kind == LOAD:
        # the whole image is there, but rings are as deep as one step of rows needs
        return int(min(top, (done[op.target] + step - op.phase) // step * step + op.phase))
    top = min(top, (done[op.source] - op.reach) * op.ratio)
    if op.second >= 0:
        top = min(top, done[op.second])
    if op.third >= 0:
        top = min(top, done[op.third])
    if op.kind == WINOGRAD:
        # rows of a group share their sums: none is made before all of them can be
        top = (top - op.phase) // GROUP * GROUP + op.phase
    return int(top)


@compiled
def _make_row(
    op: Step,
    row: int,
    tables: Tables,
    tensors: Sequence[Ring],
    addresses: Integers,
    weights: int,
    work: Floats,
    image: Floats,
    first_column: int,
) -> None:
    """Make one row of an operation's target, padding included."""
    if row < 0 or row >= tensors[op.target].rows:
        # a convolution reads beyond the image's edge: zeros, whatever the operation would make
        blank(tensors, op.target, row, work)
        return
    if op.kind == CONVOLUTION:
        conv = tables.convolutions[op.operands]
        convolution(op, conv, row, tensors, addresses, weights, work)
    elif op.kind == LOAD:
        _load(op, row, tensors, work, image, first_column)
    elif op.kind == POINTWISE:
        pointwise_row(op, tables.pointwise[op.operands], row, tensors, weights, work)
    elif op.kind == ADD:
        add(op, row, tensors, work)
    elif op.kind == CONCAT:
        concat(op, row, tensors, work)
    elif op.kind == SHUFFLE:
        shuffle(op, tables.shuffles[op.operands], row, tables.places, tensors, work)
    elif op.kind == RESIZE:
        own = tables.resizes[op.operands]
        resize(op, own, row, tables.firsts, tables.weights, tensors, addresses, work)
    # kernels write whole vectors and tiles: what they left behind the width becomes padding again
    clear(tensors, op.target, row, work)


@compiled
def _load(
    op: Step, row: int, tensors: Sequence[Ring], work: Floats, image: Floats, first_column: int
) -> None:
    ring, start = tensors[op.target], row_start(tensors, op.target, row) + MARGIN
    for c in range(image.shape[2]):
        place = start + c * ring.pitch
        for x in range(ring.width):
            work[place + x] = image[row, first_column + x, c]
