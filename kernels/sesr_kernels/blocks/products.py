"""Sums of products of integers: one register block, added up over all inputs and taps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from sesr_kernels.blocks.convolve import OUTS, THIN, WIDTHS, Block
from sesr_kernels.machine.emit import VECTOR_BYTES, WORD, Value, kernel
from sesr_kernels.machine.host import HOST
from sesr_kernels.machine.words import WEIGHT_WORDS, Words

SUMS = HOST.outs * HOST.vectors
"""Vectors that a block's sums take: those of output o begin at ``o * HOST.vectors_of(outs)``."""
CHANNELS = 4
"""Of one word."""
BESIDE = 2
"""A kernel of one channel, up to eight taps wide: two words, four pixels apart."""
TAPS = {**{width: tuple(range(width)) for width in WIDTHS}, BESIDE: (0, CHANNELS)}
"""Columns that a row of a weight is unrolled to, in pixels."""


def _products(e: Words, **a: Value) -> None:
    """Sum for one block: `outs` output channels x `vectors` vectors of pixels.

    As `convolve`, but channels come in groups of four, `stride` apart, ``width`` is a key of
    `TAPS`, and ``weight`` is packed as (height, groups, width, words, outs).  What the sums begin
    with is ``bias``; they are stored to ``sums`` and wrap around, so that only the last ones must
    fit 32 bits.
    """

    def of(taps: Sequence[int]) -> None:
        e.switch(a["outs"], {outs: partial(thickness, taps, outs) for outs in {OUTS, THIN}})

    # the accumulators are registers, so their number is fixed where code is emitted
    def thickness(taps: Sequence[int], outs: int) -> None:
        whole = HOST.vectors_of(outs)
        e.switch(a["vectors"], {v: partial(one, taps, Block(outs, v)) for v in (whole, whole - 1)})

    def one(taps: Sequence[int], block: Block) -> None:
        for i, total in enumerate(_accumulated(e, taps, block, a)):
            place = i // block.vectors * HOST.vectors_of(block.outs) + i % block.vectors
            e.put_words(total, a["sums"], VECTOR_BYTES * place)

    e.switch(a["width"], {width: partial(of, taps) for width, taps in TAPS.items()})


products = kernel(
    "width outs vectors rows height offset groups stride weight bias sums", _products, Words
)


def _accumulated(e: Words, taps: Sequence[int], block: Block, a: dict[str, Value]) -> list[Value]:
    outs, vectors = block

    def row(y: Value, weight: Value, *sums: Value) -> list[Value]:
        pixels = e.b.add(e.integer(a["rows"], y), a["offset"])
        weight, _, *result = e.repeat(a["groups"], [weight, pixels, *sums], group)
        return [weight, *result]

    def group(_: Value, weight: Value, pixels: Value, *sums: Value) -> list[Value]:
        result = list(sums)
        for i, column in enumerate(taps):
            factors = e.at(weight, WORD * WEIGHT_WORDS * outs * i)
            result = _tap(e, block, result, pixels, factors, column)
        taken = WORD * WEIGHT_WORDS * outs * len(taps)
        return [e.at(weight, taken), e.b.add(pixels, a["stride"]), *result]

    start = [e.each(a["bias"], WORD * c) for c in range(outs) for _ in range(vectors)]
    return e.repeat(a["height"], [a["weight"], *start], row)[1:]


def _tap(
    e: Words, block: Block, sums: Sequence[Value], pixels: Value, weight: Value, column: int
) -> list[Value]:
    """Add one tap of four input channels to a block's sums."""
    outs, vectors = block
    loaded = [e.pixels(pixels, WORD * column + VECTOR_BYTES * v) for v in range(vectors)]
    result = list(sums)
    # all outputs of one form of the pixels before the next: fewer registers at a time
    for form in range(WEIGHT_WORDS):
        for c in range(outs):
            factor = e.each(weight, WORD * (form * outs + c))
            for v in range(vectors):
                i = c * vectors + v
                result[i] = e.add_products(result[i], loaded[v][form], factor)
    return result
