"""Convolutions in a training program: forward, and the gradients of weight and input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sesr_kernels import training_step as step
from sesr_kernels.convolve import AFTER, KEEP, OUTS, PRELU, RELU
from sesr_kernels.host import HOST
from sesr_kernels.packing import pack, pad_outputs, round_up, transposed
from sesr_kernels.phases import phase_weight, phase_weight_vjp
from sesr_kernels.rows import COLUMNS
from sesr_kernels.schedule import Unsupported
from sesr_kernels.training_plan import conv_size
from sesr_kernels.training_program import Program
from sesr_kernels.training_winograd import LONG_LINE, PITCH
from sesr_kernels.winograd import FINITE, packed_points
from sesr_kernels.winograd import ROWS as GROUP
from sesr_kernels.winograd_rows import ACTIVATED

Array = npt.NDArray[Any]
Params = dict[str, Array]
ACTIVATIONS = ("PReLU", "ReLU", "LeakyReLU")


def _conv_spec(layer: Any) -> tuple[int, int, Callable[[Params], Array]]:
    """Kernel size, phases and weight of a convolution or a transposed one."""
    name = f"{layer.shares or layer.name}.weight"
    if type(layer).__name__ == "Conv":
        return layer.kernel_size, 1, lambda params: params[name]
    stride, crop = layer.stride, layer.crop
    return conv_size(layer), stride**2, lambda params: phase_weight(params[name], stride, crop)


class Store(NamedTuple):
    """What a convolution writes, and what it does to its sums before: addresses and flags."""

    target: int
    kept: int
    slope: int
    after: int
    flags: int


def conv(p: Program, layer: Any, inputs: tuple[str, ...]) -> None:
    """Forward, with the activation and the sum that follow where nobody else reads between."""
    size, phases, weight = _conv_spec(layer)
    if size not in (1, 3, 5) or getattr(layer, "groups", 1) != 1:
        raise Unsupported("convolution")
    channels, features = p.channels[inputs[0]], layer.features * phases
    p.channels[layer.name] = features
    if phases > 1:
        p.shuffled.add(layer.name)
    outs, every = HOST.blocks(features), round_up(features, OUTS)
    how, packed = place_weight(p, size, channels, features, weight)
    bias = _bias(p, layer, phases, every)
    to = _store(p, layer, features, bias)
    p.emit(how, p.tensors[inputs[0]], size, channels, -(-features // outs), packed, bias, to.target,
           to.kept, every, to.slope, to.after, p.plan.plane_bytes, to.after, 0, to.flags, outs,
           p.lazy.get(inputs[0], -1))  # fmt: skip


def _store(p: Program, layer: Any, features: int, bias: int) -> Store:
    """Places of the results, named; `bias` stands for slopes where there are none."""
    target, name = p.plan.allocate(features), layer.name
    p.tensors[name] = target
    if name in p.shuffled:
        return Store(target, target, bias, 0, 0)
    kept, slope, flags = target, bias, 0
    if (follower := _activation_behind(p, name)) is not None:
        p.fused[name] = name = follower.name
        slope, _ = slope_of(p, follower, features)
        flags = RELU if type(follower).__name__ == "ReLU" else PRELU
        p.tensors[name] = target
        if flags == PRELU and _only_transformed(p, name, features):
            p.lazy[name], p.kept[name] = slope, target
            return Store(target, target, slope, 0, 0)
    after, added = 0, _added(p, name, features)
    if added is not None:
        total, other = added
        p.channels[total], p.tensors[total] = features, target
        after, flags = p.tensors[other], flags | AFTER
    if flags & PRELU or flags == RELU | AFTER:  # else what comes out tells what went in
        kept, flags = p.plan.allocate(features), flags | KEEP
        p.tensors[layer.name] = kept
    if follower is not None:
        p.kept[name] = kept
    return Store(target, kept, slope, after, flags)


def _activation_behind(p: Program, name: str) -> Any:
    """The activation that alone reads a tensor, or None."""
    readers = p.readers.get(name, [])
    alone = len(readers) == 1 and type(readers[0]).__name__ in ACTIVATIONS
    return readers[0] if alone else None


def _added(p: Program, name: str, channels: int) -> tuple[str, str] | None:
    """The sum that alone reads a tensor, and what it adds, if a store can do that."""
    readers = [(layer, inputs) for layer, inputs in p.steps if name in inputs]
    if len(readers) != 1 or type(readers[0][0]).__name__ != "Add" or name == p.net.output:
        return None
    layer, inputs = readers[0]
    other = inputs[1 - inputs.index(name)] if len(inputs) == 2 else name
    there = other in p.tensors and other not in p.lazy and other not in p.shuffled
    fits = there and other != name and p.channels[other] == channels
    return (layer.name, other) if fits else None


def _only_transformed(p: Program, name: str, channels: int) -> bool:
    """Whether all that read a tensor transform its rows, and can apply an activation meanwhile."""
    readers = p.readers.get(name, [])  # it need not be stored then: half of a forward pass's writes

    def transforms(layer: Any) -> bool:
        if type(layer).__name__ not in ("Conv", "ConvTranspose"):
            return False
        size, phases, _ = _conv_spec(layer)
        return conv_kind(p, size, channels, layer.features * phases) == step.WINOGRAD

    return name != p.net.output and bool(readers) and all(map(transforms, readers))


def place_weight(
    p: Program, size: int, channels: int, features: int, weight: Callable[[Params], Array]
) -> tuple[int, int]:
    """How a convolution is done, and where its weight is, in the order in which that reads it."""
    outs, kind = HOST.blocks(features), conv_kind(p, size, channels, features)
    many = round_up(features, outs) * size * channels
    if kind == step.WINOGRAD:
        points = size + GROUP - 1
        return kind, p.plan.pack(many * points, lambda params: packed_points(weight(params), outs))
    return kind, p.plan.pack(many * size, lambda params: pack(weight(params), outs))


def conv_kind(p: Program, size: int, channels: int, features: int) -> int:
    """How a convolution or a gradient of its is done."""
    # one channel on either side: the transforms cost more than they save
    if not p.plan.winograd or size not in FINITE or min(channels, features) < 2:
        return step.CONV
    p.plan.scratch(size, channels, features)
    return step.WINOGRAD


def _bias(p: Program, layer: Any, phases: int, size: int) -> int:
    name = f"{layer.shares or layer.name}.bias"
    if not layer.bias:
        return p.plan.pack(size, lambda params: np.zeros(size, np.float32))
    return p.plan.pack(size, lambda params: pad_outputs(np.tile(params[name], phases)))


def conv_vjp(p: Program, layer: Any, inputs: tuple[str, ...]) -> None:
    """Gradients of the weight and, where something trained lies before it, of the input."""
    size, phases, weight = _conv_spec(layer)
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


def slope_of(p: Program, layer: Any, channels: int) -> tuple[int, int]:
    """Where an activation's slopes are, and how many floats lie between two channels'."""
    name = f"{layer.shares or layer.name}.slope"
    fixed = getattr(layer, "slope", 0.0)
    size = round_up(channels, OUTS)
    if type(layer).__name__ == "PReLU":
        found = p.plan.pack(size, lambda params: pad_outputs(params[name]))
    else:
        found = p.plan.pack(size, lambda params: np.full(size, fixed, np.float32))
    p.slopes[layer.name] = (found, 1)
    return p.slopes[layer.name]
