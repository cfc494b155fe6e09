"""Winograd's algorithm along the vertical: four rows at once, F(4, 3) and F(4, 5).

Only rows are transformed, so the transforms are plain sums of rows and every tap along the width
stays a tap.  For each output column F(4, 3) takes 18 products instead of 36, F(4, 5) 40 instead
of 100.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016), section 4.1; the
points are 0, 1, -1, 2, -2, for five taps 1/2 and -1/2 as well, and infinity.
"""

from __future__ import annotations

import math
from functools import cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_kernels.blocks.convolve import (
    AFTER,
    BEFORE,
    PRELU,
    RELU,
    Block,
    each_block,
    every_channel,
)
from sesr_kernels.description.packing import pack
from sesr_kernels.machine.emit import I64, LANES, VECTOR_BYTES, WORD, Emitter, Value, kernel

Array = npt.NDArray[Any]

ROWS, POINTS = 4, 6
"""Rows of a group, which starts at a multiple of it; its products with three taps, tap by tap."""
MOST_POINTS = 8
MOST_CHANNELS = 256
"""Of the inputs: more would not fit a chunk's scratch."""
FINITE: dict[int, tuple[float, ...]] = {3: (0, 1, -1, 2, -2), 5: (0, 1, -1, 2, -2, 1 / 2, -1 / 2)}
"""Taps: the points but infinity.  With halves instead of larger numbers F(4, 5) keeps the error of
F(4, 3), about twice that of the direct sum."""
FARTHER = -(-(max(FINITE) - 1) // LANES)
"""Vectors that the taps of the last pixels reach to the right."""


@cache
def weight_transform(taps: int) -> Array:
    """(products, taps): the weights' polynomial at every point, over its Lagrange denominator."""
    points = FINITE[taps]
    rows = [
        [a**j / math.prod(a - other for other in points if other != a) for j in range(taps)]
        for a in points
    ]
    return np.array([*rows, [0.0] * (taps - 1) + [1.0]])


def packed_points(weight: Array, outs: int) -> Array:
    """(k, k, in, out) to (groups, products, in, k, outs)."""
    transform = weight_transform(len(weight))
    return pack(np.einsum("pi,ijco->pjco", transform, weight.astype(np.float64)), outs)


def _three(e: Emitter, d: list[Value]) -> list[Value]:
    """Six rows to the six points of F(4, 3)."""
    two, four, five = e.constant(2.0), e.constant(4.0), e.constant(-5.0)
    minus_two, minus_four = e.constant(-2.0), e.constant(-4.0)
    even, odd = e.fma(d[2], minus_four, d[4]), e.fma(d[1], minus_four, d[3])
    wide, tall = e.b.fsub(d[4], d[2]), e.b.fsub(d[3], d[1])
    return [
        e.fma(d[0], four, e.fma(d[2], five, d[4])),
        e.b.fadd(even, odd),
        e.b.fsub(even, odd),
        e.fma(tall, two, wide),
        e.fma(tall, minus_two, wide),
        e.fma(d[1], four, e.fma(d[3], five, d[5])),
    ]


def _five(e: Emitter, d: list[Value]) -> list[Value]:
    """Eight rows to the eight points of F(4, 5): polynomials with the other points as roots."""

    def polynomial(first: int, low: float, middle: float) -> Value:
        inner = e.fma(d[first + 2], e.constant(middle), d[first + 4])
        return e.b.fadd(inner, d[first]) if low == 1 else e.fma(d[first], e.constant(low), inner)

    def end(first: int) -> Value:
        near = e.b.fsub(d[first + 2], d[first + 4])
        return e.fma(near, e.constant(21 / 4), e.b.fsub(d[first + 6], d[first]))

    points = [end(0)]
    for point, low, middle in ((1.0, 1.0, -17 / 4), (2.0, 1 / 4, -5 / 4), (0.5, 4.0, -5.0)):
        even, odd = polynomial(2, low, middle), polynomial(1, low, middle)
        if point == 1:
            points += [e.b.fadd(even, odd), e.b.fsub(even, odd)]
        else:
            points += [e.fma(odd, e.constant(s * point), even) for s in (1, -1)]
    return [*points, end(1)]


def _spread(e: Emitter, **a: Value) -> None:
    """All rows of every channel (`rows` + `offset`, channels `plane` apart) to their points.

    A channel's points are `point_stride` bytes apart, two channels' `stride`.  Where there are
    slopes, an address that is not 0, rows are read through a PReLU with them.
    """

    def of(activated: bool) -> None:
        every = {taps: partial(_spread_taps, e, taps, activated, a) for taps in FINITE}
        e.switch(a["taps"], every)

    there = e.b.icmp_signed("!=", a["slopes"], I64(0))
    with e.b.if_else(there) as (then, otherwise):
        with then:
            of(activated=True)
        with otherwise:
            of(activated=False)


def _spread_taps(e: Emitter, taps: int, activated: bool, a: dict[str, Value]) -> None:
    count, transform = taps + ROWS - 1, {3: _three, 5: _five}[taps]

    def channel(c: Value, offset: Value, target: Value) -> list[Value]:
        rows = [e.b.add(e.integer(a["rows"], I64(i)), offset) for i in range(count)]
        targets = [e.b.add(target, e.b.mul(a["point_stride"], I64(i))) for i in range(count)]
        zero = e.constant(0.0)
        if activated:
            place = e.b.add(a["slopes"], e.b.mul(c, I64(WORD)))
            slope = e.splat(e.scalar(place))

        def read(address: Value) -> Value:
            x = e.load(address)
            if not activated:
                return x
            # 0 stays, whatever the slope: the padding
            return e.b.select(e.b.fcmp_unordered("<", x, zero), e.b.fmul(x, slope), x)

        def step(i: Value) -> list[Value]:
            here = e.b.mul(i, I64(VECTOR_BYTES))
            points = transform(e, [read(e.b.add(row, here)) for row in rows])
            for point, there in zip(points, targets, strict=True):
                e.store(point, e.b.add(there, here))
            return []

        e.repeat(a["count"], [], step)
        return [e.b.add(offset, a["plane"]), e.b.add(target, a["stride"])]

    e.repeat(a["channels"], [a["offset"], a["target"]], channel)


spread = kernel("taps rows offset plane channels target stride point_stride count slopes", _spread)


def _multiply(e: Emitter, **a: Value) -> None:
    """Products of one block: each point's inputs and taps summed, in this order.

    Two channels' points are `stride` bytes apart, a channel's `point_stride`; likewise products.
    """

    def of(taps: int) -> None:
        each_block(e, a["outs"], a["vectors"], partial(_multiply_block, e, taps, a))

    e.switch(a["taps"], {taps: partial(of, taps) for taps in FINITE})


def _multiply_block(e: Emitter, taps: int, a: dict[str, Value], block: Block) -> None:
    outs, vectors = block

    def point(_: Value, weight: Value, pixels: Value, target: Value) -> list[Value]:
        zeros = [e.constant(0.0)] * (outs * vectors)
        weight, *sums = every_channel(e, taps, block, a, weight, pixels, zeros)
        for i, total in enumerate(sums):
            there = e.b.add(target, e.b.mul(a["product_stride"], I64(i // vectors)))
            e.store(total, there, VECTOR_BYTES * (i % vectors))
        return [
            weight,
            e.b.add(pixels, a["point_stride"]),
            e.b.add(target, a["product_point_stride"]),
        ]

    e.repeat(I64(taps + ROWS - 1), [a["weight"], a["points"], a["products"]], point)


multiply = kernel(
    "taps outs vectors points point_stride channels stride weight products product_stride "
    "product_point_stride",
    _multiply,
)


def four_rows(e: Emitter, m: list[Value], bias: Value) -> list[Value]:
    """Products to rows: row i is the sum of every point's, times the point to the power of i."""
    near, far = e.b.fadd(m[1], m[2]), e.b.fadd(m[3], m[4])
    near_odd, far_odd = e.b.fsub(m[1], m[2]), e.b.fsub(m[3], m[4])
    near, near_odd = e.b.fadd(near, bias), e.b.fadd(near_odd, bias)
    two, four, eight = (e.constant(power) for power in (2.0, 4.0, 8.0))
    values = [
        e.b.fadd(e.b.fadd(m[0], near), far),
        e.fma(far_odd, two, near_odd),
        e.fma(far, four, near),
        e.b.fadd(e.fma(far_odd, eight, near_odd), m[-1]),
    ]
    if len(m) > POINTS:  # those of 1/2 and -1/2
        even, odd = e.b.fadd(m[5], m[6]), e.b.fsub(m[5], m[6])
        values = [
            e.fma(odd if i % 2 else even, e.constant(0.5**i), value)
            for i, value in enumerate(values)
        ]
    return values


def _gather(e: Emitter, **a: Value) -> None:
    """Products of channels, `stride` apart, to four rows each, with bias, sums and activation.

    A channel's products are `point_stride` bytes apart; rows are those of the tables of addresses
    plus an offset, two channels' `plane`, `before_plane` and `after_plane` apart.
    """
    e.switch(a["taps"], {taps: partial(_gather_taps, e, taps, a) for taps in FINITE})


def _gather_taps(e: Emitter, taps: int, a: dict[str, Value]) -> None:
    zero, flags = e.constant(0.0), a["flags"]

    def channel(c: Value, product: Value) -> list[Value]:
        def rows(table: str, offset: str, plane: str) -> list[Value]:
            here = e.b.add(a[offset], e.b.mul(a[plane], c))
            return [e.b.add(e.integer(a[table], I64(i)), here) for i in range(ROWS)]

        products = [
            e.b.add(product, e.b.mul(a["point_stride"], I64(i))) for i in range(taps + ROWS - 1)
        ]
        targets = rows("targets", "offset", "plane")
        befores = rows("befores", "before_offset", "before_plane")
        afters = rows("afters", "after_offset", "after_plane")
        bias, slope = (
            e.splat(e.scalar(e.b.add(a[name], e.b.mul(c, I64(WORD))))) for name in ("bias", "slope")
        )

        def prelu(values: list[Value]) -> list[Value]:
            return [
                e.b.select(e.b.fcmp_ordered(">", v, zero), v, e.b.fmul(v, slope)) for v in values
            ]

        def relu(values: list[Value]) -> list[Value]:
            return [e.b.select(e.b.fcmp_ordered("<", v, zero), zero, v) for v in values]

        def step(i: Value) -> list[Value]:
            here = e.b.mul(i, I64(VECTOR_BYTES))

            def plus(values: list[Value], others: list[Value]) -> list[Value]:
                loaded = [e.load(e.b.add(other, here)) for other in others]
                return [e.b.fadd(v, o) for v, o in zip(values, loaded, strict=True)]

            values = four_rows(e, [e.load(e.b.add(p, here)) for p in products], bias)
            values = e.choose(e.has(flags, BEFORE), values, lambda: plus(values, befores))
            values = e.choose(e.has(flags, PRELU), values, lambda: prelu(values))
            values = e.choose(e.has(flags, RELU), values, lambda: relu(values))
            values = e.choose(e.has(flags, AFTER), values, lambda: plus(values, afters))
            for value, target in zip(values, targets, strict=True):
                e.store(value, e.b.add(target, here))
            return []

        e.repeat(a["count"], [], step)
        return [e.b.add(product, a["stride"])]

    e.repeat(a["channels"], [a["products"]], channel)


gather = kernel(
    "taps products stride point_stride count channels bias slope targets offset plane "
    "befores before_offset before_plane afters after_offset after_plane flags",
    _gather,
)
