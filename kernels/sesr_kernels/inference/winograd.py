"""Winograd's algorithm in a band: a group of rows of one convolution."""

from __future__ import annotations

from collections.abc import Sequence

from sesr_kernels.blocks.convolve import OUTS
from sesr_kernels.blocks.winograd import MOST_CHANNELS, gather, multiply, spread
from sesr_kernels.blocks.winograd_points import FARTHER, GROUP, MOST_POINTS
from sesr_kernels.inference.operands import ConvolutionOperands, Ring, Step
from sesr_kernels.inference.rings import blank, clear, plane_stride, row_address
from sesr_kernels.machine.compiled import Floats, Integers, compiled
from sesr_kernels.machine.emit import LANES
from sesr_kernels.machine.tiling import TILE, tile_start, tile_vectors, tiling

CHUNK = max(1, 192 // TILE)
"""Tiles that are transformed at a time, and FARTHER vectors more."""
PITCH = 64 * (-(-(CHUNK * TILE + FARTHER * LANES) // 16) | 1)
"""Bytes between two channels of a chunk: an odd number of cache lines."""
POINT_STRIDE, PRODUCT_STRIDE = MOST_CHANNELS * PITCH + 64, OUTS * PITCH + 64
"""Bytes between two points of a channel, and between its products: no multiple of a page."""
SCRATCH = MOST_POINTS * (POINT_STRIDE + PRODUCT_STRIDE) // 4
"""Floats that a chunk needs."""

SOURCES, TARGETS, BEFORES, AFTERS = 0, 8, 12, 16
"""Where in the table of addresses the rows of each tensor stand: up to eight sources, four else."""


@compiled
def winograd_group(
    op: Step,
    conv: ConvolutionOperands,
    row: int,
    tensors: Sequence[Ring],
    addresses: Integers,
    weights: int,
    work: Floats,
    scratch: Floats,
) -> None:
    """Make a group of rows; those outside the image become zero."""
    target = tensors[op.target]
    # a group's place does not depend on the band: it may lie partly, or all, outside the image
    if row + GROUP > 0 and row < target.rows:
        _fill_addresses(op, row, tensors, addresses, work.ctypes.data)
        whole, tiles = tiling(target.width)
        # a chunk's points stay in the caches until all outputs have read them
        for first in range(0, tiles, CHUNK):
            last = min(first + CHUNK, tiles)
            _chunk(op, conv, first, last, whole, tensors, addresses, weights, scratch)
    # rows of the group that are no rows of the image are padding for whoever reads them
    for y in range(row, row + GROUP):
        if y < 0 or y >= target.rows:
            blank(tensors, op.target, y, work)
        else:
            clear(tensors, op.target, y, work)


@compiled
def _fill_addresses(
    op: Step, row: int, tensors: Sequence[Ring], addresses: Integers, base: int
) -> None:
    half = op.reach
    for y in range(GROUP + 2 * half):
        source = row_address(tensors, op.source, row - half + y, base)
        addresses[SOURCES + y] = source - 4 * half
    for y in range(GROUP):
        target = row_address(tensors, op.target, row + y, base)
        # what is not there is not read, but its address is computed with
        addresses[TARGETS + y] = addresses[BEFORES + y] = addresses[AFTERS + y] = target
        if op.second >= 0:
            addresses[BEFORES + y] = row_address(tensors, op.second, row + y, base)
        if op.third >= 0:
            addresses[AFTERS + y] = row_address(tensors, op.third, row + y, base)


@compiled
def _chunk(
    op: Step,
    conv: ConvolutionOperands,
    first: int,
    last: int,
    whole: int,
    tensors: Sequence[Ring],
    addresses: Integers,
    weights: int,
    scratch: Floats,
) -> None:
    """Make tiles `first` to `last` of a group."""
    table, points = addresses.ctypes.data, scratch.ctypes.data
    products, size = points + POINT_STRIDE * MOST_POINTS, conv.kernel_size
    start = tile_start(first, whole)
    column, vectors = 4 * start, (tile_start(last, whole) - start) // LANES
    spread(
        taps=size,
        rows=table + 8 * SOURCES,
        offset=column,
        plane=4 * tensors[op.source].pitch,
        channels=conv.parts * conv.channels,
        target=points,
        stride=PITCH,
        point_stride=POINT_STRIDE,
        count=vectors + FARTHER,
        slopes=0,
    )
    for block in range(conv.parts * conv.blocks):
        c = block * conv.outs
        weight = c * (GROUP + size - 1) * conv.channels * size * 4
        # a part's channels lie together: its blocks read no others
        own = points + block // conv.blocks * conv.channels * PITCH
        for tile in range(first, last):
            offset = 4 * (tile_start(tile, whole) - start)
            multiply(
                taps=size,
                outs=conv.outs,
                vectors=tile_vectors(tile, whole),
                points=own + offset,
                point_stride=POINT_STRIDE,
                channels=conv.channels,
                stride=PITCH,
                weight=weights + conv.weight + weight,
                products=products + offset,
                product_stride=PITCH,
                product_point_stride=PRODUCT_STRIDE,
            )
        _gather(op, conv, c, column, vectors, tensors, table, weights, products)


@compiled
def _gather(
    op: Step,
    conv: ConvolutionOperands,
    c: int,
    column: int,
    vectors: int,
    tensors: Sequence[Ring],
    table: int,
    weights: int,
    products: int,
) -> None:
    """Rows of a register block's outputs, from `c` on, with what follows them."""
    plane = 4 * tensors[op.target].pitch
    before = plane_stride(tensors, op.second) if op.second >= 0 else 0
    after = plane_stride(tensors, op.third) if op.third >= 0 else 0
    gather(
        taps=conv.kernel_size,
        products=products,
        stride=PITCH,
        point_stride=PRODUCT_STRIDE,
        count=vectors,
        channels=conv.outs,
        bias=weights + conv.bias + 4 * c,
        slope=weights + conv.slope + 4 * c,
        targets=table + 8 * TARGETS,
        offset=column + c * plane,
        plane=plane,
        befores=table + 8 * BEFORES,
        before_offset=column + c * before,
        before_plane=before,
        afters=table + 8 * AFTERS,
        after_offset=column + c * after,
        after_plane=after,
        epilogue=conv.epilogue,
    )
