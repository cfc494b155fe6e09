"""Winograd's F(4, 3) over whole planes, as training uses it: kernels over rows of pixels.

Both gradients take the points of the forward pass.  With ``y = A' [(G w) * (B' x)]`` the weight's
gradient is ``G' [(A y) * (B' x)]`` summed over the groups of rows: `dual` is ``A``, `untransform`
is ``G'``.  The transforms of the forward pass are in `winograd`.
"""

from __future__ import annotations

from sesr_kernels.convolve import AFTER, KEEP, OUTS, PRELU, RELU, VECTORS, tap
from sesr_kernels.emit import F32, I64, LANES, VECTOR, VECTOR_BYTES, WORD, Emitter, Value, kernel
from sesr_kernels.rows import COLUMNS
from sesr_kernels.rows import ROWS as BLOCK_ROWS
from sesr_kernels.winograd import POINTS, ROWS, TAPS, WEIGHT

ACTIVATED = 32
"""Flag of `assemble`: then the gradient of an activation whose input's rows are `seen`."""
BLOCK = BLOCK_ROWS * COLUMNS
"""Vectors of partial sums in a block of a weight gradient: one input channel, its three taps."""


def _products(e: Emitter, **a: Value) -> None:
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
        place = target
        for c in range(OUTS):
            for v in range(VECTORS):
                e.store(sums[c * VECTORS + v], place, VECTOR_BYTES * v)
            place = e.b.add(place, a["target_stride"])
        return [weight, e.b.add(pixels, a["point_stride"]), place]

    e.repeat(I64(POINTS), [a["weight"], a["points"], a["target"]], point)


products = kernel("points point_stride channels stride weight target target_stride", _products)


def _dual(e: Emitter, **a: Value) -> None:
    """Four rows `pitch` bytes apart to six points, `stride` bytes apart."""
    rows = [e.b.add(a["rows"], e.b.mul(a["pitch"], I64(i))) for i in range(ROWS)]
    targets = [e.b.add(a["target"], e.b.mul(a["stride"], I64(i))) for i in range(POINTS)]
    two, four = e.constant(2.0), e.constant(4.0)

    def step(i: Value) -> list[Value]:
        offset = e.b.mul(i, I64(VECTOR_BYTES))
        d = [e.load(e.b.add(row, offset)) for row in rows]
        even, odd = e.b.fadd(d[0], d[2]), e.b.fadd(d[1], d[3])
        wide, tall = e.fma(d[2], four, d[0]), e.b.fmul(e.fma(d[3], four, d[1]), two)
        points = [
            d[0],
            e.b.fadd(even, odd),
            e.b.fsub(even, odd),
            e.b.fadd(wide, tall),
            e.b.fsub(wide, tall),
            d[3],
        ]
        for point, target in zip(points, targets, strict=True):
            e.store(point, e.b.add(target, offset))
        return []

    e.repeat(a["count"], [], step)


dual = kernel("rows pitch target stride count", _dual)


def _untransform(e: Emitter, **a: Value) -> None:
    """A block of partial sums for each of six points, `stride` bytes apart, to three taps' blocks.

    Added to what is there, `VECTOR_BYTES * BLOCK` bytes apart.
    """
    factors = [[e.constant(float(f)) if f else None for f in column] for column in WEIGHT.T]

    def step(_: Value, source: Value, target: Value) -> list[Value]:
        points = [e.load(e.b.add(source, e.b.mul(a["stride"], I64(p)))) for p in range(POINTS)]
        for i, column in enumerate(factors):
            total = e.load(target, VECTOR_BYTES * BLOCK * i)
            for point, factor in zip(points, column, strict=True):
                if factor is not None:
                    total = e.fma(point, factor, total)
            e.store(total, target, VECTOR_BYTES * BLOCK * i)
        return [e.at(source, VECTOR_BYTES), e.at(target, VECTOR_BYTES)]

    e.repeat(I64(BLOCK), [a["sums"], a["target"]], step)


untransform = kernel("sums stride target", _untransform)


def _zero(e: Emitter, **a: Value) -> None:
    """Zero `count` vectors."""

    def step(i: Value) -> list[Value]:
        e.store(e.constant(0.0), e.b.add(a["target"], e.b.mul(i, I64(VECTOR_BYTES))))
        return []

    e.repeat(a["count"], [], step)


zero = kernel("target count", _zero)


def _assemble(e: Emitter, **a: Value) -> None:
    """Six products of one channel to its four rows; writes `width` columns and nothing else.

    In this order: bias, store of what the activation sees (KEEP), activation, sum with what is
    there (AFTER), gradient of an activation (ACTIVATED) with its slope's partial sums.
    """
    sources = [e.b.add(a["products"], e.b.mul(a["stride"], I64(i))) for i in range(POINTS)]

    def rows(name: str) -> list[Value]:
        return [e.b.add(a[name], e.b.mul(a["pitch"], I64(i))) for i in range(ROWS)]

    targets, kept, seen = rows("target"), rows("kept"), rows("seen")
    bias, slope = e.splat(e.scalar(a["bias"])), e.splat(e.scalar(a["slope"]))
    zero, two, four, eight = (e.constant(c) for c in (0.0, 2.0, 4.0, 8.0))
    flags = a["flags"]

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

        m = there(sources)
        near, far = e.b.fadd(m[1], m[2]), e.b.fadd(m[3], m[4])
        near_odd, far_odd = e.b.fsub(m[1], m[2]), e.b.fsub(m[3], m[4])
        near, near_odd = e.b.fadd(near, bias), e.b.fadd(near_odd, bias)
        values = [
            e.b.fadd(e.b.fadd(m[0], near), far),
            e.fma(far_odd, two, near_odd),
            e.fma(far, four, near),
            e.b.fadd(e.fma(far_odd, eight, near_odd), m[5]),
        ]
        e.choose(e.has(flags, KEEP), values, keep)
        values = e.choose(e.has(flags, PRELU), values, lambda: [scaled(v, v) for v in values])
        values = e.choose(
            e.has(flags, RELU), values,
            lambda: [e.b.select(e.b.fcmp_ordered("<", v, zero), zero, v) for v in values],
        )  # fmt: skip
        values = e.choose(
            e.has(flags, AFTER), values,
            lambda: [e.b.fadd(v, o) for v, o in zip(values, there(targets), strict=True)],
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


assemble = kernel("products stride target kept seen pitch width bias slope sums flags", _assemble)
