"""The compiled half of Winograd's algorithm in training: gradients of weights.

Their sums are made at the points, band by band, and brought to the taps once for each image.
"""

from __future__ import annotations

from sesr_kernels.blocks.rows import COLUMNS, add, correlate
from sesr_kernels.blocks.winograd_points import GROUP
from sesr_kernels.blocks.winograd_rows import dual, untransform, zero
from sesr_kernels.machine.compiled import Integers, compiled
from sesr_kernels.machine.emit import VECTOR_BYTES
from sesr_kernels.training.operands import Geometry, WinogradWeightGradient
from sesr_kernels.training.winograd import spread_band


@compiled
def winograd_weight_gradient(
    op: WinogradWeightGradient,
    shifts: Integers,
    addresses: Integers,
    base: int,
    scratch: int,
    weights: int,
    sums: int,
    shape: Geometry,
) -> None:
    """Add a weight's gradient to its sums, which have the layout of the direct one's."""
    taps, channels, outs = op.kernel_size, op.channels, op.outs
    # 0, no address: the source is stored as it is; else ahead of a PReLU
    slopes = weights + op.source_slopes if op.source_slopes >= 0 else 0
    line = 4 * shape.long_line
    points, every = taps + GROUP - 1, (shape.height + GROUP - 1) // GROUP
    features, columns = op.blocks * outs, (channels * taps + COLUMNS - 1) // COLUMNS
    duals = scratch + points * channels * line
    found = duals + points * features * line
    biases = found + points * op.blocks * columns * outs * COLUMNS * VECTOR_BYTES
    # the bias is the gradient's product with a plane of ones, which has no shifts
    for j in range(COLUMNS):
        addresses[j] = 0
    zero(found, (points * columns + 1) * features * COLUMNS)
    # bands are long: the sums are loaded and stored once for each
    for first in range(0, every, shape.long_band):
        many = min(shape.long_band, every - first)
        _duals(taps, base + op.dy, features, first, many, duals, line, shape)
        for block in range(op.blocks):
            correlate(
                outs=outs,
                # the second point, 1, is the sum of the four rows
                dy=duals + (features + block * outs) * line,
                stride=line,
                dy_pitch=4 * shape.row,
                x=base + op.ones,
                x_pitch=0,
                shifts=addresses.ctypes.data,
                rows=many,
                count=shape.across,
                sums=biases + block * outs * COLUMNS * VECTOR_BYTES,
            )
        spread_band(
            taps,
            addresses[8:],
            base + op.source,
            channels,
            first,
            many,
            scratch,
            line,
            slopes,
            shape,
        )
        table = shifts.ctypes.data + 8 * op.shifts
        _products(op, table, columns, many, scratch, duals, found, shape)
    _collect(op, addresses, found, biases, sums + op.sums)


@compiled
def _products(
    op: WinogradWeightGradient,
    shifts: int,
    columns: int,
    many: int,
    inputs: int,
    duals: int,
    found: int,
    shape: Geometry,
) -> None:
    """Add a band's products of gradient and inputs, point by point."""
    line, row, features = 4 * shape.long_line, 4 * shape.row, op.blocks * op.outs
    size = op.outs * COLUMNS * VECTOR_BYTES
    for p in range(op.kernel_size + GROUP - 1):
        for block in range(op.blocks):
            for j in range(columns):
                correlate(
                    outs=op.outs,
                    dy=duals + (p * features + block * op.outs) * line,
                    stride=line,
                    dy_pitch=row,
                    x=inputs + p * op.channels * line,
                    x_pitch=row,
                    shifts=shifts + 8 * j * COLUMNS,
                    rows=many,
                    count=shape.across,
                    sums=found + ((p * op.blocks + block) * columns + j) * size,
                )


@compiled
def _collect(
    op: WinogradWeightGradient, addresses: Integers, found: int, biases: int, sums: int
) -> None:
    """Sums of all points to those of the taps, channel by channel, and of the bias."""
    taps, channels, outs = op.kernel_size, op.channels, op.outs
    columns = (channels * taps + COLUMNS - 1) // COLUMNS
    wide = (channels * taps * taps + COLUMNS) // COLUMNS
    size = outs * COLUMNS * VECTOR_BYTES
    # added to, not stored: the sums are those of all images of a part
    for block in range(op.blocks):
        for k in range(channels * taps):
            c, j = k // taps, k % taps
            for i in range(taps):
                addresses[i] = _column(sums, size, block * wide, (c * taps + i) * taps + j)
            untransform(
                taps=taps,
                sums=_column(found, size, block * columns, k),
                stride=op.blocks * columns * size,
                targets=addresses.ctypes.data,
                count=outs,
            )
        bias = _column(sums, size, block * wide, channels * taps * taps)
        for r in range(outs):
            offset = r * COLUMNS * VECTOR_BYTES
            add(bias + offset, biases + block * size + offset, 1, bias + offset)


@compiled
def _column(blocks: int, size: int, first: int, column: int) -> int:
    """Address of a column of partial sums, counted from a block on."""
    block = first + column // COLUMNS
    return blocks + block * size + column % COLUMNS * VECTOR_BYTES


@compiled
def _duals(
    taps: int,
    dy: int,
    features: int,
    first: int,
    many: int,
    target: int,
    line: int,
    shape: Geometry,
) -> None:
    """Points of a band's gradient, zero behind the last column."""
    pitch = 4 * shape.pitch
    for f in range(features):
        for r in range(many):
            dual(
                taps=taps,
                rows=dy + f * 4 * shape.plane + (first + r) * GROUP * pitch,
                pitch=pitch,
                target=target + f * line + r * 4 * shape.row,
                stride=features * line,
                count=shape.across,
            )
