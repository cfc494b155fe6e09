"""Compose a body of linear layers into one kernel and one bias; gradients of its parameters.

The same walk serves every arithmetic: floats for training and collapse, sums in a fixed order and
fractions for verification (`Arithmetic`), magnitudes for error bounds (`magnitudes`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from sesr_ref import network as nw
from sesr_ref.layers.composite import INPUT, Facts, steps
from sesr_ref.linear.joints import JOINTS, Map, added, widened
from sesr_ref.linear.numbers import (
    LIKE,
    NUMBERS,
    Affine,
    NumbersRule,
    Params,
    Taps,
    Values,
    dense,
    diagonal_blocks,
)


@dataclass(frozen=True)
class Arithmetic:
    """How sums of products are computed: ``product(left, right)`` over left's last axis."""

    product: Callable[[Values, Values], Values]


FLOAT = Arithmetic(np.matmul)


class Planned(NamedTuple):
    """One layer of a body, the tensors that it reads, and its parameters' short and full names."""

    layer: nw.Layer
    inputs: tuple[str, ...]
    sources: tuple[Facts, ...]
    keys: tuple[tuple[str, str], ...]
    rule: NumbersRule | None


class BodyPlan(NamedTuple):
    """How to compose a body: its layers, and the tensors whose kernels the gradients need."""

    steps: tuple[Planned, ...]
    read: frozenset[str]


@lru_cache(maxsize=512)
def plan_of(block: nw.Linear, channels: int) -> BodyPlan:
    """BodyPlan how to compose a block; done once, since every training step needs it."""
    known, planned, own = block.tensors(channels), [], dict[str, str]()
    for key, theirs in block.keys.items():
        own[theirs] = key
    for layer, inputs in steps(block.body):
        sources = tuple(known[name] for name in inputs)
        keys = tuple(layer.param_shapes(*(source.channels for source in sources)))
        named = tuple((key, own.get(full := f"{layer.name}.{key}", full)) for key in keys)
        planned.append(Planned(layer, inputs, sources, named, NUMBERS.get(type(layer))))
    return BodyPlan(tuple(planned), _read(planned))


def _read(planned: Sequence[Planned]) -> frozenset[str]:
    """Tensors that layers with numbers read, and those that they are computed from."""
    read: set[str] = set()
    for step in reversed(planned):
        if step.rule is not None or step.layer.name in read:
            read.update(step.inputs)
    return frozenset(read)


class Step(NamedTuple):
    """A planned layer with its parameters, and the numbers it computes with."""

    planned: Planned
    own: Params
    numbers: Taps | Affine | None


def numbers_of(block: nw.Linear, channels: int, params: Params, like: Values) -> list[Step]:
    """Turn every layer of a composite into numbers, in the arithmetic of the array `like`."""
    found = []
    for planned in plan_of(block, channels).steps:
        own = {key: params[full] for key, full in planned.keys}
        own[LIKE] = like
        rule, numbers = planned.rule, None
        if rule is not None:
            numbers = rule.numbers(planned.layer, own, planned.sources[0].channels)
        found.append(Step(planned, own, numbers))
    return found


def compose(
    block: nw.Linear, channels: int, walk: Sequence[Step], like: Values, arithmetic: Arithmetic
) -> Map:
    """Compose the kernel and the bias of a body.

    Parameters
    ----------
    block : Linear
        The composite.
    channels : int
        Channels of its input.
    walk : sequence of Step
        From `numbers_of`.
    like : array
        Its dtype is the result's.
    arithmetic : Arithmetic
        How sums of products are computed.

    Returns
    -------
    Map
        With a kernel of (rows, columns, in, out), and a bias if the body has one.

    Notes
    -----
    Bhardwaj et al. (MLSys 2022), Algorithms 1 and 2, compute the same for SESR's block from the
    response to an impulse; here kernels are composed in closed form.
    """
    last = _maps(walk, channels, like, arithmetic)[block.body[-1].name]
    return last if last.kernel is not None else Map(_identity(channels, like), last.bias)


def compose_vjp(
    block: nw.Linear, channels: int, params: Params, dkernel: Values, dbias: Values | None
) -> Params:
    """Compute the gradients of a composite's parameters from those of the result of `compose`.

    Parameters
    ----------
    block, channels
        As given to `compose`.
    params : dict of arrays
        The block's parameters by their short names.
    dkernel : (rows, columns, in, out) array
        Gradient of the kernel; the gradients have its dtype.
    dbias : (out,) array or None
        Gradient of the bias.

    Returns
    -------
    dict of arrays
        Keyed as `params`; zeros for a BatchNorm's stored statistics.
    """
    walk, read = numbers_of(block, channels, params, dkernel), plan_of(block, channels).read
    maps = _maps(walk, channels, dkernel, FLOAT, read)
    grads: dict[str, Map] = {block.body[-1].name: Map(dkernel, dbias)}
    out: Params = {}
    for step in reversed(walk):
        planned = step.planned
        if (d := grads.pop(planned.layer.name, None)) is None:
            continue  # nothing reads this tensor
        own, dsources = _step_vjp(step, maps, d, channels)
        out |= {full: own[key] for key, full in planned.keys if key in own}
        for name, dsource in zip(planned.inputs, dsources, strict=True):
            if name != INPUT and dsource.kernel is not None:
                grads[name] = added([grads[name], dsource]) if name in grads else dsource
    return {name: out[name] if name in out else np.zeros_like(a) for name, a in params.items()}


