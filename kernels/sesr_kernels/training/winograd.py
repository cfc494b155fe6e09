"""The compiled half of Winograd's algorithm in training: forward, and gradients of inputs.

A band is some groups of four rows of all channels; its six points (eight with five taps) lie in
scratch as planes of rows, like the tensors themselves, so that the taps along the width and the
padding stay as they are.  The size of a band depends on the image's size alone.
"""

from __future__ import annotations

from typing import NamedTuple

from sesr_kernels.blocks.convolve import OUTS
from sesr_kernels.blocks.rows import COLUMNS
from sesr_kernels.blocks.winograd import multiply, spread
from sesr_kernels.blocks.winograd_points import FARTHER, GROUP
from sesr_kernels.blocks.winograd_rows import assemble
from sesr_kernels.description.packing import round_up
from sesr_kernels.machine.compiled import Integers, compiled
from sesr_kernels.machine.emit import LANES, VECTOR_BYTES
from sesr_kernels.machine.host import HOST
from sesr_kernels.machine.tiling import NARROW, TILE, cut, tile_start, tile_vectors, tiling
from sesr_kernels.training.operands import Geometry, WinogradConvolution

SHORT, LONG = 96, 352
"""Columns of a band of groups of rows: for a convolution its points should stay in the first-level
cache, for a weight gradient the sums be loaded and stored seldom."""


class Bands(NamedTuple):
    """The last fields of a `Geometry`."""

    across: int
    row: int
    band: int
    line: int
    long_band: int
    long_line: int


def bands(height: int, width: int) -> Bands:
    """How the rows of an image are cut into bands."""
    across = -(-width // LANES)
    whole, tiles = cut(width)
    made = whole * TILE + (tiles - whole) * NARROW * LANES
    row = max(across * LANES, made) + FARTHER * LANES
    short, long = (_evenly(-(-height // GROUP), max(1, most // row)) for most in (SHORT, LONG))
    # an odd number of cache lines between channels
    return Bands(across, row, short, _line(short * row), long, _line(long * row))


def _evenly(groups: int, most: int) -> int:
    """Groups of a band of at most so many, such that all bands have about as many."""
    return -(-groups // -(-groups // most))


def _line(length: int) -> int:
    return round_up(length, 32) + 16


def scratch_size(taps: int, channels: int, features: int, line: int, long_line: int) -> int:
    """Floats that a convolution or its weight's gradient needs."""
    points, outs = taps + GROUP - 1, HOST.blocks(features)
    outputs = round_up(features, outs)
    blocks = points * -(-channels * taps // COLUMNS) + 1
    sums = outputs * blocks * COLUMNS * LANES
    convolution = points * line * (channels + OUTS)
    return max(convolution, points * long_line * (channels + outputs) + sums)


@compiled
def winograd(
    op: WinogradConvolution,
    addresses: Integers,
    base: int,
    scratch: int,
    weights: int,
    sums: int,
    shape: Geometry,
) -> None:
    """Run a convolution (or the gradient of its input) with what follows it."""
    line, row = 4 * shape.line, 4 * shape.row
    points, every = op.kernel_size + GROUP - 1, (shape.height + GROUP - 1) // GROUP
    products = scratch + points * op.channels * line
    size = 4 * points * op.kernel_size * op.channels
    # -1: the source is stored as it is; else ahead of a PReLU, which half of the writes saves
    slopes = weights + op.source_slopes if op.source_slopes >= 0 else 0
    whole, tiles = tiling(shape.width)
    for first in range(0, every, shape.band):
        many = min(shape.band, every - first)
        spread_band(
            op.kernel_size,
            addresses,
            base + op.source,
            op.channels,
            first,
            many,
            scratch,
            line,
            slopes,
            shape,
        )
        # all outputs of a band before the next one: its points are in the nearest cache
        for block in range(op.blocks):
            weight = weights + op.weight + block * op.outs * size
            for r in range(many):
                for tile in range(tiles):
                    x = r * row + 4 * tile_start(tile, whole)
                    multiply(
                        taps=op.kernel_size,
                        outs=op.outs,
                        vectors=tile_vectors(tile, whole),
                        points=scratch + x,
                        point_stride=op.channels * line,
                        channels=op.channels,
                        stride=line,
                        weight=weight,
                        products=products + x,
                        product_stride=line,
                        product_point_stride=op.outs * line,
                    )
            _assemble(op, block, first, many, products, base, weights, sums, shape)


@compiled
def _assemble(
    op: WinogradConvolution,
    block: int,
    first: int,
    many: int,
    products: int,
    base: int,
    weights: int,
    sums: int,
    shape: Geometry,
) -> None:
    """Rows of a band's outputs, of one register block of channels, from their products."""
    pitch, line = 4 * shape.pitch, 4 * shape.line
    # a group of rows after the other, as they lie in scratch
    for c in range(op.outs):
        channel = block * op.outs + c
        for r in range(many):
            place = base + 4 * channel * shape.plane + (first + r) * GROUP * pitch
            assemble(
                taps=op.kernel_size,
                products=products + c * line + r * 4 * shape.row,
                stride=op.outs * line,
                target=place + op.target,
                kept=place + op.kept,
                seen=place + op.seen,
                after=place + op.after,
                pitch=pitch,
                width=shape.width,
                bias=weights + op.bias + 4 * channel,
                slope=weights + op.slope + 4 * channel,
                sums=sums + op.sums + channel * VECTOR_BYTES,
                epilogue=op.epilogue,
            )


@compiled
def spread_band(
    taps: int,
    addresses: Integers,
    source: int,
    channels: int,
    first: int,
    many: int,
    target: int,
    line: int,
    slopes: int,
    shape: Geometry,
) -> None:
    """Points of a band; the first columns are the padding left of the image.

    What lies behind the last column is of this image too: no NaN of an earlier one.
    """
    pitch, half = 4 * shape.pitch, taps // 2
    # groups overlap: each reads the rows above and below its own as well
    for r in range(many):
        for i in range(taps + GROUP - 1):
            addresses[i] = source + ((first + r) * GROUP + i - half) * pitch - 4 * half
        spread(
            taps=taps,
            rows=addresses.ctypes.data,
            offset=0,
            plane=4 * shape.plane,
            channels=channels,
            target=target + r * 4 * shape.row,
            stride=line,
            point_stride=channels * line,
            count=shape.across + FARTHER,
            slopes=slopes,
        )
