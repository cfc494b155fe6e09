"""The convolution kernel: one register block of outputs, summed over all inputs and taps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from sesr_kernels.emit import I64, VECTOR_BYTES, WORD, Emitter, Value, kernel
from sesr_kernels.host import HOST

OUTS, VECTORS = HOST.outs, HOST.vectors

# flags of a convolution's epilogue, applied in this order
BEFORE = 1  # add the first residual
KEEP = 2  # store the value ahead of the activation as well
PRELU = 4
RELU = 8
AFTER = 16  # add the second residual

ARGUMENTS = (
    "rows height offset channels stride weight bias slope "
    "before before_stride after after_stride kept target target_stride flags"
)


@cache
def convolution(width: int) -> Callable[..., Any]:
    """Kernel for taps `width` wide: OUTS output channels x VECTORS vectors of pixels.

    Parameters
    ----------
    width : int
        Columns of the weight.

    Returns
    -------
    callable
        Called with `ARGUMENTS`, addresses and strides in bytes: ``rows`` a table of ``height`` row
        addresses (int64) to which ``offset`` is added; ``stride`` between input channels;
        ``weight`` packed as (height, channels, width, OUTS).  Every output is ``bias + sum over
        rows, channels, columns`` in exactly this order, whatever the block.
    """

    def body(e: Emitter, **a: Value) -> None:
        sums = _accumulate(e, width, a)
        _finish(e, sums, a)

    return kernel(ARGUMENTS, body)


def tap(
    e: Emitter, sums: Sequence[Value], pixels: Value, weight: Value, column: int
) -> list[Value]:
    """Add one tap of one input channel to a block's sums."""
    loaded = [e.load(pixels, WORD * column + VECTOR_BYTES * v) for v in range(VECTORS)]
    result = []
    for c in range(OUTS):
        factor = e.splat(e.scalar(weight, WORD * (OUTS * column + c)))
        for v in range(VECTORS):
            result.append(e.fma(loaded[v], factor, sums[c * VECTORS + v]))
    return result


def _accumulate(e: Emitter, width: int, a: dict[str, Value]) -> list[Value]:
    def channel(_: Value, weight: Value, pixels: Value, *sums: Value) -> list[Value]:
        result = list(sums)
        for column in range(width):
            result = tap(e, result, pixels, weight, column)
        return [e.at(weight, WORD * OUTS * width), e.b.add(pixels, a["stride"]), *result]

    def row(y: Value, weight: Value, *sums: Value) -> list[Value]:
        pixels = e.b.add(e.integer(a["rows"], y), a["offset"])
        weight, _, *result = e.repeat(a["channels"], [weight, pixels, *sums], channel)
        return [weight, *result]

    start = [e.splat(e.scalar(a["bias"], WORD * c)) for c in range(OUTS) for _ in range(VECTORS)]
    return e.repeat(a["height"], [a["weight"], *start], row)[1:]


def _finish(e: Emitter, sums: list[Value], a: dict[str, Value]) -> None:
    flags, zero = a["flags"], e.constant(0.0)

    def places(address: str, stride: str) -> list[tuple[Value, int]]:
        return [
            (e.b.add(a[address], e.b.mul(a[stride], I64(c))), VECTOR_BYTES * v)
            for c in range(OUTS)
            for v in range(VECTORS)
        ]

    def plus(address: str) -> list[Value]:
        there = places(address, f"{address}_stride")
        return [e.b.fadd(s, e.load(*p)) for s, p in zip(sums, there, strict=True)]

    def prelu() -> list[Value]:
        result = []
        for i, s in enumerate(sums):
            slope = e.splat(e.scalar(a["slope"], WORD * (i // VECTORS)))
            positive = e.b.fcmp_ordered(">", s, zero)
            result.append(e.b.select(positive, s, e.b.fmul(s, slope)))
        return result

    def relu() -> list[Value]:  # a NaN stays
        return [e.b.select(e.b.fcmp_ordered("<", s, zero), zero, s) for s in sums]

    def put(address: str) -> None:
        for s, place in zip(sums, places(address, "target_stride"), strict=True):
            e.store(s, *place)

    sums = e.choose(e.has(flags, BEFORE), sums, lambda: plus("before"))
    with e.b.if_then(e.has(flags, KEEP)):
        put("kept")
    sums = e.choose(e.has(flags, PRELU), sums, prelu)
    sums = e.choose(e.has(flags, RELU), sums, relu)
    sums = e.choose(e.has(flags, AFTER), sums, lambda: plus("after"))
    put("target")
