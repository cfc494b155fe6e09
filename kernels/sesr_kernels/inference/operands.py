"""The tables that the compiled half of inference reads: one kind of record a kind of operation.

`Step` says what every operation has, which is all that decides how many rows it can make; what one
kind has beyond that is a row in the table of that kind.  All distances are in floats and all
addresses in bytes, counted from the beginning of the rings or of the packed weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sesr_kernels.description.shuffles import Place
from sesr_kernels.machine.compiled import Floats, Integers

NAMES = (
    "load",
    "convolution",
    "winograd",
    "pointwise",
    "add",
    "concat",
    "shuffle",
    "resize",
    "store",
)
"""What an operation does; both kinds of convolution have the same operands."""
LOAD, CONVOLUTION, WINOGRAD, POINTWISE, ADD, CONCAT, SHUFFLE, RESIZE, STORE = range(len(NAMES))


class Step(NamedTuple):
    """One operation on rows; tensors are numbers of rings, -1 stands for none.

    A row of `target` needs `reach` more rows of `source` to each side; `source` has one row for
    `ratio` rows of the target.  `second` and `third` are read at the target's own row.  Groups of
    rows begin at `phase` plus a multiple of `GROUP`.
    """

    kind: int
    target: int
    source: int
    second: int
    third: int
    reach: int
    ratio: int
    phase: int
    operands: int
    """Row in the table of its kind."""


class ConvolutionOperands(NamedTuple):
    """A convolution: each of `parts` reads `channels` for `blocks` register blocks of outputs."""

    kernel_size: int
    parts: int
    channels: int
    blocks: int
    outs: int
    """Outputs of a register block."""
    weight: int
    bias: int
    slope: int
    epilogue: int
    """What follows the sums, as `blocks.convolve` numbers it."""


class PointwiseOperands(NamedTuple):
    """A function of each value: its number, and where both numbers of every channel are."""

    function: int
    first: int
    second: int


class ShuffleOperands(NamedTuple):
    """Depth to space: where each channel goes in a block is `places`, from this row on."""

    block: int
    places: int


class ResizeOperands(NamedTuple):
    """An enlargement: phase p reads `taps` pixels from `firsts[p]` on.

    `buffer` is a tensor of one row to work in, `edge` what lies beyond the image's edges; both
    `firsts` and `weights` are where a table begins.
    """

    taps: int
    edge: int
    buffer: int
    firsts: int
    weights: int


class StoreOperands(NamedTuple):
    """The image's way out: a pixel of the source, `scale` to one of the input, is a block."""

    scale: int
    block: int


class Ring(NamedTuple):
    """Where the last `depth` rows of a tensor are, and which of its rows a band needs.

    A row is `planes` rows of `pitch` floats, of which `width` are pixels; the image has `rows` of
    them.  Planes beyond `channels` fill a block; they are zero.
    """

    offset: int
    depth: int
    planes: int
    pitch: int
    width: int
    low: int
    high: int
    rows: int
    channels: int


class Tables(NamedTuple):
    """A network's program and all that it reads but for weights; the same for every image."""

    program: Sequence[Step]
    convolutions: Sequence[ConvolutionOperands]
    pointwise: Sequence[PointwiseOperands]
    shuffles: Sequence[ShuffleOperands]
    resizes: Sequence[ResizeOperands]
    stores: Sequence[StoreOperands]
    places: Sequence[Place]
    firsts: Integers
    """First pixel of each phase of the enlargements, relative to the one it lies in."""
    weights: Floats
    """Those of the enlargements."""
