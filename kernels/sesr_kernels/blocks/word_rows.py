"""Kernels over rows of words: bytes looked up, added, and woven into an image."""

from __future__ import annotations

from functools import partial

from llvmlite import ir

from sesr_kernels.blocks.narrow import LOW, NUMBERS, ZERO
from sesr_kernels.blocks.scalings import ADDITIONS, LASTS, PARTS, SCALING_WORDS, Scale
from sesr_kernels.machine.bytes import clipped, looked_up_by_channel, narrowed, one_word_each
from sesr_kernels.machine.emit import I64, LANES, VECTOR_BYTES, WORD, Value, kernel
from sesr_kernels.machine.words import I8, WORDS, Words

SIGN = 128
"""Bytes are kept without a sign: 128 more than the codes."""
ADDITION_KINDS = {pair: i for i, pair in enumerate(ADDITIONS)}
"""By which operands state how an addition scales."""
LAST, FIRST, SECOND = 0, NUMBERS, NUMBERS + SCALING_WORDS
"""Words at which the numbers of a sum and of both operands begin."""
ADDITION_ZEROS = SECOND + SCALING_WORDS
"""Where both operands' zero points are, as bytes are kept."""
ADDITION_WORDS = ADDITION_ZEROS + 2
BLOCKS = {1: I8, 2: ir.IntType(16), 4: ir.IntType(32)}
"""Bytes of a block's row: what a vector of them is stored as."""


def _look_up(e: Words, **a: Value) -> None:
    """Look `count` vectors of words up, each channel in its table or (stride 0) all in one."""

    def step(i: Value) -> list[Value]:
        offset = e.b.mul(i, I64(VECTOR_BYTES))
        words = e.words(e.b.add(a["x"], offset))
        found = looked_up_by_channel(e, a["tables"], a["stride"], words)
        e.put_words(found, e.b.add(a["y"], offset))
        return []

    e.repeat(a["count"], [], step)


look_up = kernel("x tables stride count y", _look_up, Words)


def _add_words(e: Words, **a: Value) -> None:
    """Add `count` vectors of words; with `one` the second operand's first channel to all."""

    def of(part: Scale, last: Scale) -> None:
        e.switch(a["one"], {flag: partial(rows, part, last, bool(flag)) for flag in (0, 1)})

    def rows(part: Scale, last: Scale, one: bool) -> None:
        def step(i: Value) -> list[Value]:
            offset = e.b.mul(i, I64(VECTOR_BYTES))
            x, other = (e.channels(e.words(e.b.add(a[n], offset))) for n in ("x", "other"))
            if last is not LASTS["folded"]:
                x, other = (
                    [e.b.sub(words, e.each(numbers, WORD * place)) for words in operand]
                    for operand, place in ((x, ADDITION_ZEROS), (other, ADDITION_ZEROS + 1))
                )
            there = [part(e, second, c, other[c]) for c in range(1 if one else 4)]
            four = []
            for c in range(4):
                here = part(e, first, c, x[c])
                four.append(last(e, numbers, c, plus(here, there[0 if one else c])))
            low, high = (e.each(numbers, WORD * (LOW + end)) for end in (0, 1))
            values = narrowed(e, four, e.each(numbers, WORD * ZERO))
            e.put_words(one_word_each(e, clipped(e, values, low, high)), e.b.add(a["y"], offset))
            return []

        numbers = a["numbers"]
        first, second = (e.at(numbers, WORD * place) for place in (FIRST, SECOND))
        plus = e.b.fadd if part is PARTS["real"] else e.b.add
        e.repeat(a["count"], [], step)

    pairs = {ADDITION_KINDS[p, q]: partial(of, PARTS[p], LASTS[q]) for p, q in ADDITIONS}
    e.switch(a["kind"], pairs)


add_words = kernel("x other one numbers kind count y", _add_words, Words)


def _weave_bytes(e: Words, **a: Value) -> None:
    """Store one row of blocks of one channel: `count` vectors of `columns` codes a pixel.

    ``sources`` is a table of an address and a byte's shift (int64) for each column.
    """

    def of(columns: int) -> None:
        kind = ir.VectorType(BLOCKS[columns], LANES)

        def step(i: Value) -> list[Value]:
            result = e.same(0)
            for c in range(columns):
                source, shift = (e.integer(a["sources"], I64(2 * c + k)) for k in (0, 1))
                words = e.words(e.b.add(source, e.b.mul(i, I64(VECTOR_BYTES))))
                bits = e.copies(e.b.trunc(shift, WORDS.element))
                byte = e.b.and_(e.b.lshr(words, bits), e.same(255))
                result = e.b.or_(result, e.b.shl(byte, e.same(8 * c)))
            codes = e.b.xor(result, e.same(SIGN * 0x01010101))
            place = e.b.add(a["target"], e.b.mul(i, I64(LANES * columns)))
            pointer = e.b.inttoptr(place, kind.as_pointer())
            e.b.store(codes if columns == WORD else e.b.trunc(codes, kind), pointer, align=1)
            return []

        e.repeat(a["count"], [], step)

    e.switch(a["columns"], {columns: partial(of, columns) for columns in BLOCKS})


weave_bytes = kernel("columns sources target count", _weave_bytes, Words)
