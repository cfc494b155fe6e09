"""What the kernels read of a network of integers: few operations, all numbers worked out.

As in `layers`, a class of operations is known by its name, and `sesr_ref.integers.operations` fits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Grid(Protocol):
    """Integers of so many bits: the smallest, the largest, and the one that stands for 0."""

    @property
    def bits(self) -> int: ...
    @property
    def low(self) -> int: ...
    @property
    def high(self) -> int: ...
    @property
    def zero_point(self) -> int: ...


class Scaling(Protocol):
    """Real factors as a way of rounding applies them: integers and shifts, or float32."""

    @property
    def rounding(self) -> str: ...
    @property
    def multiplier(self) -> Array: ...
    @property
    def shift(self) -> Array: ...


class Addition(Protocol):
    """How operands are scaled, `headroom` bits up, and then their sum."""

    @property
    def headroom(self) -> int: ...
    @property
    def parts(self) -> Sequence[Scaling]: ...
    @property
    def last(self) -> Scaling: ...


class Operation(Protocol):
    """What every operation has; its name is its output's."""

    @property
    def name(self) -> str: ...
    @property
    def inputs(self) -> tuple[str, ...]: ...


class Products(Operation, Protocol):
    """A convolution, (rows, columns, in, out) weights; transposed if `stride` is not 0."""

    @property
    def weight(self) -> Array: ...
    @property
    def bias(self) -> Array: ...
    @property
    def groups(self) -> int: ...
    @property
    def stride(self) -> int: ...
    @property
    def crop(self) -> int: ...
    @property
    def scaling(self) -> Scaling: ...


class Lookup(Operation, Protocol):
    """A code for each code from -128 on: (256, channels), or (256, 1) for all channels."""

    @property
    def codes(self) -> Array: ...


class Sum(Operation, Protocol):
    """Two tensors added; a second one of one channel to all channels."""

    @property
    def addition(self) -> Addition: ...


class Join(Operation, Protocol):
    """The inputs' channels one after the other."""


class Part(Operation, Protocol):
    """Channels `start` to `stop`."""

    @property
    def start(self) -> int: ...
    @property
    def stop(self) -> int: ...


class Shuffle(Operation, Protocol):
    """Channels to the pixels of a block, `mode` "DCR" or "CRD"."""

    @property
    def block(self) -> int: ...
    @property
    def mode(self) -> str: ...


KINDS = (Products, Lookup, Sum, Join, Part, Shuffle)


class IntegerNetwork(Protocol):
    """Operations in order, the grid of every tensor, and the channels of the input, "input"."""

    @property
    def channels(self) -> int: ...
    @property
    def upscale(self) -> int: ...
    @property
    def output(self) -> str: ...
    @property
    def grids(self) -> Mapping[str, Grid]: ...
    @property
    def operations(self) -> Sequence[Operation]: ...
    def __hash__(self) -> int: ...  # plans are kept by network


def kind_of(operation: Operation) -> str:
    """Name of an operation's kind."""
    return type(operation).__name__


def byte_of(grid: Grid) -> int:
    """The zero point as bytes are kept: without a sign."""
    return grid.zero_point + 128


def whole(array: Array) -> Array:
    """As int64."""
    return np.asarray(array, np.int64)
