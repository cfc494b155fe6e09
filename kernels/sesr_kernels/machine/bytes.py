"""From words to bytes and back, and tables of 256 bytes, as each instruction set does it.

Four vectors of words become one of bytes.  x86 packs within parts of 16 bytes: there `narrowed`
leaves four bytes of the first vector, four of the second and so on in each part.  Other processors
get the four bytes of a lane in one word.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from sesr_kernels.machine.emit import I32, LANES, VECTOR_BYTES, WORD, Value
from sesr_kernels.machine.host import HOST
from sesr_kernels.machine.words import BYTES, HALVES, I8, WIDTH, WORDS, Words

PACKS = HOST.bytes != "plain"
TABLE = 256
"""Bytes of a table."""
_PART = 16
_SIGNED = {128: "sse2.packssdw.128", 256: "avx2.packssdw", 512: "avx512.packssdw.512"}
_UNSIGNED = {128: "sse2.packuswb.128", 256: "avx2.packuswb", 512: "avx512.packuswb.512"}
_SHUFFLE = {128: "ssse3.pshuf.b.128", 256: "avx2.pshuf.b", 512: "avx512.pshuf.b.512"}


def narrowed(e: Words, four: Sequence[Value], zero: Value) -> Value:
    """``min(max(word + zero, 0), 255)`` of four vectors; `zero` has it in every half word."""
    if not PACKS:
        zeros = e.b.and_(zero, e.same(0xFFFF))
        return _joined(e, [_limited(e, e.b.add(words, zeros)) for words in four])
    zeros = e.b.bitcast(zero, HALVES)
    pairs = []
    for first, second in (four[:2], four[2:]):
        # saturating to 16 bits first changes nothing: what saturates does so in 8 bits as well
        packed = e.call(f"llvm.x86.{_SIGNED[WIDTH]}", HALVES, first, second)
        pairs.append(e.call(f"llvm.sadd.sat.v{2 * LANES}i16", HALVES, packed, zeros))
    return e.call(f"llvm.x86.{_UNSIGNED[WIDTH]}", BYTES, *pairs)


def _limited(e: Words, words: Value) -> Value:
    return e.least(e.most(words, e.same(0)), e.same(255))


def _joined(e: Words, four: Sequence[Value]) -> Value:
    """One word of the lowest bytes of four; their other bits are zero."""
    result = four[0]
    for i, words in enumerate(four[1:], 1):
        result = e.b.or_(result, e.b.shl(words, e.same(8 * i)))
    return e.b.bitcast(result, BYTES)


def clipped(e: Words, values: Value, low: Value, high: Value) -> Value:
    """Bytes between two, all without a sign."""
    low, high = (e.b.bitcast(limit, BYTES) for limit in (low, high))
    return e.least(e.most(values, low, signed=False), high, signed=False)


def one_word_each(e: Words, values: Value) -> Value:
    """From the order of `narrowed` to four bytes of each lane in one word."""
    if not PACKS:
        return values
    order = [
        part + 4 * vector + lane
        for part in range(0, VECTOR_BYTES, _PART)
        for lane in range(4)
        for vector in range(4)
    ]
    return e.shuffled(values, values, order)


def exchanged(e: Words, channels: Sequence[Value]) -> list[Value]:
    """Four vectors, each a channel's and `narrowed` from four tiles: the tiles, of all channels."""
    if not PACKS:
        split = [e.channels(e.b.bitcast(values, WORDS)) for values in channels]
        return [_joined(e, [own[tile] for own in split]) for tile in range(4)]
    # bytes of two channels beside each other, then of four: tiles 0 and 1, then 2 and 3
    tiles = []
    for high in (False, True):
        first, second = (_woven(e, channels[i], channels[i + 1], 1, high) for i in (0, 2))
        tiles += [_woven(e, first, second, 2, half) for half in (False, True)]
    return tiles


def _woven(e: Words, x: Value, y: Value, size: int, high: bool) -> Value:
    """Items of `size` bytes, in turn from the lower or higher halves of the parts of two."""
    kind = BYTES if size == 1 else HALVES
    count, per = VECTOR_BYTES // size, _PART // size
    order = []
    for part in range(0, count, per):
        for i in range(per // 2):
            first = part + i + (per // 2 if high else 0)
            order += [first, count + first]
    return e.shuffled(e.b.bitcast(x, kind), e.b.bitcast(y, kind), order)


def looked_up(e: Words, table: Value, values: Value) -> Value:
    """``table[value]`` of every byte."""
    if HOST.bytes == "vbmi":
        halves = []
        for half in (0, TABLE // 2):
            tables = (_bytes(e, table, half + i) for i in (0, VECTOR_BYTES))
            first, second = tables
            name = "llvm.x86.avx512.vpermi2var.qi.512"
            halves.append(e.call(name, BYTES, first, values, second))
        return e.b.select(e.b.icmp_signed("<", values, e.same(0, BYTES)), halves[1], halves[0])
    if HOST.bytes == "shuffle":
        return _by_shuffles(e, table, values)
    return _one_by_one(e, table, 0, values)


def _by_shuffles(e: Words, table: Value, values: Value) -> Value:
    result = e.same(0, BYTES)
    for part in range(TABLE // _PART):
        entries = e.b.load(e.b.inttoptr(e.at(table, part * _PART), _ENTRIES.as_pointer()), align=1)
        everywhere = e.shuffled(entries, entries, [*range(_PART)] * (VECTOR_BYTES // _PART))
        # a value of this part's becomes 0x70 to 0x7F; all others get their highest bit, which
        # the shuffle takes for a zero
        own = e.b.xor(values, e.same(part * _PART, BYTES))
        index = e.call(f"llvm.uadd.sat.v{VECTOR_BYTES}i8", BYTES, own, e.same(0x70, BYTES))
        found = e.call(f"llvm.x86.{_SHUFFLE[WIDTH]}", BYTES, everywhere, index)
        result = e.b.or_(result, found)
    return result


def looked_up_by_channel(e: Words, tables: Value, stride: Value, words: Value) -> Value:
    """Byte i of each word from the table at ``tables + i * stride``."""
    if HOST.bytes in ("plain", "pack"):
        return e.b.bitcast(_one_by_one(e, tables, stride, e.b.bitcast(words, BYTES)), WORDS)
    values, result = e.b.bitcast(words, BYTES), None
    for i in range(WORD):
        table = e.b.add(tables, e.b.mul(stride, stride.type(i)))
        found = e.b.bitcast(looked_up(e, table, values), WORDS)
        own = e.b.and_(found, e.same(255 << 8 * i))
        result = own if result is None else e.b.or_(result, own)
    return result


def _one_by_one(e: Words, table: Value, stride: Value, values: Value) -> Value:
    result = ir.Constant(BYTES, ir.Undefined)
    for i in range(VECTOR_BYTES):
        own = table
        if stride:
            own = e.b.add(table, e.b.mul(stride, stride.type(i % WORD)))
        index = e.b.zext(e.b.extract_element(values, I32(i)), table.type)
        found = e.b.load(e.b.inttoptr(e.b.add(own, index), I8.as_pointer()), align=1)
        result = e.b.insert_element(result, found, I32(i))
    return result


def _bytes(e: Words, address: Value, offset: int) -> Value:
    return e.b.load(e.b.inttoptr(e.at(address, offset), BYTES.as_pointer()), align=1)


_ENTRIES = ir.VectorType(I8, _PART)