def _maps(
    walk: Sequence[Step],
    channels: int,
    like: Values,
    arithmetic: Arithmetic,
    wanted: Collection[str] | None = None,
) -> dict[str, Map]:
    """Express every tensor of a body, or those wanted, as a function of its input."""
    maps = {INPUT: Map(None, None)}
    for step in walk:
        if wanted is None or step.planned.layer.name in wanted:
            sources = [maps[name] for name in step.planned.inputs]
            maps[step.planned.layer.name] = _step(step, sources, channels, like, arithmetic)
    return maps


def _step(
    step: Step, sources: list[Map], channels: int, like: Values, arithmetic: Arithmetic
) -> Map:
    layer, numbers = step.planned.layer, step.numbers
    if isinstance(numbers, Taps):
        return _through_taps(sources[0], numbers, arithmetic)
    whole = [s if s.kernel is not None else Map(_identity(channels, like), s.bias) for s in sources]
    if isinstance(numbers, Affine):
        return _through_affine(whole[0], numbers)
    return JOINTS[type(layer)].forward(layer, whole)


def _through_affine(source: Map, affine: Affine) -> Map:
    assert source.kernel is not None
    kernel, bias = source.kernel * affine.factor, affine.shift
    if source.bias is not None:
        scaled = source.bias * affine.factor
        bias = scaled if bias is None else scaled + bias
    return Map(kernel, bias)


def _through_taps(source: Map, taps: Taps, arithmetic: Arithmetic) -> Map:
    """Convolve a tensor: kernels are convolved, a constant is multiplied by the sum of taps."""
    weight, bias = taps
    if source.kernel is None:
        return Map(weight, bias)
    kernel = _convolved(source.kernel, weight, arithmetic)
    if source.bias is not None:
        carried = arithmetic.product(source.bias, _sum_of_taps(weight))
        bias = carried if bias is None else carried + bias
    return Map(kernel, bias)


def _convolved(first: Values, second: Values, arithmetic: Arithmetic) -> Values:
    rows, columns = second.shape[:2]
    if (rows, columns) == (1, 1):
        return arithmetic.product(first, second[0, 0])
    height, width = first.shape[:2]
    shape = (height + rows - 1, width + columns - 1, first.shape[2], second.shape[3])
    kernel = np.zeros(shape, np.result_type(first, second))
    for i in range(rows):
        for j in range(columns):
            part = arithmetic.product(first, second[i, j])
            kernel[i : i + height, j : j + width] += part
    return kernel


def _sum_of_taps(weight: Values) -> Values:
    """In a fixed order, whatever the arithmetic."""
    taps: Values = weight.reshape(-1, *weight.shape[2:])
    total: Values = taps[0]
    for tap in taps[1:]:
        total = total + tap
    return total


def _step_vjp(
    step: Step, maps: Mapping[str, Map], d: Map, channels: int
) -> tuple[Params, list[Map]]:
    (layer, inputs, facts_of_sources, _, rule), numbers = step.planned, step.numbers
    if rule is None:
        return {}, JOINTS[type(layer)].vjp(layer, facts_of_sources, d)
    source = maps[inputs[0]]
    if isinstance(numbers, Taps):
        dtaps, dsource = _through_taps_vjp(source, numbers, d)
        return rule.vjp(layer, step.own, dtaps), [dsource]
    assert isinstance(numbers, Affine)
    daffine, dsource = _through_affine_vjp(source, numbers, d, channels)
    return rule.vjp(layer, step.own, daffine), [dsource]


def _through_affine_vjp(source: Map, affine: Affine, d: Map, channels: int) -> tuple[Affine, Map]:
    """Gradients of the factors and shifts, and of the tensor that they change."""
    assert d.kernel is not None
    kernel = _identity(channels, d.kernel) if source.kernel is None else source.kernel
    dfactor = (d.kernel * kernel).sum((0, 1, 2))
    if d.bias is not None and source.bias is not None:
        dfactor = dfactor + d.bias * source.bias
    dbias = None if d.bias is None else d.bias * affine.factor
    return Affine(dfactor, d.bias), Map(d.kernel * affine.factor, dbias)


