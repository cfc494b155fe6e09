"""One row of a direct convolution, tile by tile."""

from __future__ import annotations

from collections.abc import Sequence

from sesr_kernels.blocks.convolve import WIDTHS, convolve
from sesr_kernels.inference.operands import ConvolutionOperands, Ring, Step
from sesr_kernels.inference.rings import plane_stride, row_address
from sesr_kernels.machine.compiled import Floats, Integers, compiled
from sesr_kernels.machine.tiling import tile_start, tile_vectors, tiling

WIDEST = max(WIDTHS)


@compiled
def convolution(
    op: Step,
    conv: ConvolutionOperands,
    row: int,
    tensors: Sequence[Ring],
    addresses: Integers,
    weights: int,
    work: Floats,
) -> None:
    """Make a row of all outputs, with the sums and the activation that follow."""
    base = work.ctypes.data
    stride, plane = 4 * tensors[op.source].pitch, 4 * tensors[op.target].pitch
    height, width = _rows_read(op, conv.kernel_size, row, tensors, addresses, base)
    target = row_address(tensors, op.target, row, base)
    # a residual that is not there is not read, but its address is computed with
    before, before_stride, after, after_stride = target, 0, target, 0
    if op.second >= 0:
        before = row_address(tensors, op.second, row, base)
        before_stride = plane_stride(tensors, op.second)
    if op.third >= 0:
        after = row_address(tensors, op.third, row, base)
        after_stride = plane_stride(tensors, op.third)
    size = 4 * conv.kernel_size * conv.kernel_size * conv.channels
    whole, tiles = tiling(tensors[op.target].width)
    # a tile of pixels stays in the nearest cache while the weights of all outputs pass by
    for tile in range(tiles):
        column = 4 * tile_start(tile, whole)
        vectors = tile_vectors(tile, whole)
        offset, left = column, conv.blocks
        for block in range(conv.parts * conv.blocks):
            if left == 0:  # the next part reads channels of its own
                offset, left = offset + conv.channels * stride, conv.blocks
            left -= 1
            first = block * conv.outs
            convolve(
                width=width,
                outs=conv.outs,
                vectors=vectors,
                rows=addresses.ctypes.data,
                height=height,
                offset=offset,
                channels=conv.channels,
                stride=stride,
                weight=weights + conv.weight + first * size,
                bias=weights + conv.bias + 4 * first,
                slope=weights + conv.slope + 4 * first,
                before=before + column + first * before_stride,
                before_stride=before_stride,
                after=after + column + first * after_stride,
                after_stride=after_stride,
                kept=target + column + first * plane,
                target=target + column + first * plane,
                target_stride=plane,
                epilogue=conv.epilogue,
            )


@compiled
def _rows_read(
    op: Step,
    kernel_size: int,
    row: int,
    tensors: Sequence[Ring],
    addresses: Integers,
    base: int,
) -> tuple[int, int]:
    """Fill in the addresses of the rows read; how many they are, and how many taps each has."""
    half = kernel_size // 2
    for y in range(kernel_size):
        addresses[y] = row_address(tensors, op.source, row - half + y, base) - 4 * half
    if kernel_size <= WIDEST:
        return kernel_size, kernel_size
    # wider than the kernels are unrolled for: every tap is a row of its own, one tap wide
    for y in range(kernel_size - 1, -1, -1):  # from the end: the table grows in place
        for x in range(kernel_size - 1, -1, -1):
            addresses[y * kernel_size + x] = addresses[y] + 4 * x
    return kernel_size * kernel_size, 1
