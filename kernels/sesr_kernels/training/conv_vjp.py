"""Convolutions in a training program: the gradients of their weights and inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sesr_kernels.blocks.convolve import AFTER, OUTS
from sesr_kernels.blocks.rows import COLUMNS
from sesr_kernels.blocks.winograd_rows import ACTIVATED
from sesr_kernels.description.packing import round_up, transposed
from sesr_kernels.description.phases import phase_weight_vjp
from sesr_kernels.machine.host import HOST
from sesr_kernels.training import step
from sesr_kernels.training.conv import (
    ACTIVATIONS,
    Array,
    Params,
    conv_kind,
    conv_spec,
    place_weight,
)
from sesr_kernels.training.program import Program
from sesr_kernels.training.winograd import LONG_LINE, PITCH


def conv_vjp(p: Program, layer: Any, inputs: tuple[str, ...]) -> None:
    """Gradients of the weight and, where something trained lies before it, of the input."""
    size, phases, weight = conv_spec(layer)
    (x,) = inputs
    channels, features = p.channels[x], layer.features * phases
    dy = p.gradients.pop(layer.name)
    outs = HOST.blocks(features)
    groups, columns = -(-features // outs), -(-(channels * size * size + 1) // COLUMNS)
    unpack = _unpack_weight(layer, size, channels, features, groups, columns)
    result = p.plan.reserve(groups * columns * outs * COLUMNS, unpack)
    if conv_kind(p, size, channels, features) == step.WINOGRAD:
        first = _shifts(p, _band_shifts(p, channels, size))
        p.emit(step.WINOGRAD_CORRELATE, dy, p.tensors[x], groups, first, columns, result,
               size, channels, p.plan.ones, outs, p.lazy.get(x, -1))  # fmt: skip
    else:
        first = _shifts(p, _plane_shifts(p, x, size))
        p.emit(step.CORRELATE, dy, p.tensors[x], groups, first, columns, result, outs)
    if p.trained[x]:
        _input_gradient(p, layer, x, dy, size, features, weight)
    p.plan.release(dy, features)


def _shifts(p: Program, shifts: list[int]) -> int:
    """Place of a table of inputs' offsets, filled up to whole blocks."""
    first = len(p.plan.shifts)
    p.plan.shifts += shifts + shifts[-1:] * (-len(shifts) % COLUMNS)
    return first


def _plane_shifts(p: Program, x: str, size: int) -> list[int]:
    """Offsets of a weight gradient's inputs: channel by channel, tap by tap, then ones."""
    pitch, half = int(p.plan.geometry[PITCH]), size // 2
    shifts = [
        c * p.plan.plane_bytes + 4 * ((i - half) * pitch + j - half)
        for c in range(p.channels[x]) for i in range(size) for j in range(size)
    ]  # fmt: skip
    return [*shifts, p.plan.ones - p.tensors[x]]


def _band_shifts(p: Program, channels: int, size: int) -> list[int]:
    """Those of one point in a band: channel by channel, column by column."""
    line = int(p.plan.geometry[LONG_LINE])
    return [4 * (c * line + j) for c in range(channels) for j in range(size)]


def _input_gradient(
    p: Program,
    layer: Any,
    x: str,
    dy: int,
    size: int,
    features: int,
    weight: Callable[[Params], Array],
) -> None:
    channels = p.channels[x]
    outs, every = HOST.blocks(channels), round_up(channels, OUTS)
    groups = -(-channels // outs)
    kind, packed = place_weight(
        p, size, features, channels, lambda params: transposed(weight(params))
    )
    bias = p.plan.pack(every, lambda params: np.zeros(every, np.float32))
    flags, slope, seen, result = AFTER if x in p.gradients else 0, bias, 0, 0
    target = p.gradients.setdefault(x, -1)
    if target < 0:
        target = p.gradients[x] = p.plan.allocate(channels)
    if kind == step.WINOGRAD:
        if (before := _activation_before(p, layer, x)) is not None:
            p.fused_vjp.add(x)
            flags |= ACTIVATED
            slope, _ = p.slopes[x]
            seen, result = p.kept[x], slope_sums(p, before, channels)
        p.emit(kind, dy, size, features, groups, packed, bias, target, target, every, slope, seen,
               result, target, 0, flags, outs, -1)  # fmt: skip
    else:
        p.emit(kind, dy, size, features, groups, packed, bias, target, target, every, bias, target,
               p.plan.plane_bytes, 0, 0, flags, outs)  # fmt: skip


def _activation_before(p: Program, layer: Any, x: str) -> Any:
    """The activation that made `x`, if `layer` is the last to give a part of the gradient."""
    for maker, _ in p.steps:
        if maker.name == x and type(maker).__name__ in ACTIVATIONS and x not in p.shuffled:
            return maker if p.readers[x][0] is layer else None
    return None


def slope_sums(p: Program, layer: Any, channels: int) -> int:
    """Place of the partial sums of an activation's slopes' gradients."""
    name = f"{layer.shares or layer.name}.slope"
    learnt = type(layer).__name__ == "PReLU"
    return p.plan.reserve(
        round_up(channels, OUTS), lambda values: {name: values[:channels]} if learnt else {}
    )


def _unpack_weight(
    layer: Any, size: int, channels: int, features: int, groups: int, columns: int
) -> Callable[[Array], Params]:
    name = layer.shares or layer.name

    def unpack(values: Array) -> Params:
        blocks = values.reshape(groups, columns, -1, COLUMNS).transpose(1, 3, 0, 2)
        table = blocks.reshape(columns * COLUMNS, -1)[:, :features]
        taps = channels * size * size
        dweight = table[:taps].reshape(channels, size, size, features).transpose(1, 2, 0, 3)
        result: Params = {}
        if type(layer).__name__ == "ConvTranspose":
            dweight = phase_weight_vjp(dweight, layer.kernel_size, layer.stride, layer.crop)
        result[f"{name}.weight"] = dweight
        if layer.bias:
            result[f"{name}.bias"] = table[taps].reshape(-1, layer.features).sum(0)
        return result

    return unpack
