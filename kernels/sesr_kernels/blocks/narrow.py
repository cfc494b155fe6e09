"""From sums to bytes: rows of a register block are scaled, narrowed, looked up and stored."""

from __future__ import annotations

from functools import partial

from sesr_kernels.blocks.convolve import OUTS, THIN
from sesr_kernels.blocks.products import SUMS
from sesr_kernels.blocks.scalings import SCALING_WORDS, SCALINGS, Scale
from sesr_kernels.machine.bytes import (
    clipped,
    exchanged,
    looked_up,
    narrowed,
    one_word_each,
)
from sesr_kernels.machine.emit import I64, VECTOR_BYTES, WORD, Value, kernel
from sesr_kernels.machine.host import HOST
from sesr_kernels.machine.words import BYTES, Words

KINDS = {name: i for i, name in enumerate(SCALINGS)}
"""By which operands state a scaling."""
ZERO, LOW, HIGH = range(SCALING_WORDS, SCALING_WORDS + 3)
"""Behind the scaling's numbers: the zero point in both halves of a word, and the ends of the
target's range in all four bytes, as bytes are kept: without a sign, 128 more than the codes."""
NUMBERS = SCALING_WORDS + 4
"""Words of numbers of four channels."""
SCRATCH = SUMS + 4
"""Vectors that a block's sums take, and room for four channels behind them."""


def _narrow(e: Words, **a: Value) -> None:
    """Store a block's sums as words of four channels, `groups` of them.

    `whole` is how many vectors are between two outputs' sums, of which `vectors` are the block's.
    """

    def of(scale: Scale) -> None:
        def group(_: Value, sums: Value, numbers: Value, target: Value) -> list[Value]:
            zero, low, high = (e.each(numbers, WORD * place) for place in (ZERO, LOW, HIGH))

            def tile(i: Value) -> list[Value]:
                column = e.b.mul(i, I64(VECTOR_BYTES))
                here = e.b.add(sums, column)
                four = [
                    scale(e, numbers, c, e.words(e.b.add(here, e.b.mul(one, I64(c)))))
                    for c in range(4)
                ]
                values = clipped(e, narrowed(e, four, zero), low, high)
                e.put_words(one_word_each(e, values), e.b.add(target, column))
                return []

            e.repeat(a["vectors"], [], tile)
            return _next(e, sums, numbers, target, a)

        one = e.b.mul(a["whole"], I64(VECTOR_BYTES))
        e.repeat(a["groups"], [a["sums"], a["numbers"], a["target"]], group)

    e.switch(a["kind"], {KINDS[name]: partial(of, scale) for name, scale in SCALINGS.items()})


def _next(e: Words, sums: Value, numbers: Value, target: Value, a: dict[str, Value]) -> list[Value]:
    return [
        e.b.add(sums, e.b.mul(a["whole"], I64(4 * VECTOR_BYTES))),
        e.at(numbers, WORD * NUMBERS),
        e.b.add(target, a["target_stride"]),
    ]


narrow = kernel("sums groups whole vectors numbers target target_stride kind", _narrow, Words)


def _narrow_by_tables(e: Words, **a: Value) -> None:
    """As `narrow`, each channel's bytes looked up in its table, `stride` from one to the next."""
    wholes = {HOST.vectors_of(outs) for outs in (OUTS, THIN)}
    e.switch(a["whole"], {whole: partial(_tables_of, e, a, whole) for whole in wholes})


def _tables_of(e: Words, a: dict[str, Value], whole: int) -> None:
    def group(_: Value, sums: Value, numbers: Value, target: Value, table: Value) -> list[Value]:
        # four vectors of one channel are looked up at a time: a vector of bytes needs one table
        for first in range(0, whole, 4):
            vectors = range(first, min(first + 4, whole))
            channels = partial(_channels, e, a, sums, numbers, whole, vectors)
            e.switch(a["kind"], {KINDS[name]: partial(channels, s) for name, s in SCALINGS.items()})
            found = []
            for c in range(4):
                own = e.b.add(table, e.b.mul(a["stride"], I64(c)))
                values = e.b.bitcast(e.words(a["sums"], VECTOR_BYTES * (SUMS + c)), BYTES)
                found.append(looked_up(e, own, values))
            for v, words in zip(vectors, exchanged(e, found), strict=False):
                # all vectors of a tile, even where it is narrow: the next one overwrites them
                e.put_words(words, target, VECTOR_BYTES * v)
        following = e.b.add(table, e.b.mul(a["stride"], I64(4)))
        return [*_next(e, sums, numbers, target, a), following]

    e.repeat(a["groups"], [a["sums"], a["numbers"], a["target"], a["tables"]], group)


def _channels(
    e: Words,
    a: dict[str, Value],
    sums: Value,
    numbers: Value,
    whole: int,
    vectors: range,
    scale: Scale,
) -> None:
    """Narrow up to four vectors of each channel to one."""
    zero = e.each(numbers, WORD * ZERO)
    for c in range(4):
        made = [
            scale(e, numbers, c, e.words(sums, VECTOR_BYTES * (whole * c + v))) for v in vectors
        ]
        four = made + made[-1:] * (4 - len(made))
        # not clipped: beyond the ends of the grid tables have what the ends have
        e.put_words(narrowed(e, four, zero), a["sums"], VECTOR_BYTES * (SUMS + c))


narrow_by_tables = kernel(
    "sums groups whole numbers target target_stride kind tables stride", _narrow_by_tables, Words
)
