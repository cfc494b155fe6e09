"""Winograd's F(4, 3) and F(4, 5) over planes, as training uses them: kernels over rows of pixels.

Both gradients take the points of the forward pass.  With ``y = A' [(G w) * (B' x)]`` the weight's
gradient is ``G' [(A y) * (B' x)]`` summed over the groups of rows: `dual` is ``A``, `untransform`
is ``G'``.  The forward pass's own kernels are in `winograd`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sesr_kernels.blocks.convolve import AFTER, KEEP, PRELU, RELU
from sesr_kernels.blocks.rows import COLUMNS
from sesr_kernels.blocks.winograd import FINITE, ROWS, four_rows, weight_transform
from sesr_kernels.machine.emit import F32, I64, LANES, VECTOR, VECTOR_BYTES, Emitter, Value, kernel

ACTIVATED = 32
"""Flag of `assemble`: then the gradient of an activation whose input's rows are `seen`."""


def _dual(taps: int) -> Callable[..., Any]:
    """Four rows `pitch` bytes apart, as polynomials at the points, `stride` bytes apart."""

    def body(e: Emitter, **a: Value) -> None:
        rows = [e.b.add(a["rows"], e.b.mul(a["pitch"], I64(i))) for i in range(ROWS)]

        def pair(d: list[Value], point: float) -> list[Value]:
            even = e.fma(d[2], e.constant(point**2), d[0])
            odd = e.b.fmul(e.fma(d[3], e.constant(point**2), d[1]), e.constant(point))
            return [e.b.fadd(even, odd), e.b.fsub(even, odd)]

        def step(i: Value) -> list[Value]:
            offset = e.b.mul(i, I64(VECTOR_BYTES))
            d = [e.load(e.b.add(row, offset)) for row in rows]
            points = [v for point in FINITE[taps][1::2] for v in pair(d, point)]
            for p, value in enumerate([d[0], *points, d[3]]):
                e.store(value, e.b.add(e.b.add(a["target"], e.b.mul(a["stride"], I64(p))), offset))
            return []

        e.repeat(a["count"], [], step)

    return kernel("rows pitch target stride count", body)


def _untransform(taps: int) -> Callable[..., Any]:
    """Add one tap's column of sums, from all points, to those of the taps above each other."""
    # a column is `count` vectors, COLUMNS vectors apart; `targets` is a table of addresses
    transform = weight_transform(taps)

    def body(e: Emitter, **a: Value) -> None:
        points = range(len(transform))
        sources = [e.b.add(a["sums"], e.b.mul(a["stride"], I64(p))) for p in points]
        targets = [e.integer(a["targets"], I64(i)) for i in range(taps)]

        def step(r: Value) -> list[Value]:
            offset = e.b.mul(r, I64(VECTOR_BYTES * COLUMNS))
            points = [e.load(e.b.add(source, offset)) for source in sources]
            for i, target in enumerate(targets):
                total = e.load(e.b.add(target, offset))
                for point, factor in zip(points, transform[:, i], strict=True):
                    if factor:
                        total = e.fma(point, e.constant(float(factor)), total)
                e.store(total, e.b.add(target, offset))
            return []

        e.repeat(a["count"], [], step)

    return kernel("sums stride targets count", body)


def _zero(e: Emitter, **a: Value) -> None:
    """Zero `count` vectors."""

    def step(i: Value) -> list[Value]:
        e.store(e.constant(0.0), e.b.add(a["target"], e.b.mul(i, I64(VECTOR_BYTES))))
        return []

    e.repeat(a["count"], [], step)


zero = kernel("target count", _zero)


def _assemble(e: Emitter, taps: int, **a: Value) -> None:
    """Products of one channel to its four rows; writes `width` columns and nothing else.

    In this order: bias, store of what the activation sees (KEEP), activation, sum with `after`
    (AFTER), gradient of an activation (ACTIVATED) with its slope's partial sums.
    """
    sources = [e.b.add(a["products"], e.b.mul(a["stride"], I64(i))) for i in range(taps + ROWS - 1)]

    def rows(name: str) -> list[Value]:
        return [e.b.add(a[name], e.b.mul(a["pitch"], I64(i))) for i in range(ROWS)]

    targets, kept, seen, after = rows("target"), rows("kept"), rows("seen"), rows("after")
    bias, slope = e.splat(e.scalar(a["bias"])), e.splat(e.scalar(a["slope"]))
    zero, flags = e.constant(0.0), a["flags"]

    def scaled(value: Value, where: Value) -> Value:
        return e.b.select(e.b.fcmp_ordered(">", where, zero), value, e.b.fmul(value, slope))

    def vectors(i: Value, mask: Value | None = None) -> list[Value]:
        offset = e.b.mul(i, I64(VECTOR_BYTES))

        def there(places: list[Value]) -> list[Value]:
            return [e.load(e.b.add(place, offset)) for place in places]

        def put(values: list[Value], places: list[Value]) -> None:
            if mask is not None:
                old = there(places)
                values = [e.b.select(mask, v, o) for v, o in zip(values, old, strict=True)]
            for value, place in zip(values, places, strict=True):
                e.store(value, e.b.add(place, offset))

        def keep() -> list[Value]:
            put(values, kept)
            return values

        def backward() -> list[Value]:
            z, total = there(seen), e.load(a["sums"])
            for v, s in zip(values, z, strict=True):
                part = e.b.fmul(v, e.b.select(e.b.fcmp_ordered(">", s, zero), zero, s))
                total = e.b.fadd(total, e.b.select(mask, part, zero) if mask is not None else part)
            e.store(total, a["sums"])
            return [scaled(v, s) for v, s in zip(values, z, strict=True)]

        values = four_rows(e, there(sources), bias)
        e.choose(e.has(flags, KEEP), values, keep)
        values = e.choose(e.has(flags, PRELU), values, lambda: [scaled(v, v) for v in values])
        values = e.choose(
            e.has(flags, RELU), values,
            lambda: [e.b.select(e.b.fcmp_ordered("<", v, zero), zero, v) for v in values],
        )  # fmt: skip
        values = e.choose(
            e.has(flags, AFTER), values,
            lambda: [e.b.fadd(v, o) for v, o in zip(values, there(after), strict=True)],
        )  # fmt: skip
        values = e.choose(e.has(flags, ACTIVATED), values, backward)
        put(values, targets)
        return []

    whole = e.b.sdiv(a["width"], I64(LANES))
    rest = e.b.srem(a["width"], I64(LANES))
    with e.b.if_then(e.b.icmp_signed(">", whole, I64(0))):
        e.repeat(whole, [], vectors)
    with e.b.if_then(e.b.icmp_signed(">", rest, I64(0))):
        lanes = VECTOR([F32(i) for i in range(LANES)])
        vectors(whole, e.b.fcmp_ordered("<", lanes, e.splat(e.b.sitofp(rest, F32))))


def _assembler(taps: int) -> Callable[..., Any]:
    arguments = "products stride target kept seen after pitch width bias slope sums flags"
    return kernel(arguments, lambda e, **a: _assemble(e, taps, **a))


dual3, untransform3, assemble3 = _dual(3), _untransform(3), _assembler(3)
dual5, untransform5, assemble5 = _dual(5), _untransform(5), _assembler(5)
