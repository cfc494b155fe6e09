"""Real factors applied to vectors of integers, in each arithmetic's own way of rounding.

A scaling's numbers are words in memory, four of each kind, for four channels; `integers.numbers`
writes them so that each function here has the bits of its namesake in the engine's `ROUNDINGS`.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from sesr_kernels.machine.emit import I64, LANES, WORD, Value
from sesr_kernels.machine.words import FLOATS, WORDS, Words

FACTOR, LEFT, RIGHT, HALF, MASK, LONG = range(0, 24, 4)
"""Where the words of each kind begin: a multiplier, or a float's bits; shifts up and down; what is
added ahead of the shift; a mask; the same as `HALF` in 64 bits."""
SCALING_WORDS = LONG + 8

Scale = Callable[[Words, Value, int, Value], Value]
"""``scale(e, numbers, channel, x)``; `channel` is one of four."""
_LONGS = ir.VectorType(I64, max(LANES // 2, 1))


def _number(e: Words, numbers: Value, kind: int, channel: int) -> Value:
    return e.each(numbers, WORD * (kind + channel))


def _nearest(e: Words, numbers: Value, channel: int, x: Value) -> Value:
    return e.nearest(_real(e, numbers, channel, x))


def _real(e: Words, numbers: Value, channel: int, x: Value) -> Value:
    factor = e.b.bitcast(_number(e, numbers, FACTOR, channel), FLOATS)
    return e.b.fmul(e.b.sitofp(x, FLOATS), factor)


def _divided(e: Words, numbers: Value, channel: int, x: Value) -> Value:
    return e.nearest(e.b.fdiv(x, e.b.bitcast(_number(e, numbers, FACTOR, channel), FLOATS)))


def _times(e: Words, numbers: Value, channel: int, x: Value) -> Value:
    return e.b.mul(x, _number(e, numbers, FACTOR, channel))


def _high_words(e: Words, x: Value, factor: Value, plus: Value) -> Value:
    """Upper 32 bits of ``x * factor + plus``, all in 64 bits."""
    if LANES == 1:
        long = e.b.add(e.b.mul(e.b.sext(x, _LONGS), e.b.sext(factor, _LONGS)), plus)
        return e.b.trunc(e.b.ashr(long, e.same(32, _LONGS)), WORDS)
    # even lanes and odd ones apart, as processors multiply to 64 bits
    half = e.same(32, _LONGS)
    x, factor = (e.b.bitcast(v, _LONGS) for v in (x, factor))
    low = [e.b.ashr(e.b.shl(v, half), half) for v in (x, factor)]
    high = [e.b.ashr(v, half) for v in (x, factor)]
    even, odd = (e.b.add(e.b.mul(*pair), plus) for pair in (low, high))
    odd = e.b.and_(odd, e.same(0xFFFFFFFF << 32, _LONGS))
    return e.b.bitcast(e.b.or_(e.b.lshr(even, half), odd), WORDS)


def _shifted_up(e: Words, numbers: Value, channel: int, x: Value) -> Value:
    return e.b.shl(x, _number(e, numbers, LEFT, channel))


def _once(e: Words, numbers: Value, channel: int, x: Value) -> Value:
    up, factor = _shifted_up(e, numbers, channel, x), _number(e, numbers, FACTOR, channel)
    half = e.each_long(numbers, WORD * (LONG + 2 * channel))
    high = _high_words(e, up, factor, half)
    return e.b.ashr(high, _number(e, numbers, RIGHT, channel))


def _high_half(e: Words, numbers: Value, channel: int, x: Value) -> Value:
    """The product rounded to its upper half: the first of two roundings."""
    # shifted up by one bit more, so that the half that is kept is the upper word
    up, factor = _shifted_up(e, numbers, channel, x), _number(e, numbers, FACTOR, channel)
    return _high_words(e, up, factor, e.same(1 << 31, _LONGS))


def _shifted_down(e: Words, numbers: Value, channel: int, x: Value, half: Value) -> Value:
    return e.b.ashr(e.b.add(x, half), _number(e, numbers, RIGHT, channel))


def _twice(e: Words, numbers: Value, channel: int, x: Value) -> Value:
    high = _high_half(e, numbers, channel, x)
    # half away from zero: less by one below zero, unless nothing is shifted (then the mask is 0)
    below = e.b.and_(e.b.ashr(high, e.same(31)), _number(e, numbers, MASK, channel))
    half = e.b.add(_number(e, numbers, HALF, channel), below)
    return _shifted_down(e, numbers, channel, high, half)


def _twice_up(e: Words, numbers: Value, channel: int, x: Value) -> Value:
    high = _high_half(e, numbers, channel, x)
    return _shifted_down(e, numbers, channel, high, _number(e, numbers, HALF, channel))


def _half_up(e: Words, numbers: Value, channel: int, x: Value) -> Value:
    up = _shifted_up(e, numbers, channel, x)
    return _shifted_down(e, numbers, channel, up, _number(e, numbers, HALF, channel))


def _half_even(e: Words, numbers: Value, channel: int, x: Value) -> Value:
    up = _shifted_up(e, numbers, channel, x)
    odd = e.b.and_(e.b.ashr(up, _number(e, numbers, RIGHT, channel)), e.same(1))
    # a half less a bit, and that bit where the result would be odd
    half = e.b.add(_number(e, numbers, HALF, channel), odd)
    return _shifted_down(e, numbers, channel, up, half)


def _folded(e: Words, numbers: Value, channel: int, x: Value) -> Value:
    """As `_half_up` where nothing is shifted up and `HALF` holds the operands' zero points."""
    return _shifted_down(e, numbers, channel, x, _number(e, numbers, HALF, channel))


def _floor(e: Words, numbers: Value, channel: int, x: Value) -> Value:
    up = _shifted_up(e, numbers, channel, x)
    return e.b.ashr(up, _number(e, numbers, RIGHT, channel))


def _toward_zero(e: Words, numbers: Value, channel: int, x: Value) -> Value:
    up = _shifted_up(e, numbers, channel, x)
    below = e.b.and_(e.b.ashr(up, e.same(31)), _number(e, numbers, MASK, channel))
    return _shifted_down(e, numbers, channel, up, below)


SCALINGS: dict[str, Scale] = {
    "nearest": _nearest,
    "once": _once,
    "twice": _twice,
    "twice-up": _twice_up,
    "half-up": _half_up,
    "half-even": _half_even,
    "floor": _floor,
    "toward-zero": _toward_zero,
}
"""From a convolution's sums to integers."""
PARTS: dict[str, Scale] = {"times": _times, "once": _once, "twice": _twice, "real": _real}
"""Of one operand of an addition, less its zero point."""
LASTS: dict[str, Scale] = {**SCALINGS, "divided": _divided, "folded": _folded}
"""Of the sum of two."""
ADDITIONS = (
    ("once", "once"),
    ("twice", "twice"),
    ("times", "folded"),
    ("times", "half-up"),
    ("times", "half-even"),
    ("times", "floor"),
    ("times", "toward-zero"),
    ("real", "divided"),
)
"""How operands and their sum are scaled, in pairs that some arithmetic has."""
