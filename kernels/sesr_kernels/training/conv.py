"""Convolutions in a training program: forward, and what all that is done with them needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sesr_kernels.blocks.convolve import AFTER, KEEP, OUTS, PRELU, RELU
from sesr_kernels.blocks.winograd import FINITE, packed_points
from sesr_kernels.blocks.winograd import ROWS as GROUP
from sesr_kernels.description.layers import Unsupported
from sesr_kernels.description.packing import pack, pad_outputs, round_up
from sesr_kernels.description.phases import phase_weight
from sesr_kernels.machine.host import HOST
from sesr_kernels.training import step
from sesr_kernels.training.plan import conv_size
from sesr_kernels.training.program import Program

Array = npt.NDArray[Any]
Params = dict[str, Array]
ACTIVATIONS = ("PReLU", "ReLU", "LeakyReLU")


def conv_spec(layer: Any) -> tuple[int, int, Callable[[Params], Array]]:
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
    size, phases, weight = conv_spec(layer)
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
        size, phases, _ = conv_spec(layer)
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
