"""One row of a convolution, a lookup or a sum."""

from __future__ import annotations

from collections.abc import Sequence

from sesr_kernels.blocks.convolve import OUTS
from sesr_kernels.blocks.narrow import NUMBERS, narrow, narrow_by_tables
from sesr_kernels.blocks.products import CHANNELS, products
from sesr_kernels.blocks.word_rows import ADDITION_WORDS, add_words, look_up
from sesr_kernels.inference.operands import Ring
from sesr_kernels.inference.rings import row_address
from sesr_kernels.integers.operands import (
    LookupOperands,
    ProductsOperands,
    Step,
    SumOperands,
    Words,
)
from sesr_kernels.machine.compiled import Integers, compiled
from sesr_kernels.machine.emit import LANES
from sesr_kernels.machine.tiling import VECTORS, tiling_by
from sesr_kernels.machine.words import WEIGHT_WORDS


@compiled
def convolution(
    op: Step,
    own: ProductsOperands,
    row: int,
    tensors: Sequence[Ring],
    addresses: Integers,
    constants: int,
    work: Words,
    sums: int,
) -> None:
    """Make a row of all outputs, tables behind them included."""
    base = work.ctypes.data
    stride, plane = 4 * tensors[op.source].pitch, 4 * tensors[op.target].pitch
    if own.beside:  # the next four pixels' words instead of the next four channels'
        stride = 4 * CHANNELS
    _rows_read(op, own, row, tensors, addresses, base)
    target = row_address(tensors, op.target, row, base)
    groups = own.outs // CHANNELS
    most = VECTORS * OUTS // own.outs
    size = 4 * WEIGHT_WORDS * own.height * own.width * own.groups
    whole, tiles = tiling_by(tensors[op.target].width, most)
    column = 0
    for tile in range(tiles):
        vectors = most if tile < whole else most - 1
        offset, left = column, own.blocks
        for block in range(own.parts * own.blocks):
            if left == 0:  # the next part reads channels of its own
                offset, left = offset + own.groups * stride, own.blocks
            left -= 1
            first = block * own.outs
            products(
                width=own.width,
                outs=own.outs,
                vectors=vectors,
                rows=addresses.ctypes.data,
                height=own.height,
                offset=offset,
                groups=own.groups,
                stride=stride,
                weight=constants + own.weight + first * size,
                bias=constants + own.bias + 4 * first,
                sums=sums,
            )
            numbers = constants + own.numbers + 4 * NUMBERS * groups * block
            to = target + column + groups * block * plane
            if own.tables < 0:
                narrow(
                    sums=sums,
                    groups=groups,
                    whole=most,
                    vectors=vectors,
                    numbers=numbers,
                    target=to,
                    target_stride=plane,
                    kind=own.scaling,
                )
            else:
                narrow_by_tables(
                    sums=sums,
                    groups=groups,
                    whole=most,
                    numbers=numbers,
                    target=to,
                    target_stride=plane,
                    kind=own.scaling,
                    tables=constants + own.tables + first * own.stride,
                    stride=own.stride,
                )
        column += 4 * vectors * LANES


@compiled
def _rows_read(
    op: Step,
    own: ProductsOperands,
    row: int,
    tensors: Sequence[Ring],
    addresses: Integers,
    base: int,
) -> None:
    """Fill in the addresses of the rows read, or of every tap of kernels wider than unrolled."""
    half = own.before
    side = 2 * half + 1
    for y in range(side):
        addresses[y] = row_address(tensors, op.source, row - half + y, base) - 4 * half
    if own.height > side:
        for y in range(side - 1, -1, -1):  # from the end: the table grows in place
            for x in range(side - 1, -1, -1):
                addresses[y * side + x] = addresses[y] + 4 * x


@compiled
def lookup(
    op: Step,
    own: LookupOperands,
    row: int,
    tensors: Sequence[Ring],
    constants: int,
    work: Words,
) -> None:
    """Make a row by tables."""
    source, target = tensors[op.source], tensors[op.target]
    x = row_address(tensors, op.source, row, work.ctypes.data)
    y = row_address(tensors, op.target, row, work.ctypes.data)
    for group in range((target.channels + CHANNELS - 1) // CHANNELS):
        look_up(
            x=x + 4 * group * source.pitch,
            tables=constants + own.tables + CHANNELS * group * own.stride,
            stride=own.stride,
            count=(target.width + LANES - 1) // LANES,
            y=y + 4 * group * target.pitch,
        )


@compiled
def add(
    op: Step,
    own: SumOperands,
    row: int,
    tensors: Sequence[Ring],
    constants: int,
    work: Words,
) -> None:
    """Make a row of a sum."""
    source, target, other = tensors[op.source], tensors[op.target], tensors[op.second]
    x = row_address(tensors, op.source, row, work.ctypes.data)
    there = row_address(tensors, op.second, row, work.ctypes.data)
    y = row_address(tensors, op.target, row, work.ctypes.data)
    pitch = 0 if own.one else other.pitch
    for group in range((target.channels + CHANNELS - 1) // CHANNELS):
        add_words(
            x=x + 4 * group * source.pitch,
            other=there + 4 * group * pitch,
            one=own.one,
            numbers=constants + own.numbers + 4 * ADDITION_WORDS * group,
            kind=own.kind,
            count=(target.width + LANES - 1) // LANES,
            y=y + 4 * group * target.pitch,
        )
