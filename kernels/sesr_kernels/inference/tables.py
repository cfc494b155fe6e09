"""From a schedule to the tables that the compiled half reads, and the weights they point to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from sesr_kernels.blocks.convolve import OUTS
from sesr_kernels.blocks.pointwise import NUMBER
from sesr_kernels.blocks.winograd_points import GROUP, packed_points
from sesr_kernels.description.layers import Layer
from sesr_kernels.description.packing import round_up
from sesr_kernels.description.pointwise import numbers_of, pointwise_of
from sesr_kernels.description.shuffles import Place, combined
from sesr_kernels.inference.operands import (
    WINOGRAD,
    ConvolutionOperands,
    PointwiseOperands,
    ResizeOperands,
    ShuffleOperands,
    Step,
    StoreOperands,
    Tables,
)
from sesr_kernels.inference.resampling import MODES, enlargement
from sesr_kernels.inference.schedule import (
    Applying,
    Convolving,
    Enlarging,
    Operation,
    Schedule,
    Shuffling,
)
from sesr_kernels.inference.weights import Array, Params, bias_of, conv_parts, dense, packed_weight
from sesr_kernels.machine.host import HOST
from sesr_kernels.machine.records import table

Operands = (
    ConvolutionOperands | PointwiseOperands | ShuffleOperands | ResizeOperands | StoreOperands
)


class Writer:
    """Turns the operations of a schedule into records.

    `fills` says where in the packed weights something begins, and what of the parameters it is;
    `size` is how many floats there are.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.fills: list[tuple[int, Callable[[Params], Array]]] = []
        self.size = 0
        self.places = list(schedule.places)
        self.firsts: list[int] = []
        self.weights: list[float] = []

    def tables(self) -> Tables:
        """All operations in order, each with a row in the table of its kind."""
        steps, rows = [], dict[type[Any], list[Any]]()
        for op in self.schedule.operations:
            own = self._operands(op)
            kind = rows.setdefault(type(own), [])
            kind.append(own)
            step = Step(
                kind=op.kind,
                target=op.target,
                source=op.source,
                second=op.second,
                third=op.third,
                reach=op.reach,
                ratio=op.ratio,
                phase=op.phase,
                operands=len(kind) - 1,
            )
            steps.append(step)
        return Tables(
            program=table(Step, steps),
            convolutions=table(ConvolutionOperands, rows.get(ConvolutionOperands, [])),
            pointwise=table(PointwiseOperands, rows.get(PointwiseOperands, [])),
            shuffles=table(ShuffleOperands, rows.get(ShuffleOperands, [])),
            resizes=table(ResizeOperands, rows.get(ResizeOperands, [])),
            stores=table(StoreOperands, rows[StoreOperands]),
            places=table(Place, self.places),
            firsts=np.array(self.firsts, np.int64),
            weights=np.array(self.weights, np.float32),
        )

    def _operands(self, op: Operation) -> Operands | None:
        """What an operation has beyond its rows; None for those that need nothing."""
        work, tensors = op.work, self.schedule.tensors
        if isinstance(work, Convolving):
            return self._convolution(op, work)
        if isinstance(work, Applying):
            return self._pointwise(work.layer, tensors[op.target].channels)
        if isinstance(work, Shuffling):
            block, places = combined(tensors[op.source].channels, [(work.block, work.mode)])
            self.places += places
            return ShuffleOperands(block=block, places=len(self.places) - len(places))
        if isinstance(work, Enlarging):
            return self._resize(work)
        if op is self.schedule.operations[-1]:
            return StoreOperands(tensors[op.target].scale, self.schedule.block)
        return None

    def _convolution(self, op: Operation, work: Convolving) -> ConvolutionOperands:
        tensors, layer, size = self.schedule.tensors, work.layer, work.kernel_size
        features, split = tensors[op.target].channels, conv_parts(layer)
        outs = HOST.blocks(features // split)
        channels, blocks = tensors[op.source].channels // split, -(-features // outs)
        taps, every = blocks * outs * size * channels, round_up(features, OUTS)
        if op.kind == WINOGRAD:
            weight = self._reserve(
                taps * (size + GROUP - 1),
                lambda params: packed_points(dense(layer, params), outs),
            )
        else:
            weight = self._reserve(taps * size, lambda params: packed_weight(layer, params, outs))
        slope = bias = self._reserve(every, lambda params: bias_of(layer, params, features))
        if work.activation is not None:
            slope, _ = self._numbers(work.activation, features)
        return ConvolutionOperands(
            kernel_size=size,
            parts=split,
            channels=channels,
            blocks=blocks // split,
            outs=outs,
            weight=weight,
            bias=bias,
            slope=slope,
            epilogue=work.epilogue,
        )

    def _pointwise(self, layer: Layer, channels: int) -> PointwiseOperands:
        first, second = self._numbers(layer, channels)
        pointwise = pointwise_of(layer)
        assert pointwise is not None
        function = NUMBER[pointwise.function]
        return PointwiseOperands(function=function, first=first, second=second)

    def _numbers(self, layer: Layer, channels: int) -> tuple[int, int]:
        """Where both numbers of a function are, channel by channel."""
        every = round_up(channels, OUTS)
        first = self._reserve(2 * every, partial(_numbers, layer, every))
        return first, first + 4 * every

    def _resize(self, work: Enlarging) -> ResizeOperands:
        layer = work.layer
        found = enlargement(layer.upscale, layer.mode)
        self.firsts += found.firsts
        own = [weight for row in found.weights for weight in row]
        self.weights += own
        return ResizeOperands(
            taps=found.size,
            edge=MODES[layer.mode][2],
            buffer=work.buffer,
            firsts=len(self.firsts) - len(found.firsts),
            weights=len(self.weights) - len(own),
        )

    def _reserve(self, size: int, fill: Callable[[Params], Array]) -> int:
        """Byte offset of a new piece of the packed weights."""
        start = self.size
        self.fills.append((start, fill))
        self.size += round_up(size, 16)
        return 4 * start


def _numbers(layer: Layer, channels: int, params: Params) -> Array:
    return numbers_of(layer, params, channels)
