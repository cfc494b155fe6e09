"""Winograd's F(4, 3) and F(4, 5) over planes, as training uses them: kernels over rows of pixels.

Both gradients take the points of the forward pass.  With ``y = A' [(G w) * (B' x)]`` the weight's
gradient is ``G' [(A y) * (B' x)]`` summed over the groups of rows: `dual` is ``A``, `untransform`
is ``G'``.  The forward pass's own kernels are in `winograd`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from sesr_kernels.blocks.convolve import AFTER, KEEP, PRELU, RELU
from sesr_kernels.blocks.pointwise import below_zero, prelu, prelu_vjp, relu
from sesr_kernels.blocks.rows import COLUMNS
from sesr_kernels.blocks.winograd_points import FINITE, GROUP, four_rows, weight_transform
from sesr_kernels.machine.emit import F32, I64, LANES, VECTOR, VECTOR_BYTES, Emitter, Value, kernel

ACTIVATED = 32
"""In the epilogue of `assemble`: the gradient of an activation that saw the rows `seen`."""

Arguments = dict[str, Value]


def _each_taps(e: Emitter, a: Arguments, body: Callable[[Emitter, int, Arguments], None]) -> None:
    """Emit `body` for every number of taps; the one for ``a["taps"]`` is run."""
    e.switch(a["taps"], {taps: partial(body, e, taps, a) for taps in FINITE})


def _dual(e: Emitter, **a: Value) -> None:
    """Four rows `pitch` bytes apart, as polynomials at the points, `stride` bytes apart."""
    _each_taps(e, a, _dual_taps)


def _dual_taps(e: Emitter, taps: int, a: Arguments) -> None:
    rows = [e.b.add(a["rows"], e.b.mul(a["pitch"], I64(i))) for i in range(GROUP)]

    def pair(d: list[Value], point: float) -> list[Value]:
        even = e.fma(d[2], e.constant(point**2), d[0])
        odd = e.b.fmul(e.fma(d[3], e.constant(point**2), d[1]), e.constant(point))
        return [e.b.fadd(even, odd), e.b.fsub(even, odd)]

    def step(i: Value) -> list[Value]:
        offset = e.b.mul(i, I64(VECTOR_BYTES))
        d = [e.load(e.b.add(row, offset)) for row in rows]
        # 0 and infinity take the first and the last row; the others come in pairs of both signs
        points = [v for point in FINITE[taps][1::2] for v in pair(d, point)]
        for p, value in enumerate([d[0], *points, d[3]]):
            e.store(value, e.b.add(e.b.add(a["target"], e.b.mul(a["stride"], I64(p))), offset))
        return []

    e.repeat(a["count"], [], step)


dual = kernel("taps rows pitch target stride count", _dual)


def _untransform(e: Emitter, **a: Value) -> None:
    """Add one tap's column of sums, from all points, to those of the taps above each other."""
    _each_taps(e, a, _untransform_taps)


def _untransform_taps(e: Emitter, taps: int, a: Arguments) -> None:
    # a column is `count` vectors, COLUMNS vectors apart; `targets` is a table of addresses
    transform = weight_transform(taps)
    points = range(len(transform))
    sources = [e.b.add(a["sums"], e.b.mul(a["stride"], I64(p))) for p in points]
    targets = [e.integer(a["targets"], I64(i)) for i in range(taps)]

    def step(r: Value) -> list[Value]:
        offset = e.b.mul(r, I64(VECTOR_BYTES * COLUMNS))
        points = [e.load(e.b.add(source, offset)) for source in sources]
        for i, target in enumerate(targets):
            total = e.load(e.b.add(target, offset))
            for point, factor in zip(points, transform[:, i], strict=True):
                if factor:  # known where code is emitted: a zero costs nothing
                    total = e.fma(point, e.constant(float(factor)), total)
            e.store(total, e.b.add(target, offset))
        return []

    e.repeat(a["count"], [], step)


untransform = kernel("taps sums stride targets count", _untransform)


def _zero(e: Emitter, **a: Value) -> None:
    """Zero `count` vectors."""

    def step(i: Value) -> list[Value]:
        e.store(e.constant(0.0), e.b.add(a["target"], e.b.mul(i, I64(VECTOR_BYTES))))
        return []

    e.repeat(a["count"], [], step)


