"""Sums of products of integers: one register block, added up over all inputs and taps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from sesr_kernels.blocks.convolve import WIDTHS, Block, each_block
from sesr_kernels.machine.emit import VECTOR_BYTES, WORD, Value, kernel
from sesr_kernels.machine.host import HOST
from sesr_kernels.machine.words import WEIGHT_WORDS, Words

SUMS = HOST.outs * HOST.vectors
"""Vectors that a block's sums take, whichever block: output o's begin at ``o * HOST.vectors``."""
CHANNELS = 4
"""Of one word."""


def _products(e: Words, **a: Value) -> None:
    """Sum for one block: `outs` output channels x `vectors` vectors of pixels.

    As `convolve`, but channels come in groups of four, `stride` apart, and ``weight`` is packed as
    (height, groups, width, words, outs).  What the sums begin with is ``bias``; they are stored to
    ``sums`` and wrap around, so that only the last ones must fit 32 bits.
    """

    def of(width: int) -> None:
        each_block(e, a["outs"], a["vectors"], partial(one, width))

    def one(width: int, block: Block) -> None:
        for i, total in enumerate(_accumulated(e, width, block, a)):
            place = i // block.vectors * HOST.vectors + i % block.vectors
            e.put_words(total, a["sums"], VECTOR_BYTES * place)

    e.switch(a["width"], {width: partial(of, width) for width in WIDTHS})


products = kernel(
    "width outs vectors rows height offset groups stride weight bias sums", _products, Words
)


def _accumulated(e: Words, width: int, block: Block, a: dict[str, Value]) -> list[Value]:
    outs, vectors = block

    def row(y: Value, weight: Value, *sums: Value) -> list[Value]:
        pixels = e.b.add(e.integer(a["rows"], y), a["offset"])
        weight, _, *result = e.repeat(a["groups"], [weight, pixels, *sums], group)
        return [weight, *result]

    def group(_: Value, weight: Value, pixels: Value, *sums: Value) -> list[Value]:
        result = list(sums)
        for column in range(width):
            result = _tap(e, block, result, pixels, weight, column)
        taken = WORD * WEIGHT_WORDS * outs * width
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
            factor = e.each(weight, WORD * ((WEIGHT_WORDS * column + form) * outs + c))
            for v in range(vectors):
                i = c * vectors + v
                result[i] = e.add_products(result[i], loaded[v][form], factor)
    return result
