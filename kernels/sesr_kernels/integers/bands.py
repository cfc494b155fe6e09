"""The compiled half of integer networks: one band of rows through every layer, depth first."""

from __future__ import annotations

from collections.abc import Sequence

from sesr_kernels.inference.bands import possible
from sesr_kernels.inference.operands import Ring
from sesr_kernels.integers.moves import Bytes, Codes, concat, load, part, shuffle
from sesr_kernels.integers.operands import (
    ADD,
    CONCAT,
    CONVOLUTION,
    LOAD,
    LOOKUP,
    PART,
    SHUFFLE,
    STORE,
    Step,
    Tables,
    Words,
)
from sesr_kernels.integers.rings import blank, clear
from sesr_kernels.integers.rows import add, convolution, lookup
from sesr_kernels.integers.store import store
from sesr_kernels.machine.compiled import Integers, compiled


@compiled
def run_band(
    tables: Tables,
    tensors: Sequence[Ring],
    done: Integers,
    constants: int,
    addresses: Integers,
    work: Words,
    bytes_: Bytes,
    sums: int,
    image: Codes,
    first_column: int,
    left: int,
    right: int,
    starts: Integers,
    columns: Integers,
    result: Codes,
) -> None:
    """Make the rows of all outputs that their last tensors state.

    As `inference.bands.run_band`; output i begins at ``result[starts[i]]`` and has ``columns[i]``
    pixels a row.  `bytes_` is `work` byte by byte; `sums` is where a register block's go.
    """
    program = tables.program
    for t in range(len(done)):
        done[t] = tensors[t].low
    left_over = len(tables.stores)
    while left_over > 0:
        left_over = len(tables.stores)
        for i in range(len(program)):
            op = program[i]
            top = possible(op, tensors, done, 1)
            if op.kind == STORE:
                own = tables.stores[op.operands]
                for row in range(done[op.target], top):
                    store(
                        op,
                        own,
                        row,
                        tables.places,
                        tensors,
                        addresses,
                        work,
                        bytes_,
                        left,
                        right,
                        first_column,
                        starts[own.number],
                        columns[own.number],
                        result,
                    )
                if top >= tensors[op.target].high:
                    left_over -= 1
            else:
                for row in range(done[op.target], top):
                    _make_row(
                        op,
                        row,
                        tables,
                        tensors,
                        addresses,
                        constants,
                        work,
                        bytes_,
                        sums,
                        image,
                        first_column,
                    )
            # not back: the sources may not have come as far as the band's first row
            done[op.target] = max(done[op.target], top)


@compiled
def _make_row(
    op: Step,
    row: int,
    tables: Tables,
    tensors: Sequence[Ring],
    addresses: Integers,
    constants: int,
    work: Words,
    bytes_: Bytes,
    sums: int,
    image: Codes,
    first_column: int,
) -> None:
    """Make one row of an operation's target, padding included."""
    fill = tables.fills[op.target]
    if row < 0 or row >= tensors[op.target].rows:
        # a convolution reads beyond the image's edge: zero points, whatever is made there
        blank(tensors, op.target, row, fill, work)
        return
    if op.kind == CONVOLUTION:
        conv = tables.products[op.operands]
        convolution(op, conv, row, tensors, addresses, constants, work, sums)
    elif op.kind == LOAD:
        load(op, row, tensors, fill, work, image, first_column)
    elif op.kind == LOOKUP:
        lookup(op, tables.lookups[op.operands], row, tensors, constants, work)
    elif op.kind == ADD:
        add(op, tables.sums[op.operands], row, tensors, constants, work)
    elif op.kind == CONCAT:
        concat(op, row, tensors, bytes_)
    elif op.kind == PART:
        part(op, tables.parts[op.operands], row, tensors, bytes_)
    elif op.kind == SHUFFLE:
        blocks = tables.shuffles[op.operands]
        shuffle(op, blocks, row, tables.places, tensors, bytes_)
    # kernels write whole vectors and tiles: what they left behind the width becomes padding again
    clear(tensors, op.target, row, fill, work)
