"""The compiled half of direct convolutions in training: forward, input and weight gradients."""

from __future__ import annotations

from sesr_kernels.blocks.convolve import convolve
from sesr_kernels.blocks.rows import COLUMNS, correlate
from sesr_kernels.machine.compiled import Integers, compiled
from sesr_kernels.machine.emit import LANES, VECTOR_BYTES
from sesr_kernels.machine.tiling import tile_start, tile_vectors, tiling
from sesr_kernels.training.operands import DirectConvolution, Geometry, WeightGradient

BAND = 1024 // LANES
"""Vectors of a weight gradient's pass: a block's planes of `dy` stay close."""


@compiled
def convolution(
    op: DirectConvolution, addresses: Integers, base: int, weights: int, geometry: Geometry
) -> None:
    """Run a convolution (or the gradient of its input) over planes, each one long row."""
    size, stride = op.kernel_size, 4 * geometry.plane
    for y in range(size):
        shift = (y - size // 2) * geometry.pitch - size // 2
        addresses[y] = base + op.source + 4 * shift
    # the padding between rows is convolved too, and cleared after: one long row has no edges
    whole, tiles = tiling(geometry.vectors * LANES)
    for tile in range(tiles):
        offset = 4 * tile_start(tile, whole)
        vectors = tile_vectors(tile, whole)
        for block in range(op.blocks):
            first = block * op.outs  # weights, bias and slope of these outputs lie together
            place = base + first * stride + offset
            convolve(
                width=size,
                outs=op.outs,
                vectors=vectors,
                rows=addresses.ctypes.data,
                height=size,
                offset=offset,
                channels=op.channels,
                stride=stride,
                weight=weights + op.weight + first * 4 * size * size * op.channels,
                bias=weights + op.bias + 4 * first,
                slope=weights + op.slope + 4 * first,
                before=0,
                before_stride=0,
                after=place + op.after,
                after_stride=stride,
                kept=place + op.kept,
                target=place + op.target,
                target_stride=stride,
                epilogue=op.epilogue,
            )


@compiled
def weight_gradient(
    op: WeightGradient, shifts: Integers, base: int, sums: int, geometry: Geometry
) -> None:
    """Add a weight's gradient to its sums: a band of pixels at a time, all outputs x inputs."""
    stride, size = 4 * geometry.plane, op.outs * COLUMNS * VECTOR_BYTES
    # zeros between the rows add nothing to a sum
    for start in range(0, geometry.vectors, BAND):
        offset = base + start * VECTOR_BYTES
        for block in range(op.blocks):
            for column in range(op.columns):
                correlate(
                    outs=op.outs,
                    dy=offset + op.dy + block * op.outs * stride,
                    stride=stride,
                    dy_pitch=0,
                    x=offset + op.source,
                    x_pitch=0,
                    shifts=shifts.ctypes.data + 8 * (op.shifts + column * COLUMNS),
                    rows=1,
                    count=min(BAND, geometry.vectors - start),
                    sums=sums + op.sums + (block * op.columns + column) * size,
                )
