"""Linear kinds that only join or cut tensors: what they do to kernels, and the gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from sesr_ref import network as nw
from sesr_ref.layers.composite import Facts
from sesr_ref.linear.numbers import Values


class Map(NamedTuple):
    """A tensor of a body as a function of its input: kernel (rows, columns, in, out) and bias.

    If the kernel is None, the tensor is the input itself; if the bias is None, it has no bias.
    """

    kernel: Values | None
    bias: Values | None


class Joint(NamedTuple):
    """How a kind joins or cuts tensors, and their gradients, given the facts about them."""

    forward: Callable[[Any, list[Map]], Map]
    vjp: Callable[[Any, Sequence[Facts], Map], list[Map]]


def added(maps: list[Map]) -> Map:
    """Sum maps whose kernels have several sizes and one middle, in order."""
    kernels = [m.kernel for m in maps if m.kernel is not None]
    shape = tuple(max(kernel.shape[axis] for kernel in kernels) for axis in (0, 1))
    total = widened(kernels[0], shape)
    for kernel in kernels[1:]:
        total[_middle(total.shape, kernel.shape)] += kernel
    biases = [m.bias for m in maps if m.bias is not None]
    return Map(total, sum(biases[1:], biases[0]) if biases else None)


def widened(kernel: Values, shape: tuple[int, ...]) -> Values:
    """Copy a kernel into the middle of zeros."""
    if kernel.shape[:2] == shape:
        return kernel.copy()
    wide = np.zeros((*shape, *kernel.shape[2:]), kernel.dtype)
    wide[_middle(wide.shape, kernel.shape)] = kernel
    return wide


def _middle(outer: tuple[int, ...], inner: tuple[int, ...]) -> tuple[slice, slice]:
    top, left = (outer[0] - inner[0]) // 2, (outer[1] - inner[1]) // 2
    return slice(top, top + inner[0]), slice(left, left + inner[1])


def _added_vjp(layer: nw.Add, sources: Sequence[Facts], d: Map) -> list[Map]:
    assert d.kernel is not None
    return [Map(d.kernel[_middle(d.kernel.shape, s.sides)], d.bias) for s in sources]


def _concat(layer: nw.Concat, maps: list[Map]) -> Map:
    kernels = [m.kernel for m in maps if m.kernel is not None]
    shape = tuple(max(kernel.shape[axis] for kernel in kernels) for axis in (0, 1))
    kernel = np.concatenate([widened(k, shape) for k in kernels], axis=3)
    if all(m.bias is None for m in maps):
        return Map(kernel, None)
    pairs = zip(maps, kernels, strict=True)
    zeros = [np.zeros(k.shape[3], k.dtype) if m.bias is None else m.bias for m, k in pairs]
    return Map(kernel, np.concatenate(zeros))


def _concat_vjp(layer: nw.Concat, sources: Sequence[Facts], d: Map) -> list[Map]:
    assert d.kernel is not None
    found, start = [], 0
    for source in sources:
        stop = start + source.channels
        part = d.kernel[_middle(d.kernel.shape, source.sides)][..., start:stop]
        found.append(Map(part, None if d.bias is None else d.bias[start:stop]))
        start = stop
    return found


def _slice(layer: nw.Slice, maps: list[Map]) -> Map:
    kernel, bias = maps[0]
    assert kernel is not None
    part = slice(layer.start, layer.stop)
    return Map(kernel[..., part], None if bias is None else bias[part])


def _slice_vjp(layer: nw.Slice, sources: Sequence[Facts], d: Map) -> list[Map]:
    assert d.kernel is not None
    count = sources[0].channels
    whole = np.zeros((*d.kernel.shape[:3], count), d.kernel.dtype)
    whole[..., layer.start : layer.stop] = d.kernel
    if d.bias is None:
        return [Map(whole, None)]
    bias = np.zeros(count, d.bias.dtype)
    bias[layer.start : layer.stop] = d.bias
    return [Map(whole, bias)]


JOINTS: dict[type[nw.Layer], Joint] = {
    nw.Add: Joint(lambda layer, maps: added(maps), _added_vjp),
    nw.Concat: Joint(_concat, _concat_vjp),
    nw.Slice: Joint(_slice, _slice_vjp),
}
"""Linear kinds that only join or cut tensors."""
