"""From a schedule of integer operations to the tables that the compiled half reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sesr_kernels.blocks.convolve import WIDTHS
from sesr_kernels.blocks.narrow import HIGH, KINDS, LOW, NUMBERS, ZERO
from sesr_kernels.blocks.products import CHANNELS
from sesr_kernels.blocks.scalings import SCALING_WORDS
from sesr_kernels.blocks.word_rows import (
    ADDITION_KINDS,
    ADDITION_WORDS,
    ADDITION_ZEROS,
    FIRST,
    LAST,
    SECOND,
)
from sesr_kernels.description.integers import Array, Grid, byte_of
from sesr_kernels.description.layers import Unsupported
from sesr_kernels.description.packing import round_up
from sesr_kernels.description.shuffles import Place, combined
from sesr_kernels.inference.schedule import Operation, Shuffling
from sesr_kernels.integers.lowering import Adding, Looking, Lowering, Multiplying, Storing, Taking
from sesr_kernels.integers.numbers import Numbers, always_shifted, folded, numbers_of, scaling_words
from sesr_kernels.integers.operands import (
    LookupOperands,
    PartOperands,
    ProductsOperands,
    ShuffleOperands,
    Step,
    StoreOperands,
    SumOperands,
    Tables,
)
from sesr_kernels.integers.weights import (
    CODES,
    beside,
    dense,
    largest_sum,
    packed,
    parts_of,
    per_phase,
    starts,
)
from sesr_kernels.machine.compiled import aligned
from sesr_kernels.machine.host import HOST
from sesr_kernels.machine.records import table

LINE = 16
"""Words of a cache line: where each piece of the constants begins."""


class Writer:
    """Turns the operations of a schedule into records and one array of constants."""

    def __init__(self, lowering: Lowering) -> None:
        self.lowering, self.schedule = lowering, lowering.schedule
        self.places: list[Place] = []
        self.outputs: list[str] = []
        self.pieces: list[Array] = []
        self.size = 0

    def tables(self) -> Tables:
        """All operations in order, each with a row in the table of its kind."""
        steps, rows = list[Step](), dict[type[Any], list[Any]]()
        for op in self.schedule.operations:
            own = OPERANDS[type(op.work)](self, op, op.work)
            kind = rows.setdefault(type(own), [])
            kind.append(own)
            steps.append(
                Step(
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
            )
        fills = [byte * 0x01010101 for byte in self.lowering.zeros]
        return Tables(
            program=table(Step, steps),
            products=table(ProductsOperands, rows.get(ProductsOperands, [])),
            lookups=table(LookupOperands, rows.get(LookupOperands, [])),
            sums=table(SumOperands, rows.get(SumOperands, [])),
            parts=table(PartOperands, rows.get(PartOperands, [])),
            shuffles=table(ShuffleOperands, rows.get(ShuffleOperands, [])),
            stores=table(StoreOperands, rows[StoreOperands]),
            places=table(Place, self.places),
            fills=np.array(fills, np.uint32).view(np.int32),
        )

    def constants(self) -> Array:
        """Weights, numbers and tables, as words."""
        result = aligned(self.size).view(np.int32)
        if self.pieces:
            result[:] = np.concatenate(self.pieces)
        return result

    def keep(self, piece: Array) -> int:
        """Byte offset of a new piece of the constants."""
        words = piece.reshape(-1).view(np.int32)
        start = self.size
        self.pieces.append(np.pad(words, (0, -len(words) % LINE)))
        self.size += round_up(len(words), LINE)
        return 4 * start

    def keep_codes(self, codes: Array) -> tuple[int, int]:
        """Where tables begin, and how far one is from the next."""
        every = np.ascontiguousarray(codes.T).view(np.uint8) ^ np.uint8(128)
        if len(every) == 1:
            return self.keep(every), 0
        missing = -len(every) % max(HOST.outs, CHANNELS)
        return self.keep(np.pad(every, ((0, missing), (0, 0)))), every.shape[1]

    def keep_places(self, found: list[Place]) -> int:
        """Row of the first of some places."""
        self.places += found
        return len(self.places) - len(found)


def limits(grid: Grid, numbers: Array) -> Array:
    """Numbers of groups of channels with the ends of what they make."""
    result = np.zeros((len(numbers), NUMBERS), np.int32)
    result[:, :SCALING_WORDS] = numbers
    low, high = ((end + 128) * 0x01010101 & 0xFFFFFFFF for end in (grid.low, grid.high))
    for place, word in ((ZERO, byte_of(grid) * 0x00010001), (LOW, low), (HIGH, high)):
        result[:, place] = np.array(word, np.uint32).view(np.int32)
    return result


def _products(w: Writer, op: Operation, work: Multiplying) -> ProductsOperands:
    tensors, given = w.schedule.tensors, work.given
    features, split = tensors[op.target].channels, parts_of(given)
    weight, outs = dense(work), HOST.blocks(tensors[op.target].channels // split)
    bound = largest_sum(work, weight)
    bias = w.keep(starts(work, weight))
    scaling = given.scaling
    own = numbers_of(scaling, bound)
    if own.kind == "times":
        own = always_shifted(own, scaling.rounding)
    every = (np.broadcast_to(values, (len(given.bias),)) for values in own[1:])
    numbers = Numbers(own.kind, *(per_phase(given, values, features) for values in every))
    groups = round_up(features, outs) // CHANNELS
    of_channels = limits(work.target, scaling_words(numbers, features))
    of_groups = np.pad(of_channels, ((0, groups - len(of_channels)), (0, 0)), mode="edge")
    one = op.source == 0 and tensors[0].channels == 1
    weight = beside(weight) if one else weight
    height, width = weight.shape[:2]
    if width > max(WIDTHS):
        height, width = height * width, 1
    tables, stride = (-1, 0) if work.codes is None else w.keep_codes(work.codes)
    return ProductsOperands(
        height=height,
        width=width,
        before=work.side // 2,
        beside=int(one),
        parts=split,
        groups=-(-weight.shape[2] // CHANNELS),
        blocks=-(-features // split // outs),
        outs=outs,
        weight=w.keep(packed(weight, outs)),
        bias=bias,
        numbers=w.keep(of_groups),
        scaling=KINDS[own.kind],
        tables=tables,
        stride=stride,
    )


def _lookup(w: Writer, op: Operation, work: Looking) -> LookupOperands:
    return LookupOperands(*w.keep_codes(work.codes))


def _sum(w: Writer, op: Operation, work: Adding) -> SumOperands:
    tensors, addition = w.schedule.tensors, work.given.addition
    channels = tensors[op.target].channels
    one = tensors[op.second].channels == 1 < channels
    parts = [numbers_of(part, CODES, addition.headroom) for part in addition.parts]
    largest = 0.0
    for part, numbers in zip(addition.parts, parts, strict=True):
        if one and numbers is parts[1] and len(numbers.factor) > 1:
            raise Unsupported("scales of channels that are one")
        largest += CODES * 2.0**addition.headroom * _factor(part).max() + 1
    last = numbers_of(addition.last, largest)
    if last.kind == "times":
        last = always_shifted(last, addition.last.rounding)
    last = folded(last, parts, [byte_of(grid) for grid in work.sources])
    pair = (parts[0].kind, last.kind)
    if pair not in ADDITION_KINDS or parts[1].kind != parts[0].kind:
        raise Unsupported(f"sums by {parts[0].kind}, {parts[1].kind} and {last.kind}")
    groups = -(-channels // CHANNELS)
    words = np.zeros((groups, ADDITION_WORDS), np.int32)
    words[:, LAST : LAST + NUMBERS] = limits(work.target, scaling_words(last, channels))
    for place, numbers in zip((FIRST, SECOND), parts, strict=True):
        words[:, place : place + SCALING_WORDS] = scaling_words(numbers, channels)
    words[:, ADDITION_ZEROS:] = [byte_of(grid) for grid in work.sources]
    return SumOperands(kind=ADDITION_KINDS[pair], numbers=w.keep(words), one=int(one))


def _factor(scaling: Any) -> Array:
    """The real numbers that a scaling stands for."""
    multiplier = np.atleast_1d(np.asarray(scaling.multiplier, np.float64))
    if scaling.rounding in ("once", "twice", "twice-up"):
        return multiplier * 2.0 ** (np.asarray(scaling.shift) - 31)
    if scaling.rounding == "once-16":
        return multiplier * 2.0 ** (np.asarray(scaling.shift) - 16)
    return multiplier


def _part(w: Writer, op: Operation, work: Taking) -> PartOperands:
    return PartOperands(work.start)


def _shuffle(w: Writer, op: Operation, work: Shuffling) -> ShuffleOperands:
    channels = w.schedule.tensors[op.source].channels
    block, places = combined(channels, [(work.block, work.mode)])
    return ShuffleOperands(block=block, places=w.keep_places(places))


def _store(w: Writer, op: Operation, work: Storing) -> StoreOperands:
    w.outputs.append(work.name)
    return StoreOperands(
        number=len(w.outputs) - 1,
        scale=w.schedule.tensors[op.target].scale,
        block=work.block,
        places=w.keep_places(work.places),
        channels=work.channels,
    )


def _nothing(w: Writer, op: Operation, work: None) -> None:
    return None


OPERANDS: dict[type[Any], Callable[[Writer, Operation, Any], Any]] = {
    Multiplying: _products,
    Looking: _lookup,
    Adding: _sum,
    Taking: _part,
    Shuffling: _shuffle,
    Storing: _store,
    type(None): _nothing,
}
"""What an operation has beyond its rows."""
