"""Winograd's F(4, 3) along the vertical: four rows of a 3 x 3 convolution from six products each.

Only rows are transformed, so the transforms are plain sums of rows and every tap along the width
stays a tap.  18 products for each output column instead of 36.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016), section 4.1; the
points are 0, 1, -1, 2, -2 and infinity.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_kernels.convolve import AFTER, BEFORE, OUTS, PRELU, RELU, VECTORS, tap
from sesr_kernels.emit import I64, VECTOR_BYTES, WORD, Emitter, Value, kernel
from sesr_kernels.packing import pack

Array = npt.NDArray[Any]

ROWS, POINTS, TAPS = 4, 6, 3
"""Rows of a group, which starts at a multiple of it; products for each; taps of each product."""

WEIGHT = np.array(
    [[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6],
     [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]]
)  # fmt: skip


def packed_points(weight: Array) -> Array:
    """(3, 3, in, out) to (groups, products, in, 3, OUTS)."""
    points = np.einsum("pi,ijco->pjco", WEIGHT, weight.astype(np.float64))
    return np.stack([pack(point[None]) for point in points], axis=1)


def _spread(e: Emitter, **a: Value) -> None:
    """Six rows of one channel (`rows` + `offset`) to its six points, `stride` bytes apart."""
    rows = [e.b.add(e.integer(a["rows"], I64(i)), a["offset"]) for i in range(POINTS)]
    targets = [e.b.add(a["target"], e.b.mul(a["stride"], I64(i))) for i in range(POINTS)]
    two, four, five = e.constant(2.0), e.constant(4.0), e.constant(-5.0)
    minus_two, minus_four = e.constant(-2.0), e.constant(-4.0)

    def step(i: Value) -> list[Value]:
        offset = e.b.mul(i, I64(VECTOR_BYTES))
        d = [e.load(e.b.add(row, offset)) for row in rows]
        even, odd = e.fma(d[2], minus_four, d[4]), e.fma(d[1], minus_four, d[3])
        wide, tall = e.b.fsub(d[4], d[2]), e.b.fsub(d[3], d[1])
        points = [
            e.fma(d[0], four, e.fma(d[2], five, d[4])),
            e.b.fadd(even, odd),
            e.b.fsub(even, odd),
            e.fma(tall, two, wide),
            e.fma(tall, minus_two, wide),
            e.fma(d[1], four, e.fma(d[3], five, d[5])),
        ]
        for point, target in zip(points, targets, strict=True):
            e.store(point, e.b.add(target, offset))
        return []

    e.repeat(a["count"], [], step)


spread = kernel("rows offset target stride count", _spread)


def _multiply(e: Emitter, **a: Value) -> None:
    """Products of one tile and OUTS outputs: each point's inputs and taps summed, in this order."""
    zero = e.constant(0.0)

    def channel(_: Value, weight: Value, pixels: Value, *sums: Value) -> list[Value]:
        result = list(sums)
        for column in range(TAPS):
            result = tap(e, result, pixels, weight, column)
        return [e.at(weight, WORD * OUTS * TAPS), e.b.add(pixels, a["stride"]), *result]

    def point(_: Value, weight: Value, pixels: Value, target: Value) -> list[Value]:
        start = [weight, pixels, *[zero] * (OUTS * VECTORS)]
        weight, _pixels, *sums = e.repeat(a["channels"], start, channel)
        for i, total in enumerate(sums):
            e.store(total, target, VECTOR_BYTES * i)
        following = e.b.add(pixels, a["point_stride"])
        return [weight, following, e.at(target, VECTOR_BYTES * OUTS * VECTORS)]

    e.repeat(I64(POINTS), [a["weight"], a["points"], a["products"]], point)


multiply = kernel("points point_stride channels stride weight products", _multiply)


def _gather(e: Emitter, **a: Value) -> None:
    """Six products of one channel to its four rows, with bias, sums and activation."""
    products = [e.b.add(a["products"], e.b.mul(a["stride"], I64(i))) for i in range(POINTS)]

    def rows(table: str, offset: str) -> list[Value]:
        return [e.b.add(e.integer(a[table], I64(i)), a[offset]) for i in range(ROWS)]

    targets = rows("targets", "offset")
    befores, afters = rows("befores", "before_offset"), rows("afters", "after_offset")
    bias, slope = e.splat(e.scalar(a["bias"])), e.splat(e.scalar(a["slope"]))
    zero, two, four, eight = (e.constant(c) for c in (0.0, 2.0, 4.0, 8.0))
    flags = a["flags"]

    def prelu(values: list[Value]) -> list[Value]:
        return [e.b.select(e.b.fcmp_ordered(">", v, zero), v, e.b.fmul(v, slope)) for v in values]

    def relu(values: list[Value]) -> list[Value]:
        return [e.b.select(e.b.fcmp_ordered("<", v, zero), zero, v) for v in values]

    def step(i: Value) -> list[Value]:
        offset = e.b.mul(i, I64(VECTOR_BYTES))

        def plus(values: list[Value], others: list[Value]) -> list[Value]:
            loaded = [e.load(e.b.add(other, offset)) for other in others]
            return [e.b.fadd(v, o) for v, o in zip(values, loaded, strict=True)]

        m = [e.load(e.b.add(product, offset)) for product in products]
        near, far = e.b.fadd(m[1], m[2]), e.b.fadd(m[3], m[4])
        near_odd, far_odd = e.b.fsub(m[1], m[2]), e.b.fsub(m[3], m[4])
        near, near_odd = e.b.fadd(near, bias), e.b.fadd(near_odd, bias)
        values = [
            e.b.fadd(e.b.fadd(m[0], near), far),
            e.fma(far_odd, two, near_odd),
            e.fma(far, four, near),
            e.b.fadd(e.fma(far_odd, eight, near_odd), m[5]),
        ]
        values = e.choose(e.has(flags, BEFORE), values, lambda: plus(values, befores))
        values = e.choose(e.has(flags, PRELU), values, lambda: prelu(values))
        values = e.choose(e.has(flags, RELU), values, lambda: relu(values))
        values = e.choose(e.has(flags, AFTER), values, lambda: plus(values, afters))
        for value, target in zip(values, targets, strict=True):
            e.store(value, e.b.add(target, offset))
        return []

    e.repeat(a["count"], [], step)


gather = kernel(
    "products stride count bias slope targets offset befores before_offset afters after_offset "
    "flags",
    _gather,
)
