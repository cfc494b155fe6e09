"""The tables that the compiled half of integer networks reads, as `inference.operands` has them.

A row of a ring is words: one pixel's bytes of four channels, without a sign (128 more than the
codes).  All addresses are in bytes, counted from the beginning of the rings or of the constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sesr_kernels.description.shuffles import Place
from sesr_kernels.inference import operands as real
from sesr_kernels.inference.operands import (
    ADD,
    CONCAT,
    CONVOLUTION,
    LOAD,
    SHUFFLE,
    STORE,
    ShuffleOperands,
    Step,
)

__all__ = [
    "ADD",
    "CONCAT",
    "CONVOLUTION",
    "LOAD",
    "LOOKUP",
    "NAMES",
    "PART",
    "SHUFFLE",
    "STORE",
    "LookupOperands",
    "PartOperands",
    "ProductsOperands",
    "ShuffleOperands",
    "Step",
    "StoreOperands",
    "SumOperands",
    "Tables",
]

LOOKUP = real.POINTWISE
PART = len(real.NAMES)
NAMES = {
    LOAD: "load",
    CONVOLUTION: "convolution",
    LOOKUP: "lookup",
    ADD: "add",
    CONCAT: "concat",
    PART: "part",
    SHUFFLE: "shuffle",
    STORE: "store",
}
"""What an operation does."""

Words = npt.NDArray[np.int32]


class ProductsOperands(NamedTuple):
    """A convolution: each of `parts` reads `groups` of four channels for `blocks` of outputs.

    A kernel has `height` rows of `width` taps, the first one `before` pixels left of the output's;
    with `beside` a group of channels is really four pixels of an image of one channel.  `tables`
    is -1 if nothing is looked up.
    """

    height: int
    width: int
    before: int
    beside: int
    parts: int
    groups: int
    blocks: int
    outs: int
    weight: int
    bias: int
    numbers: int
    scaling: int
    tables: int
    stride: int
    """Between two channels' tables."""


class LookupOperands(NamedTuple):
    """A table for each channel, `stride` apart, or one for all (0)."""

    tables: int
    stride: int


class SumOperands(NamedTuple):
    """How two tensors are scaled and added; `one` if the second has one channel for all."""

    kind: int
    numbers: int
    one: int


class PartOperands(NamedTuple):
    """The first channel."""

    start: int


class StoreOperands(NamedTuple):
    """The way out of output `number`: a pixel of the source, `scale` to one of the image's."""

    number: int
    scale: int
    block: int
    places: int
    channels: int
    """Of the output."""


class Tables(NamedTuple):
    """A network's program and all that it reads but for constants; the same for every image."""

    program: Sequence[Step]
    products: Sequence[ProductsOperands]
    lookups: Sequence[LookupOperands]
    sums: Sequence[SumOperands]
    parts: Sequence[PartOperands]
    shuffles: Sequence[ShuffleOperands]
    stores: Sequence[StoreOperands]
    places: Sequence[Place]
    fills: Words
    """The word of zero points of each tensor: what lies beyond the image's edges."""
