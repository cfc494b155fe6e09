"""Kernels of Winograd's algorithm: rows to points, products of points, products to rows.

What the points are, and the sums that lead there and back, is in `winograd_points`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from sesr_kernels.blocks.convolve import (
    AFTER,
    BEFORE,
    PRELU,
    RELU,
    Block,
    each_block,
    every_channel,
)
from sesr_kernels.blocks.pointwise import prelu, relu
from sesr_kernels.blocks.winograd_points import FINITE, GROUP, five, four_rows, three
from sesr_kernels.machine.emit import I64, VECTOR_BYTES, WORD, Emitter, Value, kernel

MOST_CHANNELS = 256
"""Of the inputs: more would not fit a chunk's scratch."""


def _spread(e: Emitter, **a: Value) -> None:
    """All rows of every channel (`rows` + `offset`, channels `plane` apart) to their points.

    A channel's points are `point_stride` bytes apart, two channels' `stride`.  Where there are
    slopes, an address that is not 0, rows are read through a PReLU with them.
    """

    def of(activated: bool) -> None:
        every = {taps: partial(_spread_taps, e, taps, activated, a) for taps in FINITE}
        e.switch(a["taps"], every)

    # two loops rather than one with a test: the reads are most of its work
    there = e.b.icmp_signed("!=", a["slopes"], I64(0))
    with e.b.if_else(there) as (then, otherwise):
        with then:
            of(activated=True)
        with otherwise:
            of(activated=False)


def _spread_taps(e: Emitter, taps: int, activated: bool, a: dict[str, Value]) -> None:
    count, transform = taps + GROUP - 1, {3: three, 5: five}[taps]

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
            # `prelu` but for 0, which stays whatever the slope: the padding is read as well
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

    # the register block of the direct convolution, at every point a row of products
    def of(taps: int) -> None:
        each_block(e, a["outs"], a["vectors"], partial(_multiply_block, e, taps, a))

    # unrolled over the taps of a row, as the direct convolution is over columns
    e.switch(a["taps"], {taps: partial(of, taps) for taps in FINITE})


def _multiply_block(e: Emitter, taps: int, a: dict[str, Value], block: Block) -> None:
    outs, vectors = block

    def point(_: Value, weight: Value, pixels: Value, target: Value) -> list[Value]:
        # the bias is added to the rows: at a point it would be multiplied
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

    e.repeat(I64(taps + GROUP - 1), [a["weight"], a["points"], a["products"]], point)


multiply = kernel(
    "taps outs vectors points point_stride channels stride weight products product_stride "
    "product_point_stride",
    _multiply,
)


def _gather(e: Emitter, **a: Value) -> None:
    """Products of channels, `stride` apart, to four rows each, with bias, sums and activation.

    A channel's products are `point_stride` bytes apart; rows are those of the tables of addresses
    plus an offset, two channels' `plane`, `before_plane` and `after_plane` apart.
    """
    e.switch(a["taps"], {taps: partial(_gather_taps, e, taps, a) for taps in FINITE})


def _gather_taps(e: Emitter, taps: int, a: dict[str, Value]) -> None:
    epilogue = a["epilogue"]

    def channel(c: Value, product: Value) -> list[Value]:
        def rows(table: str, offset: str, plane: str) -> list[Value]:
            here = e.b.add(a[offset], e.b.mul(a[plane], c))
            return [e.b.add(e.integer(a[table], I64(i)), here) for i in range(GROUP)]

        products = [
            e.b.add(product, e.b.mul(a["point_stride"], I64(i))) for i in range(taps + GROUP - 1)
        ]
        targets = rows("targets", "offset", "plane")
        befores = rows("befores", "before_offset", "before_plane")
        afters = rows("afters", "after_offset", "after_plane")
        bias, slope = (
            e.splat(e.scalar(e.b.add(a[name], e.b.mul(c, I64(WORD))))) for name in ("bias", "slope")
        )

        def step(i: Value) -> list[Value]:
            here = e.b.mul(i, I64(VECTOR_BYTES))

            def plus(values: list[Value], others: list[Value]) -> list[Value]:
                loaded = [e.load(e.b.add(other, here)) for other in others]
                return [e.b.fadd(v, o) for v, o in zip(values, loaded, strict=True)]

            def when(flag: int, change: Callable[[], list[Value]]) -> list[Value]:
                return e.choose(e.has(epilogue, flag), values, change)

            # the epilogue of the direct convolution, in its order
            values = four_rows(e, [e.load(e.b.add(p, here)) for p in products], bias)
            values = when(BEFORE, lambda: plus(values, befores))
            values = when(PRELU, lambda: [prelu(e, v, slope) for v in values])
            values = when(RELU, lambda: [relu(e, v) for v in values])
            values = when(AFTER, lambda: plus(values, afters))
            for value, target in zip(values, targets, strict=True):
                e.store(value, e.b.add(target, here))
            return []

        e.repeat(a["count"], [], step)
        return [e.b.add(product, a["stride"])]

    e.repeat(a["channels"], [a["products"]], channel)


gather = kernel(
    "taps products stride point_stride count channels bias slope targets offset plane "
    "befores before_offset before_plane afters after_offset after_plane epilogue",
    _gather,
)
