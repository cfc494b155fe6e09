"""Planes side by side in one row: the last shuffle to an image of one channel, vector by vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from sesr_kernels.machine.emit import I32, I64, LANES, VECTOR_BYTES, Emitter, Value, kernel


def weave(planes: int) -> Callable[..., Any]:
    """Kernel that writes element i of plane p to place ``planes * i + p``.

    Parameters
    ----------
    planes : {2, 4}
        How many.

    Returns
    -------
    callable
        Called with a table of the planes' addresses, the target and the number of whole vectors
        in each plane, at least one.
    """

    def body(e: Emitter, **a: Value) -> None:
        sources = [e.integer(a["table"], I64(p)) for p in range(planes)]

        def step(i: Value, target: Value) -> list[Value]:
            offset = e.b.mul(i, I64(VECTOR_BYTES))
            vectors = _woven(e, [e.load(e.b.add(source, offset)) for source in sources])
            for j, vector in enumerate(vectors):
                e.store(vector, target, VECTOR_BYTES * j)
            return [e.at(target, VECTOR_BYTES * planes)]

        e.repeat(a["count"], [a["target"]], step)

    return kernel("table target count", body)


def _woven(e: Emitter, vectors: list[Value]) -> list[Value]:
    """One vector stays; even planes woven, then odd ones, are woven with each other."""
    if len(vectors) == 1:  # where the halving ends
        return vectors
    even, odd = _woven(e, vectors[::2]), _woven(e, vectors[1::2])
    return [part for x, y in zip(even, odd, strict=True) for part in _pair(e, x, y)]


def _pair(e: Emitter, x: Value, y: Value) -> list[Value]:
    """First and second half of x0 y0 x1 y1 ..."""
    # lanes of y count on from those of x
    places = [i // 2 + i % 2 * LANES for i in range(2 * LANES)]
    kind = ir.VectorType(I32, LANES)
    halves = (places[:LANES], places[LANES:])
    return [e.b.shuffle_vector(x, y, ir.Constant(kind, half)) for half in halves]
