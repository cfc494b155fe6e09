"""A few words for writing LLVM vector code from Python.

Addresses are plain integers in bytes, so that a kernel's arguments are what ``array.ctypes.data``
gives.  Sums keep the order in which they are written: no fast-math flag is ever set.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from sesr_kernels.machine.host import HOST

LANES = HOST.lanes
WORD = 4
VECTOR_BYTES = LANES * WORD
F32, I32, I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
VECTOR = ir.VectorType(F32, LANES)

Value = Any  # llvmlite's values are untyped
Body = Callable[..., None]


class Emitter:
    """Wraps an llvmlite builder at the place where an intrinsic's code goes."""

    def __init__(self, builder: Value) -> None:
        self.b = builder

    def at(self, address: Value, offset: int) -> Value:
        """`address` plus a constant number of bytes."""
        return self.b.add(address, I64(offset)) if offset else address

    def load(self, address: Value, offset: int = 0) -> Value:
        """Load an unaligned vector."""
        pointer = self.b.inttoptr(self.at(address, offset), VECTOR.as_pointer())
        return self.b.load(pointer, align=WORD)

    def store(self, value: Value, address: Value, offset: int = 0) -> None:
        """Store an unaligned vector."""
        pointer = self.b.inttoptr(self.at(address, offset), VECTOR.as_pointer())
        self.b.store(value, pointer, align=WORD)

    def integer(self, address: Value, index: Value) -> Value:
        """Element `index` of a table of int64."""
        return self.b.load(self.b.gep(self.b.inttoptr(address, I64.as_pointer()), [index]))

    def scalar(self, address: Value, offset: int = 0) -> Value:
        """Load one float."""
        return self.b.load(self.b.inttoptr(self.at(address, offset), F32.as_pointer()))

    def put(self, value: Value, address: Value, offset: int = 0) -> None:
        """Store one float."""
        self.b.store(value, self.b.inttoptr(self.at(address, offset), F32.as_pointer()))

    def splat(self, value: Value) -> Value:
        """Copy one float to every lane."""
        undefined = ir.Constant(VECTOR, ir.Undefined)
        zeros = ir.Constant(ir.VectorType(I32, LANES), [0] * LANES)
        return self.b.shuffle_vector(
            self.b.insert_element(undefined, value, I32(0)), undefined, zeros
        )

    def constant(self, value: float) -> Value:
        """Return a vector of one constant."""
        return ir.Constant(VECTOR, [value] * LANES)

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """``a * b + c``, rounded once where the target can."""
        if not HOST.fused:  # LLVM would call a library's function for each lane
            return self.b.fadd(self.b.fmul(a, b), c)
        kind = ir.FunctionType(VECTOR, [VECTOR] * 3)
        name = f"llvm.fma.v{LANES}f32"
        declare: Any = cgutils.get_or_insert_function
        return self.b.call(declare(self.b.module, kind, name), [a, b, c])

    def sqrt(self, value: Value) -> Value:
        """Square root of every lane, rounded as IEEE 754 asks."""
        kind = ir.FunctionType(VECTOR, [VECTOR])
        declare: Any = cgutils.get_or_insert_function
        return self.b.call(declare(self.b.module, kind, f"llvm.sqrt.v{LANES}f32"), [value])

    def total(self, vector: Value) -> Value:
        """Sum of the lanes, always from the first to the last."""
        lanes = [self.b.extract_element(vector, I32(i)) for i in range(LANES)]
        result = lanes[0]
        for lane in lanes[1:]:
            result = self.b.fadd(result, lane)
        return result

    def repeat(
        self, count: Value, state: Sequence[Value], body: Callable[..., Sequence[Value]]
    ) -> list[Value]:
        """Run ``state = body(i, *state)`` for i in range(count), at least once."""
        before, loop = self.b.block, self.b.append_basic_block("loop")
        after = self.b.append_basic_block("after")
        self.b.branch(loop)
        self.b.position_at_end(loop)
        index, *phis = (self.b.phi(kind) for kind in (I64, *(s.type for s in state)))
        for phi, value in zip((index, *phis), (I64(0), *state), strict=True):
            phi.add_incoming(value, before)
        results = body(index, *phis)
        following, end = self.b.add(index, I64(1)), self.b.block
        for phi, value in zip((index, *phis), (following, *results), strict=True):
            phi.add_incoming(value, end)
        self.b.cbranch(self.b.icmp_signed("<", following, count), loop, after)
        self.b.position_at_end(after)
        return list(results)

    def choose(
        self, condition: Value, values: Sequence[Value], body: Callable[[], Sequence[Value]]
    ) -> list[Value]:
        """What `body` gives where `condition` holds at run time, else `values`."""
        before = self.b.block
        with self.b.if_then(condition):
            results = body()
            end = self.b.block
        # values, not memory: what is chosen stays in registers
        phis = [self.b.phi(value.type) for value in values]
        for phi, yes, no in zip(phis, results, values, strict=True):
            phi.add_incoming(yes, end)
            phi.add_incoming(no, before)
        return phis

    def switch(self, value: Value, bodies: Mapping[int, Callable[[], None]]) -> None:
        """Run the body of the key that `value` is at run time; it must be one of them."""
        if len(bodies) == 1:  # as on processors whose thin blocks are the whole ones
            (body,) = bodies.values()
            body()
            return
        other, after = (self.b.append_basic_block(name) for name in ("other", "after"))
        choice = self.b.switch(value, other)
        for key, body in bodies.items():
            block = self.b.append_basic_block("case")
            choice.add_case(I64(key), block)
            self.b.position_at_end(block)
            body()
            self.b.branch(after)
        # lets the compiler drop the comparison of the last case
        self.b.position_at_end(other)
        self.b.unreachable()
        self.b.position_at_end(after)

    def above(self, x: Value, y: Value) -> Value:
        """Lanes in which ``x > y``; not so where either is a NaN."""
        return self.b.fcmp_ordered(">", x, y)

    def below(self, x: Value, y: Value) -> Value:
        """Lanes in which ``x < y``; not so where either is a NaN."""
        return self.b.fcmp_ordered("<", x, y)

    def has(self, flags: Value, flag: int) -> Value:
        """Whether `flag` is set."""
        return self.b.icmp_signed("!=", self.b.and_(flags, I64(flag)), I64(0))


def kernel(names: str, body: Body, emitter: type[Emitter] = Emitter) -> Callable[..., Any]:
    """Make an intrinsic of `body`, called as ``body(emitter, **arguments)``.

    Parameters
    ----------
    names : str
        The arguments, separated by spaces; all are int64.
    body : callable
        Emits the code.
    emitter : type
        What writes it.

    Returns
    -------
    callable
        For use inside njit functions, with arguments in order or by name; returns nothing.
    """
    arguments = names.split()

    def code(typing_context: Any, *kinds: Any, **named: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            body(emitter(builder), **dict(zip(arguments, values, strict=True)))
            return context.get_dummy_value()

        return types.void(*[types.intp] * len(arguments)), generate

    # Numba reads the number of arguments off the signature
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    named = [inspect.Parameter(name, positional) for name in ("typing_context", *arguments)]
    code.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]
    return intrinsic(code)
