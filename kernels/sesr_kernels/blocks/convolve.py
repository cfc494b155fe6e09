"""The convolution kernel: one register block of outputs, summed over all inputs and taps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from sesr_kernels.blocks.pointwise import prelu, relu
from sesr_kernels.machine.emit import I64, VECTOR_BYTES, WORD, Emitter, Value, kernel
from sesr_kernels.machine.host import HOST

OUTS, THIN = HOST.outs, HOST.thin
WIDTHS = (1, 3, 5)
"""Columns of a weight that the kernel takes."""

# what follows the sums in a convolution's epilogue, in this order
BEFORE = 1  # add the first residual
KEEP = 2  # store the value ahead of the activation as well
PRELU = 4
RELU = 8
AFTER = 16  # add the second residual
FUSED = {"prelu": PRELU, "relu": RELU}
"""Functions of `pointwise` that the epilogue has; the others are operations of their own."""

ARGUMENTS = (
    "width outs vectors rows height offset channels stride weight bias slope "
    "before before_stride after after_stride kept target target_stride epilogue"
)


class Block(NamedTuple):
    """A register block: so many output channels x vectors of pixels."""

    outs: int
    vectors: int


def each_block(e: Emitter, outs: Value, vectors: Value, body: Callable[[Block], None]) -> None:
    """Emit `body` for every block there is; the one with `outs` and `vectors` is run."""

    # the accumulators are registers, so their number is fixed where code is emitted
    def of(many: int) -> None:
        e.switch(vectors, {v: partial(body, Block(many, v)) for v in {HOST.vectors, HOST.narrow}})

    e.switch(outs, {many: partial(of, many) for many in {OUTS, THIN}})


def _convolve(e: Emitter, **a: Value) -> None:
    """Convolve one block: `outs` output channels x `vectors` vectors of pixels.

    Addresses and strides are in bytes: ``rows`` is a table of ``height`` row addresses (int64) to
    which ``offset`` is added; ``stride`` lies between input channels; ``weight``, `width` taps
    wide, is packed as (height, channels, width, outs).  Every output is ``bias + sum over rows,
    channels, columns`` in exactly this order, whatever the block.
    """

    def of(width: int) -> None:
        each_block(e, a["outs"], a["vectors"], partial(one, width))

    def one(width: int, block: Block) -> None:
        _finish(e, block, _accumulate(e, width, block, a), a)

    # unrolled over the columns of the weight: a case for each width
    e.switch(a["width"], {width: partial(of, width) for width in WIDTHS})


convolve = kernel(ARGUMENTS, _convolve)


def _tap(
    e: Emitter, block: Block, sums: Sequence[Value], pixels: Value, weight: Value, column: int
) -> list[Value]:
    """Add one tap of one input channel to a block's sums."""
    outs, vectors = block
    loaded = [e.load(pixels, WORD * column + VECTOR_BYTES * v) for v in range(vectors)]
    result = []
    for c in range(outs):
        factor = e.splat(e.scalar(weight, WORD * (outs * column + c)))
        for v in range(vectors):
            result.append(e.fma(loaded[v], factor, sums[c * vectors + v]))
    return result


def every_channel(
    e: Emitter,
    width: int,
    block: Block,
    a: dict[str, Value],
    weight: Value,
    pixels: Value,
    sums: Sequence[Value],
) -> list[Value]:
    """Add all `channels`, `stride` apart, and their taps; the weight behind them, then the sums."""

    def channel(_: Value, weight: Value, pixels: Value, *sums: Value) -> list[Value]:
        result = list(sums)
        for column in range(width):
            result = _tap(e, block, result, pixels, weight, column)
        return [e.at(weight, WORD * block.outs * width), e.b.add(pixels, a["stride"]), *result]

    weight, _, *result = e.repeat(a["channels"], [weight, pixels, *sums], channel)
    return [weight, *result]


def _accumulate(e: Emitter, width: int, block: Block, a: dict[str, Value]) -> list[Value]:
    outs, vectors = block

    def row(y: Value, weight: Value, *sums: Value) -> list[Value]:
        pixels = e.b.add(e.integer(a["rows"], y), a["offset"])
        return every_channel(e, width, block, a, weight, pixels, sums)

    # the sums begin with the bias: its rounding has one place in the order, whatever the block
    start = [e.splat(e.scalar(a["bias"], WORD * c)) for c in range(outs) for _ in range(vectors)]
    return e.repeat(a["height"], [a["weight"], *start], row)[1:]


def _finish(e: Emitter, block: Block, sums: list[Value], a: dict[str, Value]) -> None:
    outs, vectors = block
    epilogue = a["epilogue"]

    def places(address: str, stride: str) -> list[tuple[Value, int]]:
        return [
            (e.b.add(a[address], e.b.mul(a[stride], I64(c))), VECTOR_BYTES * v)
            for c in range(outs)
            for v in range(vectors)
        ]

    def plus(address: str) -> list[Value]:
        # a stride of 0 repeats a residual of one channel over all outputs
        there = places(address, f"{address}_stride")
        return [e.b.fadd(s, e.load(*p)) for s, p in zip(sums, there, strict=True)]

    def with_slopes() -> list[Value]:
        slopes = [e.splat(e.scalar(a["slope"], WORD * c)) for c in range(outs)]
        return [prelu(e, s, slopes[i // vectors]) for i, s in enumerate(sums)]

    def put(address: str) -> None:
        for s, place in zip(sums, places(address, "target_stride"), strict=True):
            e.store(s, *place)

    # tested once for a block, not for a pixel: a few untaken branches beside thousands of products
    sums = e.choose(e.has(epilogue, BEFORE), sums, lambda: plus("before"))
    with e.b.if_then(e.has(epilogue, KEEP)):
        put("kept")
    sums = e.choose(e.has(epilogue, PRELU), sums, with_slopes)
    sums = e.choose(e.has(epilogue, RELU), sums, lambda: [relu(e, s) for s in sums])
    sums = e.choose(e.has(epilogue, AFTER), sums, lambda: plus("after"))
    put("target")
