"""The tables that the compiled half of training reads: one kind of record a kind of operation.

A tensor's or gradient's place is the byte offset of its first plane from the first pixel of the
first one; that of packed parameters counts from their beginning, that of partial sums likewise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sesr_kernels.machine.records import table


class Geometry(NamedTuple):
    """Of an image's planes and of bands of them in scratch, in floats, rows and vectors."""

    height: int
    width: int
    pitch: int
    """Floats between two rows, the columns of padding included."""
    start: int
    """First pixel of a plane."""
    plane: int
    """Floats between two planes."""
    tiles: int
    """Tiles of a plane, taken for one long row."""
    vectors: int
    """Vectors of a plane, likewise."""
    across: int
    """Vectors of a row."""
    row: int
    """Floats of a group of rows in scratch."""
    band: int
    """Groups of rows of a convolution's band, and floats between its channels in scratch."""
    line: int
    long_band: int
    """As `band` and `line`, for a weight's gradient."""
    long_line: int


class DirectConvolution(NamedTuple):
    """A direct convolution, of a tensor or of a gradient, with what follows in its store."""

    source: int
    kernel_size: int
    channels: int
    outs: int
    """Outputs of a register block."""
    blocks: int
    weight: int
    bias: int
    slope: int
    target: int
    planes: int
    """Planes of the target, those that only fill a block included."""
    kept: int
    """Where the value ahead of the activation goes, if the epilogue says so."""
    after: int
    """What is added at the end, if the epilogue says so."""
    epilogue: int


class WinogradConvolution(NamedTuple):
    """As `DirectConvolution`, by Winograd's algorithm; may read and give more."""

    source: int
    kernel_size: int
    channels: int
    outs: int
    blocks: int
    weight: int
    bias: int
    slope: int
    target: int
    planes: int
    kept: int
    after: int
    epilogue: int
    source_slopes: int
    """Slopes of the PReLU through which the source is read; -1 for none."""
    seen: int
    """What the activation saw whose gradient is taken at the end, if the epilogue says so."""
    sums: int
    """Partial sums of that activation's slopes."""


class WeightGradient(NamedTuple):
    """Products of a gradient and shifted inputs, `columns` blocks of them: `shifts` from there."""

    dy: int
    source: int
    outs: int
    blocks: int
    columns: int
    shifts: int
    sums: int


class WinogradWeightGradient(NamedTuple):
    """As `WeightGradient`, by Winograd's algorithm; `shifts` are those of one point's inputs."""

    dy: int
    source: int
    kernel_size: int
    channels: int
    outs: int
    blocks: int
    shifts: int
    sums: int
    ones: int
    source_slopes: int
    """Slopes of the PReLU through which the source is read; -1 for none."""


class Pointwise(NamedTuple):
    """A function of each value, and where both numbers of every channel are."""

    function: int
    source: int
    target: int
    channels: int
    first: int
    second: int


class PointwiseGradient(NamedTuple):
    """Gradient of a function that saw `seen`; `sums` is for what is learnt of it, -1 if nothing."""

    function: int
    dy: int
    seen: int
    target: int
    channels: int
    first: int
    second: int
    sums: int


class Add(NamedTuple):
    """Sum of two tensors; a stride of 0 bytes repeats one plane for every channel."""

    source: int
    source_stride: int
    other: int
    other_stride: int
    target: int
    channels: int


class Loss(NamedTuple):
    """Errors of a tensor and their gradient; or, `as_given`, the target is the gradient."""

    source: int
    gradient: int
    as_given: int


KINDS: tuple[type[Any], ...] = (
    DirectConvolution,
    WinogradConvolution,
    WeightGradient,
    WinogradWeightGradient,
    Pointwise,
    PointwiseGradient,
    Add,
    Loss,
)
(
    DIRECT,
    WINOGRAD,
    WEIGHT_GRADIENT,
    WINOGRAD_WEIGHT_GRADIENT,
    POINTWISE,
    POINTWISE_GRADIENT,
    ADD,
    LOSS,
) = range(len(KINDS))
Operation = (
    DirectConvolution
    | WinogradConvolution
    | WeightGradient
    | WinogradWeightGradient
    | Pointwise
    | PointwiseGradient
    | Add
    | Loss
)


class Step(NamedTuple):
    """What is done next: the kind, and the row in the table of that kind."""

    kind: int
    row: int


class Tables(NamedTuple):
    """A program: its steps in order, and the operands of each kind."""

    steps: Sequence[Step]
    directs: Sequence[DirectConvolution]
    winograds: Sequence[WinogradConvolution]
    weight_gradients: Sequence[WeightGradient]
    winograd_weight_gradients: Sequence[WinogradWeightGradient]
    pointwise: Sequence[Pointwise]
    pointwise_gradients: Sequence[PointwiseGradient]
    sums: Sequence[Add]
    losses: Sequence[Loss]


def tables(operations: Sequence[Operation]) -> Tables:
    """The program of some operations."""
    rows: list[list[Any]] = [[] for _ in KINDS]
    steps = []
    for operation in operations:
        kind = KINDS.index(type(operation))
        steps.append(Step(kind, len(rows[kind])))
        rows[kind].append(operation)
    own = (table(kind, found) for kind, found in zip(KINDS, rows, strict=True))
    return Tables(table(Step, steps), *own)
