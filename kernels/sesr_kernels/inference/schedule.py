"""Which operations a network becomes when it runs depth first, and how many rows each one keeps.

Every tensor is a ring of its last rows.  A step takes a few new input rows and lets every
operation make the rows that have become possible, so that what lies between input and output stays
in the caches.  `Operation` is what one of them does for one row; `Schedule` is all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sesr_kernels.blocks.winograd_points import GROUP
from sesr_kernels.description.layers import Convolution, Layer, Resize
from sesr_kernels.description.shuffles import Place
from sesr_kernels.inference.operands import LOAD, STORE, WINOGRAD

Array = npt.NDArray[Any]
Read = tuple[int, int, int]
"""A tensor that an operation reads, its reach and its ratio."""

NEVER = 1 << 60
"""First row of a tensor without readers."""


class Convolving(NamedTuple):
    """What a convolution computes, with what follows in its store."""

    layer: Convolution
    kernel_size: int
    epilogue: int = 0
    activation: Layer | None = None


class Shuffling(NamedTuple):
    """Depth to space."""

    block: int
    mode: str


class Applying(NamedTuple):
    """A function of each value."""

    layer: Layer


class Enlarging(NamedTuple):
    """Interpolation; `buffer` is a tensor of one row to work in."""

    layer: Resize
    buffer: int


class Operation(NamedTuple):
    """One operation on rows, as `operands.Step` explains it; `work` is what its kind has more.

    That is one of the tuples above, or what another executor has in their place.  Groups of rows
    begin at `phase` plus a multiple of `GROUP`, fixed for each layer, so that a row's bits do not
    depend on where a band begins.
    """

    kind: int
    target: int
    source: int = -1
    second: int = -1
    third: int = -1
    reach: int = 0
    ratio: int = 1
    phase: int = 0
    work: object = None
    layers: tuple[str, ...] = ()
    """What it does of the network, all layers that a convolution takes over included."""

    def whole(self, row: int, step: int = GROUP) -> int:
        """Last row up to `row` at which a group may end."""
        return (row - self.phase) // step * step + self.phase


@dataclass
class Tensor:
    """One named tensor: its channels, its rows for each row of the image, and those it keeps."""

    name: str
    channels: int
    scale: int
    depth: int = 1


@dataclass
class Schedule:
    """The operations in order, the tensors they read and write, and the image's way out."""

    tensors: list[Tensor] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    block: int = 1

    def spans(self, low: int, high: int, grouped: bool = True) -> Array:
        """First row and last (exclusive) of each tensor that rows low to high of the image need.

        Parameters
        ----------
        low, high : int
            Rows of the input.
        grouped : bool
            Round to the whole groups of Winograd's algorithm; not so for columns.

        Returns
        -------
        (tensors, 2) int array
        """
        lows = np.full(len(self.tensors), NEVER, np.int64)
        highs = np.full(len(self.tensors), -NEVER, np.int64)
        for op in self.operations:
            if op.kind == STORE:
                scale = self.tensors[op.target].scale
                lows[op.target], highs[op.target] = low * scale, high * scale
        for op in reversed(self.operations):
            if op.kind == WINOGRAD and grouped:
                lows[op.target] = op.whole(lows[op.target])
                highs[op.target] = op.whole(highs[op.target] + GROUP - 1)
            first, last = lows[op.target], highs[op.target]
            for name, reach, ratio in self.inputs(op):
                lows[name] = min(lows[name], first // ratio - reach)
                highs[name] = max(highs[name], -(-last // ratio) + reach)
        return np.stack([lows, highs], axis=1)

    @staticmethod
    def inputs(op: Operation) -> list[Read]:
        """Tensors an operation reads, each with its reach and ratio."""
        found = [(op.source, op.reach, op.ratio), (op.second, 0, 1), (op.third, 0, 1)]
        return [entry for entry in found if entry[0] >= 0]

    def halo(self, grouped: bool = True) -> int:
        """Rows (or, not `grouped`, columns) of the input that an output needs on each side."""
        spans = [self.spans(at, at + 1, grouped)[0] - at for at in range(GROUP)]
        return max(max(-int(low), int(high) - 1) for low, high in spans)

    def align(self) -> None:
        """Let groups end where a band that ends at a multiple of `GROUP` needs no more rows."""
        highs = self.spans(0, GROUP, grouped=False)[:, 1]
        self.operations = [
            op._replace(phase=int(highs[op.target]) % GROUP) for op in self.operations
        ]

    def fit_rings(self, step: int) -> None:
        """Rehearse a band in the middle of a high image; every row read must still be there."""
        done, highs = self.spans(1000, 1064).T.tolist()
        tensors = self.tensors
        reads = [(op, self.inputs(op)) for op in self.operations]
        outputs = [op.target for op in self.operations if op.kind == STORE]
        while any(done[output] < highs[output] for output in outputs):
            for op, inputs in reads:
                top, begun = self.reachable(op, inputs, done, highs, step), done[op.target]
                if top <= begun:
                    continue
                for name, reach, ratio in inputs:
                    kept = done[name] - begun // ratio + reach
                    tensors[name].depth = max(tensors[name].depth, kept)
                done[op.target] = top
        for op in self.operations:
            burst = step * self.tensors[op.target].scale
            self.tensors[op.target].depth = max(self.tensors[op.target].depth, burst)

    @staticmethod
    def reachable(
        op: Operation, inputs: Sequence[Read], done: list[int], highs: list[int], step: int
    ) -> int:
        """Rows of an operation's target that can exist by now."""
        top = highs[op.target]
        if op.kind == LOAD:
            return min(top, op.whole(done[op.target] + step, step))
        for name, reach, ratio in inputs:
            top = min(top, (done[name] - reach) * ratio)
        return op.whole(top) if op.kind == WINOGRAD else top
