"""Adam in one pass over its vectors; every operation and its rounding is the reference's."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_kernels.machine.compiled import compiled
from sesr_kernels.machine.emit import I64, LANES, VECTOR_BYTES, WORD, Emitter, Value, kernel

Array = npt.NDArray[Any]
AMSGRAD, AVERAGE = 1, 2


def _adam(e: Emitter, **a: Value) -> None:
    """Change `count` vectors of weights and of what is remembered of their gradients `d`."""
    first, second, epsilon, rate, memory = (
        e.splat(e.scalar(a["factors"], WORD * i)) for i in range(5)
    )

    def step(i: Value) -> list[Value]:
        offset = e.b.mul(i, I64(VECTOR_BYTES))

        def load(name: str) -> Value:
            return e.load(e.b.add(a[name], offset))

        def put(value: Value, name: str) -> Value:
            e.store(value, e.b.add(a[name], offset))
            return value

        def towards(name: str, goal: Value, share: Value) -> Value:
            old = load(name)
            return put(e.b.fadd(old, e.b.fmul(e.b.fsub(goal, old), share)), name)

        # AMSGrad divides by the largest square so far: a step never grows again
        def largest() -> list[Value]:
            old = load("largest")
            return [put(e.b.select(e.b.fcmp_ordered(">", old, square), old, square), "largest")]

        d = load("d")
        mean = towards("mean", d, first)
        square = towards("square", e.b.fmul(d, d), second)
        (power,) = e.choose(e.has(a["flags"], AMSGRAD), [square], largest)
        # a product after the quotient, as NumPy has it: another order would round otherwise
        change = e.b.fmul(e.b.fdiv(mean, e.b.fadd(e.sqrt(power), epsilon)), rate)
        weights = put(e.b.fsub(load("weights"), change), "weights")
        # without an average its address is that of the gradients, which are not to be written to
        with e.b.if_then(e.has(a["flags"], AVERAGE)):
            towards("average", weights, memory)
        return []

    e.repeat(a["count"], [], step)


_change = kernel("d weights mean square largest average factors count flags", _adam)


@compiled
def _run(places: Any, factors: int, count: int, flags: int) -> None:
    _change(places[0], places[1], places[2], places[3], places[4], places[5], factors, count, flags)


def adam(state: dict[str, Array], d: Array, factors: tuple[float, ...]) -> int:
    """Change the first whole vectors of weights by one step.

    Parameters
    ----------
    state : dict of (n,) arrays
        ``weights``, ``mean``, ``square``, and where wanted ``largest`` and ``average``; changed.
    d : (n,) array
        The gradients.
    factors : five floats
        1 - beta1, 1 - beta2, epsilon, the learning rate with its corrections, 1 - the average's
        decay.

    Returns
    -------
    int
        How many weights were changed; none where an array is not float32, contiguous, as long as
        the others and, in `state`, writable.
    """
    count = len(d) // LANES
    alike = all(x.dtype == np.float32 and x.shape == d.shape for x in (d, *state.values()))
    # the kernel loads whole vectors by address: what has other strides is left to NumPy
    if not (
        count and alike and d.flags.c_contiguous and all(x.flags.carray for x in state.values())
    ):
        return 0
    keys = ("weights", "mean", "square", "largest", "average")
    table = np.array(factors, np.float32)
    flags = AMSGRAD * ("largest" in state) + AVERAGE * ("average" in state)
    places = np.array([d.ctypes.data, *(state.get(key, d).ctypes.data for key in keys)], np.int64)
    _run(places, table.ctypes.data, count, flags)
    return count * LANES
