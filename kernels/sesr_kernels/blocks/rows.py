"""Kernels over rows of pixels: weight gradients, sums of tensors, sums of lanes.

Gradients stay in vectors of partial sums, lane by lane, until `reduce_lanes` adds the lanes up;
their order depends on the images' size and number alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from sesr_kernels.blocks.convolve import OUTS, THIN
from sesr_kernels.machine.emit import I64, VECTOR_BYTES, WORD, Emitter, Value, kernel

COLUMNS = 3
"""Shifted inputs of one block of a weight gradient, which has `outs` x COLUMNS accumulators."""


def _correlate(e: Emitter, **a: Value) -> None:
    """Add ``dy[o] * x[j]`` to the partial sums, over rows of `count` vectors of pixels."""
    # the sums are registers: their number is fixed where code is emitted
    e.switch(a["outs"], {outs: partial(_correlate_block, e, outs, a) for outs in {OUTS, THIN}})


def _correlate_block(e: Emitter, outs: int, a: dict[str, Value]) -> None:
    inputs = [e.b.add(a["x"], e.integer(a["shifts"], I64(j))) for j in range(COLUMNS)]
    outputs = [e.b.add(a["dy"], e.b.mul(a["stride"], I64(i))) for i in range(outs)]
    # loaded once for all rows and stored once: in between they never leave the registers
    start = [e.load(a["sums"], VECTOR_BYTES * i) for i in range(outs * COLUMNS)]

    def row(r: Value, *sums: Value) -> list[Value]:
        x_row, dy_row = e.b.mul(r, a["x_pitch"]), e.b.mul(r, a["dy_pitch"])

        def step(i: Value, *sums: Value) -> list[Value]:
            offset = e.b.mul(i, I64(VECTOR_BYTES))
            x_here, dy_here = e.b.add(x_row, offset), e.b.add(dy_row, offset)
            xs = [e.load(e.b.add(address, x_here)) for address in inputs]
            result = []
            # each gradient is loaded once and used for all shifts
            for out, address in enumerate(outputs):
                dy = e.load(e.b.add(address, dy_here))
                for column in range(COLUMNS):
                    result.append(e.fma(dy, xs[column], sums[out * COLUMNS + column]))
            return result

        return e.repeat(a["count"], sums, step)

    for i, total in enumerate(e.repeat(a["rows"], start, row)):
        e.store(total, a["sums"], VECTOR_BYTES * i)


correlate = kernel("outs dy stride dy_pitch x x_pitch shifts rows count sums", _correlate)


def _reduce_lanes(e: Emitter, **a: Value) -> None:
    """``target[i] = sum of the lanes of sums[i]`` for `count` vectors."""

    def step(_: Value, vector: Value, target: Value) -> Sequence[Value]:
        e.put(e.total(e.load(vector)), target)
        return [e.at(vector, VECTOR_BYTES), e.at(target, WORD)]

    e.repeat(a["count"], [a["sums"], a["target"]], step)


reduce_lanes = kernel("sums target count", _reduce_lanes)


def _add(e: Emitter, **a: Value) -> None:
    """``y = x + other``."""

    def step(i: Value) -> list[Value]:
        offset = e.b.mul(i, I64(VECTOR_BYTES))
        total = e.b.fadd(e.load(e.b.add(a["x"], offset)), e.load(e.b.add(a["other"], offset)))
        e.store(total, e.b.add(a["y"], offset))
        return []

    e.repeat(a["count"], [], step)


add = kernel("x other count y", _add)
