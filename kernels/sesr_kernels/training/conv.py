"""Convolutions in a training program: forward, and what their gradients need as well."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sesr_kernels.blocks.convolve import AFTER, FUSED, KEEP, OUTS, PRELU, RELU
from sesr_kernels.blocks.winograd_points import FINITE, GROUP, packed_points
from sesr_kernels.description.layers import (
    Convolution,
    Layer,
    Unsupported,
    is_conv,
    is_conv_transpose,
    parameter,
)
from sesr_kernels.description.packing import pack, pad_outputs, round_up
from sesr_kernels.description.phases import phase_weight
from sesr_kernels.description.pointwise import pointwise_of
from sesr_kernels.machine.host import HOST
from sesr_kernels.training import operands
from sesr_kernels.training.numbers import place_numbers
from sesr_kernels.training.plan import Array, Params, conv_size
from sesr_kernels.training.program import Program


class Spec(NamedTuple):
    """A convolution of any kind as a plain one: `subpixels` times its features, its weight."""

    kernel_size: int
    subpixels: int
    weight: Callable[[Params], Array]


def conv_spec(layer: Convolution) -> Spec:
    """The plain convolution that does the work of a layer."""
    name, size = parameter(layer, "weight"), conv_size(layer)
    if is_conv_transpose(layer):
        stride, crop = layer.stride, layer.crop
        return Spec(size, stride**2, lambda params: phase_weight(params[name], stride, crop))
    return Spec(size, 1, lambda params: params[name])


class Store(NamedTuple):
    """What a convolution writes, and what it does to its sums before."""

    target: int
    kept: int
    slope: int
    after: int
    epilogue: int


def conv(p: Program, layer: Convolution, inputs: tuple[str, ...]) -> None:
    """Forward, with the activation and the sum that follow where nobody else reads between."""
    size, subpixels, weight = conv_spec(layer)
    if size not in (1, 3, 5) or (is_conv(layer) and layer.groups != 1):
        raise Unsupported("a convolution with groups, or whose kernel is not 1, 3 or 5 wide")
    channels, features = p.channels[inputs[0]], layer.features * subpixels
    p.channels[layer.name] = features
    if subpixels > 1:
        p.shuffled.add(layer.name)
    outs, planes = HOST.blocks(features), round_up(features, OUTS)
    packed = place_weight(p, size, channels, features, weight)
    bias = place_bias(p, layer if layer.bias else None, planes)
    to = _store(p, layer, features, bias)
    common = {
        "source": p.tensors[inputs[0]],
        "kernel_size": size,
        "channels": channels,
        "outs": outs,
        "blocks": -(-features // outs),
        "weight": packed,
        "bias": bias,
        "planes": planes,
        **to._asdict(),
    }
    if by_winograd(p, size, channels, features):
        lazy = p.lazy.get(inputs[0], -1)
        p.emit(operands.WinogradConvolution(**common, source_slopes=lazy, seen=0, sums=0))
    else:
        p.emit(operands.DirectConvolution(**common))


def _store(p: Program, layer: Layer, features: int, bias: int) -> Store:
    """Places of the results, named; `bias` stands for slopes where there are none."""
    target, name = p.plan.allocate(features), layer.name
    p.tensors[name] = target
    if name in p.shuffled:
        return Store(target, target, bias, 0, 0)
    kept, slope, epilogue = target, bias, 0
    if (follower := _activation_behind(p, name)) is not None:
        p.fused[name] = name = follower.name
        slope, _ = place_numbers(p, follower, features)
        epilogue = fused_function(follower)
        p.tensors[name] = target
        if epilogue == PRELU and _only_transformed(p, name, features):
            # lazy: what is stored is ahead of the activation, which every reader applies
            p.lazy[name], p.kept[name] = slope, target
            return Store(target, target, slope, 0, 0)
    after, added = 0, _added(p, name, features)
    if added is not None:
        total, other = added
        p.channels[total], p.tensors[total] = features, target
        after, epilogue = p.tensors[other], epilogue | AFTER
    if epilogue & PRELU or epilogue == RELU | AFTER:  # else what comes out tells what went in
        kept, epilogue = p.plan.allocate(features), epilogue | KEEP
        p.tensors[layer.name] = kept
    if follower is not None:
        p.kept[name] = kept
    return Store(target, kept, slope, after, epilogue)


def fused_function(layer: Layer) -> int:
    """How a convolution's epilogue states an activation; 0 for what it cannot apply."""
    pointwise = pointwise_of(layer)
    return FUSED.get(pointwise.function, 0) if pointwise is not None else 0


def _activation_behind(p: Program, name: str) -> Layer | None:
    """The activation that alone reads a tensor, or None."""
    readers = p.readers.get(name, [])
    return readers[0] if len(readers) == 1 and fused_function(readers[0]) else None


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

    def transforms(layer: Layer) -> bool:
        if not (is_conv(layer) or is_conv_transpose(layer)):
            return False
        size, subpixels, _ = conv_spec(layer)
        return by_winograd(p, size, channels, layer.features * subpixels)

    return name != p.net.output and bool(readers) and all(map(transforms, readers))


def place_weight(
    p: Program, size: int, channels: int, features: int, weight: Callable[[Params], Array]
) -> int:
    """Where a convolution's weight is, in the order in which it is read."""
    outs = HOST.blocks(features)
    many = round_up(features, outs) * size * channels
    if by_winograd(p, size, channels, features):
        points = size + GROUP - 1
        return p.plan.pack(many * points, lambda params: packed_points(weight(params), outs))
    return p.plan.pack(many * size, lambda params: pack(weight(params), outs))


def by_winograd(p: Program, size: int, channels: int, features: int) -> bool:
    """Whether a convolution, or one of its gradients, uses Winograd's algorithm."""
    # one channel on either side: the transforms cost more than they save
    if not p.plan.winograd or size not in FINITE or min(channels, features) < 2:
        return False
    p.plan.scratch(size, channels, features)
    return True


def place_bias(p: Program, layer: Convolution | None, size: int) -> int:
    """Where the bias of every output is; zeros without a layer."""
    if layer is None:
        return p.plan.pack(size, lambda params: np.zeros(size, np.float32))
    name, subpixels = parameter(layer, "bias"), conv_spec(layer).subpixels
    return p.plan.pack(size, lambda params: pad_outputs(np.tile(params[name], subpixels)))