def _through_taps_vjp(source: Map, taps: Taps, d: Map) -> tuple[Taps, Map]:
    """Gradients of the taps and of the tensor that they read."""
    assert d.kernel is not None
    weight = taps.weight
    if source.kernel is None:
        return Taps(d.kernel, d.bias), Map(None, None)
    dfirst, dsecond = _convolved_vjp(d.kernel, source.kernel, weight)
    dbias = None if d.bias is None else _sum_of_taps(weight) @ d.bias
    if d.bias is not None and source.bias is not None:
        dsecond = dsecond + np.outer(source.bias, d.bias)
    return Taps(dsecond, d.bias), Map(dfirst, dbias)


def _convolved_vjp(dkernel: Values, first: Values, second: Values) -> tuple[Values, Values]:
    # tap by tap: products this small stay on one thread and leave no BLAS thread spinning
    rows, columns = second.shape[:2]
    height, width = first.shape[:2]
    swapped = first.swapaxes(2, 3)
    if (rows, columns) == (1, 1):
        return dkernel @ second[0, 0].T, (swapped @ dkernel).sum((0, 1))[None, None]
    dfirst, dsecond = np.zeros_like(first), np.empty_like(second)
    for i in range(rows):
        for j in range(columns):
            part = dkernel[i : i + height, j : j + width]
            dfirst += part @ second[i, j].T
            dsecond[i, j] = (swapped @ part).sum((0, 1))
    return dfirst, dsecond


def _identity(channels: int, like: Values) -> Values:
    return np.eye(channels, dtype=like.dtype)[None, None]


def collapse_body(
    block: nw.Linear,
    channels: int,
    params: Params,
    arithmetic: Arithmetic = FLOAT,
    like: Values | None = None,
) -> Params:
    """Compute weight and bias of the convolution that a composite equals.

    Parameters
    ----------
    block : Linear
        A composite.
    channels : int
        Channels of its input.
    params : dict of arrays
        The block's parameters by their short names.
    arithmetic : Arithmetic
        How sums of products are computed.
    like : array, optional
        If the composite has no parameters, the result has the dtype of this array.

    Returns
    -------
    dict of arrays
        ``weight`` and, if it has one, ``bias``, as `sesr_ref.collapsed` describes them.
    """
    found = block.facts(channels)
    like = _any_of(params) if params or like is None else like
    walk = numbers_of(block, channels, params, like)
    kernel, bias = compose(block, channels, walk, like, arithmetic)
    return _convolution(found, kernel, bias)


def _convolution(found: Facts, kernel: Values | None, bias: Values | None) -> Params:
    """Turn a map into a convolution's weight and bias: full size, split into groups."""
    assert kernel is not None
    whole = kernel if kernel.shape[:2] == found.sides else widened(kernel, found.sides)
    weight = diagonal_blocks(whole, found.groups)
    return {"weight": weight} | ({} if bias is None else {"bias": bias})


def collapse_body_vjp(block: nw.Linear, channels: int, params: Params, d: Params) -> Params:
    """Compute the gradients of a composite's parameters from those of its collapsed convolution.

    Parameters
    ----------
    block, channels, params
        As given to `collapse_body`.
    d : dict of arrays
        Keyed like the result of `collapse_body`.

    Returns
    -------
    dict of arrays
        Keyed as `params`.
    """
    kernel = dense(d["weight"], block.facts(channels).groups)
    return compose_vjp(block, channels, params, kernel, d.get("bias"))


def _any_of(params: Params) -> Values:
    return next(iter(params.values()), np.zeros(1))


def magnitudes(block: nw.Linear, channels: int, params: Params, power: int) -> Params:
    """Sum the magnitudes, to a power, of all products in a composite's collapse.

    Parameters
    ----------
    block, channels
        As for `collapse_body`.
    params : dict of float64 arrays
        The block's parameters by their short names.
    power : {1, 2}
        1 for absolute values, 2 for squares.

    Returns
    -------
    dict of arrays
        Keyed and shaped like the result of `collapse_body`.
    """
    like = _any_of(params)
    walk = [
        step._replace(numbers=_powered(step.numbers, power))
        for step in numbers_of(block, channels, params, like)
    ]
    return _convolution(block.facts(channels), *compose(block, channels, walk, like, FLOAT))


def _powered(numbers: Taps | Affine | None, power: int) -> Taps | Affine | None:
    if numbers is None:
        return None
    first, second = (a if a is None else np.abs(a) ** power for a in numbers)
    assert first is not None
    return type(numbers)(first, second)


def roundings(block: nw.Linear, channels: int) -> int:
    """Largest number of roundings in one value of a composite's collapsed convolution."""
    known, count = block.tensors(channels), 0
    for layer, inputs in steps(block.body):
        source = known[inputs[0]]
        if isinstance(layer, (nw.Conv, nw.Stencil)) and inputs[0] != INPUT:
            rows, columns = layer.sides
            count += rows * columns * source.channels
        count += 1 + len(inputs)
    return count