zero = kernel("target count", _zero)


class _Vector(NamedTuple):
    """A vector of columns of some rows: its offset in bytes, and the lanes to write (None: all)."""

    e: Emitter
    offset: Value
    mask: Value | None

    def load(self, rows: list[Value]) -> list[Value]:
        return [self.e.load(self.e.b.add(row, self.offset)) for row in rows]

    def store(self, values: list[Value], rows: list[Value]) -> None:
        if self.mask is not None:  # what lies behind the last column is padding: it stays
            values = self.masked(values, self.load(rows))
        for value, row in zip(values, rows, strict=True):
            self.e.store(value, self.e.b.add(row, self.offset))

    def masked(self, values: list[Value], others: list[Value]) -> list[Value]:
        if self.mask is None:
            return values
        pairs = zip(values, others, strict=True)
        return [self.e.b.select(self.mask, value, other) for value, other in pairs]


def _assemble(e: Emitter, **a: Value) -> None:
    """Products of one channel to its four rows; writes `width` columns and nothing else.

    In this order: bias, store of what the activation sees (KEEP), activation, sum with `after`
    (AFTER), gradient of an activation (ACTIVATED) with its slope's partial sums.
    """
    _each_taps(e, a, _assemble_taps)


def _assemble_taps(e: Emitter, taps: int, a: Arguments) -> None:
    products = [
        e.b.add(a["products"], e.b.mul(a["stride"], I64(i))) for i in range(taps + GROUP - 1)
    ]

    def rows(name: str) -> list[Value]:
        return [e.b.add(a[name], e.b.mul(a["pitch"], I64(i))) for i in range(GROUP)]

    target, kept, seen, after = rows("target"), rows("kept"), rows("seen"), rows("after")
    bias, slope = e.splat(e.scalar(a["bias"])), e.splat(e.scalar(a["slope"]))

    def make(i: Value, mask: Value | None = None) -> list[Value]:
        here = _Vector(e, e.b.mul(i, I64(VECTOR_BYTES)), mask)

        def keep() -> list[Value]:
            here.store(values, kept)
            return values

        def plus() -> list[Value]:
            return [e.b.fadd(v, o) for v, o in zip(values, here.load(after), strict=True)]

        def when(flag: int, change: Callable[[], list[Value]]) -> list[Value]:
            return e.choose(e.has(a["epilogue"], flag), values, change)

        values = four_rows(e, here.load(products), bias)
        when(KEEP, keep)
        values = when(PRELU, lambda: [prelu(e, v, slope) for v in values])
        values = when(RELU, lambda: [relu(e, v) for v in values])
        values = when(AFTER, plus)
        values = when(ACTIVATED, lambda: _activated(here, values, here.load(seen), slope, a))
        here.store(values, target)
        return []

    _columns(e, a["width"], make)


def _activated(
    here: _Vector, dy: list[Value], seen: list[Value], slope: Value, a: Arguments
) -> list[Value]:
    """Gradient of a PReLU that saw `seen`; adds that of its slope to the partial sums."""
    e, total = here.e, here.e.load(a["sums"])
    for d, x in zip(dy, seen, strict=True):
        # a masked lane adds nothing: it is no pixel
        (part,) = here.masked([e.b.fmul(d, below_zero(e, x))], [e.constant(0.0)])
        total = e.b.fadd(total, part)
    e.store(total, a["sums"])
    return [prelu_vjp(e, d, x, slope) for d, x in zip(dy, seen, strict=True)]


def _columns(e: Emitter, width: Value, make: Callable[..., list[Value]]) -> None:
    """Run `make` for every whole vector of `width` columns, then with a mask for the rest."""
    whole = e.b.sdiv(width, I64(LANES))
    rest = e.b.srem(width, I64(LANES))
    # a loop runs at least once: narrow images have no whole vector
    with e.b.if_then(e.b.icmp_signed(">", whole, I64(0))):
        e.repeat(whole, [], make)
    with e.b.if_then(e.b.icmp_signed(">", rest, I64(0))):
        lanes = VECTOR([F32(i) for i in range(LANES)])
        make(whole, e.below(lanes, e.splat(e.b.sitofp(rest, F32))))


assemble = kernel(
    "taps products stride target kept seen after pitch width bias slope sums epilogue", _assemble
)
