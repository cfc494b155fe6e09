"""Functions of each value alone, written once in vectors for all kernels that apply one.

`FUNCTIONS` has a row for each: what it computes, its gradient, and that of a learnt first number.
The kernels here hold one loop for every row; convolutions apply `prelu` and `relu` to their sums.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from sesr_kernels.machine.emit import I64, VECTOR_BYTES, Emitter, Value, kernel


def prelu(e: Emitter, x: Value, slope: Value, _: Value = None) -> Value:
    """``x if x > 0 else slope * x``; a NaN stays."""
    return e.b.select(e.above(x, e.constant(0.0)), x, e.b.fmul(x, slope))


def prelu_vjp(e: Emitter, dy: Value, x: Value, slope: Value, _: Value = None) -> Value:
    """``dy if x > 0 else slope * dy``."""
    return e.b.select(e.above(x, e.constant(0.0)), dy, e.b.fmul(dy, slope))


def below_zero(e: Emitter, x: Value, _: Value = None, __: Value = None) -> Value:
    """Derivative of `prelu` with respect to its slope."""
    zero = e.constant(0.0)
    return e.b.select(e.above(x, zero), zero, x)


def relu(e: Emitter, x: Value, _: Value = None, __: Value = None) -> Value:
    """``max(x, 0)``; a NaN stays."""
    zero = e.constant(0.0)
    return e.b.select(e.below(x, zero), zero, x)


def _affine(e: Emitter, x: Value, factor: Value, offset: Value) -> Value:
    # two roundings, as the reference has; the interpreter's product is no fused one
    return e.b.fadd(e.b.fmul(x, factor), offset)


def _affine_vjp(e: Emitter, dy: Value, x: Value, factor: Value, offset: Value) -> Value:
    return e.b.fmul(dy, factor)


def _clip(e: Emitter, x: Value, low: Value, high: Value) -> Value:
    # compared in this order a NaN stays
    return e.b.select(e.below(x, low), low, e.b.select(e.above(x, high), high, x))


def _clip_vjp(e: Emitter, dy: Value, x: Value, low: Value, high: Value) -> Value:
    # the comparisons are false for a NaN, which has no gradient
    inside = e.b.and_(e.b.fcmp_ordered("<=", low, x), e.b.fcmp_ordered("<=", x, high))
    return e.b.select(inside, dy, e.constant(0.0))


TO_INTEGERS = 1.5 * 2.0**23
"""Added and taken away again, it leaves the nearest integer, halves to even."""


class _Grid:
    """Rounding to integers of so many bits: the first number is the scale, the second the zero."""

    def __init__(self, bits: int) -> None:
        self.low, self.high = -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1

    def _codes(self, e: Emitter, x: Value, scale: Value, zero: Value) -> tuple[Value, Value]:
        """The nearest integer of the grid less the zero, and the same before it is clipped."""
        one, large = e.constant(1.0), e.constant(TO_INTEGERS)
        low, high = (e.b.fsub(e.constant(end), zero) for end in (self.low, self.high))
        # at most one beyond the ends, where the sum with a large number is still exact
        near = _clip(e, e.b.fdiv(x, scale), e.b.fsub(low, one), e.b.fadd(high, one))
        rounded = e.b.fsub(e.b.fadd(near, large), large)
        return _clip(e, rounded, low, high), rounded

    def forward(self, e: Emitter, x: Value, scale: Value, zero: Value) -> Value:
        """The value that the integer stands for."""
        return e.b.fmul(self._codes(e, x, scale, zero)[0], scale)

    def vjp(self, e: Emitter, dy: Value, x: Value, scale: Value, zero: Value) -> Value:
        """Straight through, but for what is beyond the ends."""
        code, rounded = self._codes(e, x, scale, zero)
        return e.b.select(e.b.fcmp_ordered("==", code, rounded), dy, e.constant(0.0))

    def by_log_scale(self, e: Emitter, x: Value, scale: Value, zero: Value) -> Value:
        """How far rounding moves a value; of one beyond the ends, the end itself."""
        code, rounded = self._codes(e, x, scale, zero)
        inside = e.b.fcmp_ordered("==", code, rounded)
        return e.b.fsub(e.b.fmul(code, scale), e.b.select(inside, x, e.constant(0.0)))

    def function(self) -> Function:
        """Its row."""
        return Function(self.forward, self.vjp, self.by_log_scale)


class Function(NamedTuple):
    """A function of a value and two numbers of its channel.

    ``forward(e, x, first, second)``; ``vjp(e, dy, x, first, second)`` is the gradient of `x`;
    ``by_first(e, x, first, second)`` the derivative with respect to what is learnt of the first
    number, where anything is.
    """

    forward: Callable[..., Value]
    vjp: Callable[..., Value]
    by_first: Callable[..., Value] | None = None


FUNCTIONS: dict[str, Function] = {
    "prelu": Function(prelu, prelu_vjp, below_zero),
    "relu": Function(relu, prelu_vjp, below_zero),  # gradients as of a slope of 0
    "affine": Function(_affine, _affine_vjp),
    "clip": Function(_clip, _clip_vjp),
    "grid8": _Grid(8).function(),
    "grid16": _Grid(16).function(),
}
"""Name, as `description.pointwise` has it: the function."""
NUMBER = {name: i for i, name in enumerate(FUNCTIONS)}
"""By which operands state a function."""


def _every_function(e: Emitter, which: Value, body: Callable[[Function], None]) -> None:
    """Emit `body` for every function; the one with the number `which` is run."""
    e.switch(which, {NUMBER[name]: partial(body, row) for name, row in FUNCTIONS.items()})


def _pointwise(e: Emitter, **a: Value) -> None:
    """``y = f(x)`` for `count` vectors of a channel; `first` and `second` are addresses."""
    numbers = [e.splat(e.scalar(a[name])) for name in ("first", "second")]

    # the choice is outside of the loop: which function it is costs nothing a pixel
    def apply(function: Function) -> None:
        def step(i: Value) -> list[Value]:
            offset = e.b.mul(i, I64(VECTOR_BYTES))
            x = e.load(e.b.add(a["x"], offset))
            e.store(function.forward(e, x, *numbers), e.b.add(a["y"], offset))
            return []

        e.repeat(a["count"], [], step)

    _every_function(e, a["function"], apply)


pointwise = kernel("function x first second count y", _pointwise)


def _pointwise_vjp(e: Emitter, **a: Value) -> None:
    """Gradient of `pointwise`; adds that of a learnt first number to the partial sums `sums`."""
    numbers = [e.splat(e.scalar(a[name])) for name in ("first", "second")]

    def apply(function: Function) -> None:
        by_first = function.by_first

        def step(i: Value, *totals: Value) -> list[Value]:
            offset = e.b.mul(i, I64(VECTOR_BYTES))
            dy, x = (e.load(e.b.add(a[name], offset)) for name in ("dy", "x"))
            e.store(function.vjp(e, dy, x, *numbers), e.b.add(a["dx"], offset))
            return (
                [e.fma(dy, by_first(e, x, *numbers), total) for total in totals] if by_first else []
            )

        # nothing is learnt of the other functions: they have no sums, and `sums` is no address
        for total in e.repeat(a["count"], [e.load(a["sums"])] if by_first else [], step):
            e.store(total, a["sums"])

    _every_function(e, a["function"], apply)


pointwise_vjp = kernel("function dy x first second count dx sums", _pointwise_vjp)
