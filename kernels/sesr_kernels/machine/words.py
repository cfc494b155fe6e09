"""A few more words for writing LLVM code: vectors of 32-bit integers, and the bytes in them.

A word holds one pixel's bytes of four channels; a vector of words is as many pixels as a vector of
floats, so that rings and register blocks are cut alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from sesr_kernels.machine.emit import F32, I32, I64, LANES, VECTOR_BYTES, WORD, Emitter, Value
from sesr_kernels.machine.host import HOST

I8, I16 = ir.IntType(8), ir.IntType(16)
WORDS = ir.VectorType(I32, LANES)
HALVES = ir.VectorType(I16, 2 * LANES)
BYTES = ir.VectorType(I8, 4 * LANES)
FLOATS = ir.VectorType(F32, LANES)
WIDTH = 8 * VECTOR_BYTES
"""Bits of a vector, which names of x86 instructions end in."""

WEIGHT_WORDS = {"vnni": 1, "dot": 1, "pairs": 2, "plain": 4}[HOST.products]
"""Words of the weights of four channels for one output, in the form that products take."""
SIGNED_PIXELS = HOST.products == "dot"
"""Whether products take pixels as bytes with a sign: 128 less than they are kept."""


class Words(Emitter):
    """`Emitter` for integers."""

    def words(self, address: Value, offset: int = 0) -> Value:
        """Load an unaligned vector of words."""
        return self.b.load(self._pointer(address, offset, WORDS), align=WORD)

    def put_words(self, value: Value, address: Value, offset: int = 0) -> None:
        """Store a vector, of whatever is in its words."""
        words = self.b.bitcast(value, WORDS)
        self.b.store(words, self._pointer(address, offset, WORDS), align=WORD)

    def each(self, address: Value, offset: int = 0) -> Value:
        """Load one word and copy it to every lane."""
        return self.copies(self.b.load(self._pointer(address, offset, I32), align=WORD))

    def each_long(self, address: Value, offset: int = 0) -> Value:
        """Load one integer of 64 bits and copy it to every pair of lanes."""
        value = self.b.load(self._pointer(address, offset, I64), align=WORD)
        return self.copies(value, max(LANES // 2, 1))

    def copies(self, value: Value, count: int = LANES) -> Value:
        """Copy a scalar to `count` lanes."""
        kind = ir.VectorType(value.type, count)
        undefined = ir.Constant(kind, ir.Undefined)
        zeros = ir.Constant(ir.VectorType(I32, count), [0] * count)
        first = self.b.insert_element(undefined, value, I32(0))
        return self.b.shuffle_vector(first, undefined, zeros)

    def same(self, number: int, kind: Value = WORDS) -> Value:
        """Return a vector of one constant, given with a sign or without."""
        bits = kind.element.width
        signed = (number + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)
        return ir.Constant(kind, [signed] * kind.count)

    def least(self, x: Value, y: Value, signed: bool = True) -> Value:
        """Lane by lane the smaller integer."""
        return self.b.select(self._compare("<", x, y, signed), x, y)

    def most(self, x: Value, y: Value, signed: bool = True) -> Value:
        """Lane by lane the larger integer."""
        return self.b.select(self._compare(">", x, y, signed), x, y)

    def _compare(self, operator: str, x: Value, y: Value, signed: bool) -> Value:
        compare = self.b.icmp_signed if signed else self.b.icmp_unsigned
        return compare(operator, x, y)

    def shuffled(self, x: Value, y: Value, order: Sequence[int]) -> Value:
        """Elements of two vectors, counted through, in an order."""
        return self.b.shuffle_vector(x, y, ir.Constant(ir.VectorType(I32, len(order)), list(order)))

    def call(self, name: str, result: Value, *values: Value) -> Value:
        """Call one of LLVM's intrinsics."""
        kind = ir.FunctionType(result, [value.type for value in values])
        declare: Any = cgutils.get_or_insert_function
        return self.b.call(declare(self.b.module, kind, name), values)

    def nearest(self, x: Value) -> Value:
        """Floats to the nearest integers, half to even; they must fit."""
        if HOST.name in _NEAREST:
            name, *more = _NEAREST[HOST.name]
            if more:  # AVX-512: lanes that a mask leaves out, and the rounding mode that is set
                return self.call(name, WORDS, x, self.same(0), ir.Constant(I16, -1), I32(4))
            return self.call(name, WORDS, x)
        return self.b.fptosi(self.call(f"llvm.rint.v{LANES}f32", FLOATS, x), WORDS)

    def pixels(self, address: Value, offset: int = 0) -> list[Value]:
        """Load pixels of four channels in the form that `add_products` takes."""
        loaded = self.words(address, offset)
        if HOST.products == "dot":
            return [self.b.xor(loaded, self.same(0x80808080))]
        if HOST.products == "pairs":  # channels 0 and 2, then 1 and 3
            mask = self.same(0x00FF00FF)
            return [self.b.and_(loaded, mask), self.b.and_(self.shift(loaded, 8), mask)]
        if HOST.products == "plain":
            return self.channels(loaded)
        return [loaded]

    def channels(self, words: Value) -> list[Value]:
        """Each of the four bytes as a word of its own."""
        mask = self.same(255)
        return [
            *(self.b.and_(self.shift(words, 8 * i), mask) for i in range(3)),
            self.shift(words, 24),
        ]

    def shift(self, words: Value, bits: int) -> Value:
        """Move the bits of each lane down; zeros move in."""
        return self.b.lshr(words, self.same(bits, words.type)) if bits else words

    def add_products(self, sums: Value, pixels: Value, weight: Value) -> Value:
        """Add to each lane the products of one form of `pixels` and its word of weights."""
        if HOST.products == "vnni":
            # newer LLVMs name bytes, and take words for them all the same
            return self.call(f"llvm.x86.avx512.vpdpbusd.{WIDTH}", WORDS, sums, pixels, weight)
        if HOST.products == "dot":
            name = f"llvm.aarch64.neon.sdot.v{LANES}i32.v{4 * LANES}i8"
            return self.call(
                name, WORDS, sums, *(self.b.bitcast(v, BYTES) for v in (pixels, weight))
            )
        if HOST.products == "pairs":
            halves = (self.b.bitcast(v, HALVES) for v in (pixels, weight))
            return self.b.add(sums, self.call(_PAIRS[WIDTH], WORDS, *halves))
        return self.b.add(sums, self.b.mul(pixels, weight))

    def _pointer(self, address: Value, offset: int, kind: Value) -> Value:
        return self.b.inttoptr(self.at(address, offset), kind.as_pointer())


_PAIRS = {
    128: "llvm.x86.sse2.pmadd.wd",
    256: "llvm.x86.avx2.pmadd.wd",
    512: "llvm.x86.avx512.pmaddw.d.512",
}

_NEAREST = {
    "sse2": ("llvm.x86.sse2.cvtps2dq",),
    "avx2": ("llvm.x86.avx.cvt.ps2dq.256",),
    "avx512": ("llvm.x86.avx512.mask.cvtps2dq.512", "masked"),
}
