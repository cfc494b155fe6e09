"""Winograd's algorithm along the vertical: four rows at once, F(4, 3) and F(4, 5).

Only rows are transformed, so the transforms are plain sums of rows and every tap along the width
stays a tap.  For each output column F(4, 3) takes 18 products instead of 36, F(4, 5) 40 instead
of 100.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016), section 4.1; the
points are 0, 1, -1, 2, -2, for five taps 1/2 and -1/2 as well, and infinity.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_kernels.description.packing import pack
from sesr_kernels.machine.emit import LANES, Emitter, Value

Array = npt.NDArray[Any]

GROUP, POINTS = 4, 6
"""Rows that are made at once, a group; its products with three taps, tap by tap."""
MOST_POINTS = 8
FINITE: dict[int, tuple[float, ...]] = {3: (0, 1, -1, 2, -2), 5: (0, 1, -1, 2, -2, 1 / 2, -1 / 2)}
"""Taps: the points but infinity.  With halves instead of larger numbers F(4, 5) keeps the error of
F(4, 3), about twice that of the direct sum."""
FARTHER = -(-(max(FINITE) - 1) // LANES)
"""Vectors that the taps of the last pixels reach to the right."""


@cache
def weight_transform(taps: int) -> Array:
    """(products, taps): the weights' polynomial at every point, over its Lagrange denominator."""
    points = FINITE[taps]
    rows = [
        [a**j / math.prod(a - other for other in points if other != a) for j in range(taps)]
        for a in points
    ]
    return np.array([*rows, [0.0] * (taps - 1) + [1.0]])


def packed_points(weight: Array, outs: int) -> Array:
    """(k, k, in, out) to (groups, products, in, k, outs)."""
    transform = weight_transform(len(weight))
    return pack(np.einsum("pi,ijco->pjco", transform, weight.astype(np.float64)), outs)


def three(e: Emitter, d: list[Value]) -> list[Value]:
    """Six rows to the six points of F(4, 3)."""
    two, four, five = e.constant(2.0), e.constant(4.0), e.constant(-5.0)
    minus_two, minus_four = e.constant(-2.0), e.constant(-4.0)
    even, odd = e.fma(d[2], minus_four, d[4]), e.fma(d[1], minus_four, d[3])
    wide, tall = e.b.fsub(d[4], d[2]), e.b.fsub(d[3], d[1])
    return [
        e.fma(d[0], four, e.fma(d[2], five, d[4])),
        e.b.fadd(even, odd),
        e.b.fsub(even, odd),
        e.fma(tall, two, wide),
        e.fma(tall, minus_two, wide),
        e.fma(d[1], four, e.fma(d[3], five, d[5])),
    ]


def five(e: Emitter, d: list[Value]) -> list[Value]:
    """Eight rows to the eight points of F(4, 5): polynomials with the other points as roots."""

    def polynomial(first: int, low: float, middle: float) -> Value:
        inner = e.fma(d[first + 2], e.constant(middle), d[first + 4])
        return e.b.fadd(inner, d[first]) if low == 1 else e.fma(d[first], e.constant(low), inner)

    def end(first: int) -> Value:
        near = e.b.fsub(d[first + 2], d[first + 4])
        return e.fma(near, e.constant(21 / 4), e.b.fsub(d[first + 6], d[first]))

    points = [end(0)]
    # points come in pairs of both signs, which share what is even and what is odd
    for point, low, middle in ((1.0, 1.0, -17 / 4), (2.0, 1 / 4, -5 / 4), (0.5, 4.0, -5.0)):
        even, odd = polynomial(2, low, middle), polynomial(1, low, middle)
        if point == 1:  # a product less
            points += [e.b.fadd(even, odd), e.b.fsub(even, odd)]
        else:
            points += [e.fma(odd, e.constant(s * point), even) for s in (1, -1)]
    return [*points, end(1)]


def four_rows(e: Emitter, m: list[Value], bias: Value) -> list[Value]:
    """Products to rows: row i is the sum of every point's, times the point to the power of i."""
    near, far = e.b.fadd(m[1], m[2]), e.b.fadd(m[3], m[4])
    near_odd, far_odd = e.b.fsub(m[1], m[2]), e.b.fsub(m[3], m[4])
    # every row has one of the two, so that the bias is added twice and not four times
    near, near_odd = e.b.fadd(near, bias), e.b.fadd(near_odd, bias)
    two, four, eight = (e.constant(power) for power in (2.0, 4.0, 8.0))
    values = [
        e.b.fadd(e.b.fadd(m[0], near), far),
        e.fma(far_odd, two, near_odd),
        e.fma(far, four, near),
        e.b.fadd(e.fma(far_odd, eight, near_odd), m[-1]),
    ]
    if len(m) > POINTS:  # five taps have those of 1/2 and -1/2 as well
        even, odd = e.b.fadd(m[5], m[6]), e.b.fsub(m[5], m[6])
        values = [
            e.fma(odd if i % 2 else even, e.constant(0.5**i), value)
            for i, value in enumerate(values)
        ]
    return values
