"""A tensor's axes as factors of the image axes they were made of.

Other people's graphs spell depth-to-space as Reshape, Transpose, Reshape and wrap NHWC models in
Transposes.  Followed symbolically, such chains are recognised exactly, whatever the image's size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

Shape4 = tuple[int, int, int, int]
"""Batch, channels, height, width."""


@dataclass(frozen=True)
class Factor:
    """The digit ``index // step % size`` of the index along one axis ("n", "c", "h" or "w").

    Axis "*" with step 0 is one along which everything repeats.
    """

    axis: str
    step: int
    size: int


Axis = tuple[Factor, ...]
"""Factors from the slowest to the fastest; none for a length of 1."""
Axes = tuple[Axis, ...]


def image_axes(shape: Shape4) -> Axes:
    """Axes of a plain NCHW tensor."""
    return tuple(_merged([Factor(a, 1, size)]) for a, size in zip("nchw", shape, strict=True))


def lengths(axes: Axes) -> tuple[int, ...]:
    """Shape of a tensor with such axes."""
    return tuple(math.prod(f.size for f in axis) for axis in axes)


def transposed(axes: Axes, order: Sequence[int]) -> Axes:
    """Axes after ``numpy.transpose(x, order)``."""
    return tuple(axes[i] for i in order)


def reshaped(axes: Axes, shape: Sequence[int]) -> Axes:
    """Axes after ``numpy.reshape(x, shape)``.

    Parameters
    ----------
    axes : Axes
        Of the tensor before.
    shape : sequence of int
        Positive lengths.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If an axis would hold a part of a factor that does not divide it.
    """
    pending = [factor for axis in axes for factor in axis][::-1]
    if math.prod(f.size for f in pending) != math.prod(shape):
        raise ValueError(f"a tensor of shape {lengths(axes)} has no shape {tuple(shape)}")
    return tuple(_take(pending, length) for length in shape)


def repeated(axis: Axis, count: int) -> Axis:
    """The axis so many times one after the other."""
    return _merged([Factor("*", 0, count), *axis])


def _take(pending: list[Factor], length: int) -> Axis:
    """Pop factors whose sizes multiply to `length`, splitting the last one."""
    taken: list[Factor] = []
    left = length
    while left > 1:
        factor = pending.pop()
        if left % factor.size == 0:
            taken.append(factor)
            left //= factor.size
        elif factor.size % left == 0:
            inner = factor.size // left
            taken.append(Factor(factor.axis, factor.step * inner, left))
            pending.append(Factor(factor.axis, factor.step, inner))
            left = 1
        else:
            raise ValueError(f"a length of {length} would tear an axis of {factor.size} apart")
    return _merged(taken)


def _merged(factors: Sequence[Factor]) -> Axis:
    merged: list[Factor] = []
    for f in factors:
        if f.size == 1:
            continue
        last = merged[-1] if merged else None
        if last and last.axis == f.axis and last.step == f.step * f.size:
            merged[-1] = Factor(f.axis, f.step, last.size * f.size)
        else:
            merged.append(f)
    return tuple(merged)


def order_of(axes: Axes, plain: Axes) -> tuple[int, ...] | None:
    """The order with ``axes == transposed(plain, order)``, NCHW first where several fit."""
    orders = permutations(range(4)) if len(axes) == 4 else iter(())
    return next((order for order in orders if axes == transposed(plain, order)), None)


def shuffle_of(axes: Axes, shape: Shape4) -> tuple[int, str, tuple[int, ...]] | None:
    """The depth-to-space that makes `axes` of a plain tensor.

    Parameters
    ----------
    axes : Axes
        Of the tensor after the chain.
    shape : (int, int, int, int)
        Of the plain NCHW tensor before it.

    Returns
    -------
    (block, mode, order) or None
        ``axes`` are those of depth_to_space(x, block, mode) transposed by `order`.
    """
    for block in range(2, math.isqrt(shape[1]) + 1):
        for mode in ("DCR", "CRD") if shape[1] % block**2 == 0 else ():
            order = order_of(axes, _shuffled(shape, block, mode))
            if order is not None:
                return block, mode, order
    return None


def _shuffled(shape: Shape4, block: int, mode: str) -> Axes:
    """Axes after depth-to-space of a plain tensor."""
    n, channels, height, width = shape
    features = channels // block**2
    row, column, depth = {
        "DCR": (block * features, features, 1),
        "CRD": (block, 1, block**2),
    }[mode]
    return (
        _merged([Factor("n", 1, n)]),
        _merged([Factor("c", depth, features)]),
        _merged([Factor("h", 1, height), Factor("c", row, block)]),
        _merged([Factor("w", 1, width), Factor("c", column, block)]),
    )
