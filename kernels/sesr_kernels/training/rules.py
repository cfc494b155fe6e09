"""How each kind of layer goes into a training program, forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sesr_kernels.description.layers import Unsupported, kind_of
from sesr_kernels.description.shuffles import combined
from sesr_kernels.training import step
from sesr_kernels.training.conv import conv, slope_of
from sesr_kernels.training.conv_vjp import conv_vjp, slope_sums
from sesr_kernels.training.program import Program, Rule


def write(p: Program) -> None:
    """Fill the plan's tables."""
    for layer, inputs in p.steps:
        if (kind := kind_of(layer)) not in RULES:
            raise Unsupported(kind)
        p.trained[layer.name] = kind in _TRAINED or any(p.trained[i] for i in inputs)
        if p.shuffled & set(inputs) and kind not in _AFTER_SHUFFLE:
            raise Unsupported(f"{kind} behind a shuffle")
        RULES[kind].forward(p, layer, inputs)
    _loss(p)
    for layer, inputs in reversed(p.steps):
        if p.trained[layer.name] and layer.name in p.gradients:
            RULES[type(layer).__name__].backward(p, layer, inputs)


def write_weights(p: Program) -> None:
    """The backward half of one convolution, without the gradient of its input."""
    ((layer, inputs),) = p.steps
    features = layer.features
    p.plan.places = np.array([(0, 0, c) for c in range(features)], np.int64)
    p.gradients[layer.name] = p.plan.allocate(features)
    dy = p.gradients[layer.name]
    p.emit(step.LOSS, dy, dy, 1)
    conv_vjp(p, layer, inputs)


def _loss(p: Program) -> None:
    output = p.net.output
    places = _places(p)
    if len(places) != p.channels[output]:
        raise Unsupported("no single shuffle")
    p.plan.places = np.array(places, np.int64)
    p.gradients[output] = p.plan.allocate(p.channels[output])
    p.emit(step.LOSS, p.tensors[output], p.gradients[output])


def _activate(p: Program, layer: Any, inputs: tuple[str, ...]) -> None:
    (x,) = inputs
    channels = p.channels[layer.name] = p.channels[x]
    if x in p.shuffled:
        p.shuffled.add(layer.name)
    if p.fused.get(x) == layer.name:
        return
    slope, every = slope_of(p, layer, channels)
    p.tensors[layer.name] = p.plan.allocate(channels)
    p.kept[layer.name] = p.tensors[x]
    p.emit(step.ACTIVATION, p.tensors[x], p.tensors[layer.name], channels, slope, 0, every)


def _activate_vjp(p: Program, layer: Any, inputs: tuple[str, ...]) -> None:
    (x,) = inputs
    channels = p.channels[x]
    dy = p.gradients.pop(layer.name)
    slope, every = p.slopes[layer.name]
    if layer.name not in p.fused_vjp:
        result, source = slope_sums(p, layer, channels), p.uncopied(dy)
        p.emit(step.ACTIVATION_VJP, source, p.kept[layer.name], channels, slope, result, every, dy)
    if p.trained[x] and not p.pass_on(x, dy, last=True):
        p.plan.release(dy, channels)


def _add(p: Program, layer: Any, inputs: tuple[str, ...]) -> None:
    if layer.name in p.tensors:  # a convolution's store has made it
        return
    channels = p.channels[layer.name] = p.channels[inputs[0]]
    if any((i in p.shuffled) != (inputs[0] in p.shuffled) for i in inputs):
        raise Unsupported("sum of resolutions")
    stride = p.plan.plane_bytes
    target = p.tensors[layer.name] = p.plan.allocate(channels)
    x, rest = p.tensors[inputs[0]], inputs[1:]
    if not rest:
        p.emit(step.ADD, x, stride, p.zeros(), 0, target, channels)
    for name in rest:
        if p.channels[name] not in (1, channels):
            raise Unsupported("sum of different channels")
        step_ = stride if p.channels[name] == channels else 0
        p.emit(step.ADD, x, stride, p.tensors[name], step_, target, channels)
        x = target


def _add_vjp(p: Program, layer: Any, inputs: tuple[str, ...]) -> None:
    channels, stride = p.channels[layer.name], p.plan.plane_bytes
    dy = p.gradients.pop(layer.name)
    wanted = [name for name in inputs if p.trained[name]]
    for name in wanted:
        if p.channels[name] != channels:  # repeated over the channels: sum them
            if name not in p.gradients:
                p.gradients[name] = p.plan.allocate(1)
                p.emit(step.ADD, dy, 0, p.zeros(), 0, p.gradients[name], 1)
                first = 1
            else:
                first = 0
            there = p.gradients[name]
            for c in range(first, channels):
                p.emit(step.ADD, there, 0, dy + c * stride, 0, there, 1)
    same = [name for name in wanted if p.channels[name] == channels]
    taken = False
    for i, name in enumerate(same):
        taken = p.pass_on(name, dy, last=i == len(same) - 1) or taken
    if not taken:
        p.plan.release(dy, channels)


def _shuffle(p: Program, layer: Any, inputs: tuple[str, ...]) -> None:
    p.tensors[layer.name] = p.tensors[inputs[0]]
    p.channels[layer.name] = p.channels[inputs[0]]
    p.shuffled.add(layer.name)


def _shuffle_vjp(p: Program, layer: Any, inputs: tuple[str, ...]) -> None:
    dy = p.gradients.pop(layer.name)
    if not p.pass_on(inputs[0], dy, last=True):
        p.plan.release(dy, p.channels[layer.name])


def _pointwise(p: Program, layer: Any, inputs: tuple[str, ...]) -> None:
    (x,) = inputs
    channels = p.channels[layer.name] = p.channels[x]
    if x in p.shuffled:
        p.shuffled.add(layer.name)
    kind, numbers, _, _ = _POINTWISE[type(layer).__name__](layer)
    target = p.tensors[layer.name] = p.plan.allocate(channels)
    p.emit(kind, p.tensors[x], target, channels, p.number(*numbers))


def _pointwise_vjp(p: Program, layer: Any, inputs: tuple[str, ...]) -> None:
    (x,) = inputs
    dy, channels = p.gradients.pop(layer.name), p.channels[x]
    _, _, kind, numbers = _POINTWISE[type(layer).__name__](layer)
    source = p.tensors[x] if kind == step.CLIP_VJP else dy
    p.emit(kind, source, dy, channels, p.number(*numbers))
    if not p.pass_on(x, dy, last=True):
        p.plan.release(dy, channels)


_POINTWISE: dict[str, Callable[[Any], tuple[int, tuple[float, float], int, tuple[float, float]]]]
_POINTWISE = {
    "Shift": lambda layer: (step.SCALE, (1, layer.offset), step.SCALE, (1, 0)),
    "Scale": lambda layer: (step.SCALE, (layer.factor, 0), step.SCALE, (layer.factor, 0)),
    "Clip": lambda layer: (
        step.CLIP, (layer.low, layer.high), step.CLIP_VJP, (layer.low, layer.high)
    ),
}  # fmt: skip
_TRAINED = ("Conv", "ConvTranspose", "PReLU")
_AFTER_SHUFFLE = ("DepthToSpace", "ReLU", "LeakyReLU", "Shift", "Scale", "Clip")

RULES = {
    "Conv": Rule(conv, conv_vjp),
    "ConvTranspose": Rule(conv, conv_vjp),
    "PReLU": Rule(_activate, _activate_vjp),
    "ReLU": Rule(_activate, _activate_vjp),
    "LeakyReLU": Rule(_activate, _activate_vjp),
    "Add": Rule(_add, _add_vjp),
    "DepthToSpace": Rule(_shuffle, _shuffle_vjp),
    "Shift": Rule(_pointwise, _pointwise_vjp),
    "Scale": Rule(_pointwise, _pointwise_vjp),
    "Clip": Rule(_pointwise, _pointwise_vjp),
}


def _places(p: Program) -> list[tuple[int, int, int]]:
    """Row, column and channel of the output for each channel ahead of the shuffles."""
    blocks: list[tuple[int, str]] = []
    layers = {layer.name: (layer, inputs) for layer, inputs in p.steps}
    name = p.net.output
    while name in p.shuffled:
        layer, (name, *_) = layers[name]
        if type(layer).__name__ == "ConvTranspose":
            blocks.append((layer.stride, "DCR"))
            break
        if type(layer).__name__ == "DepthToSpace":
            blocks.append((layer.block, layer.mode))
    return combined(p.channels[p.net.output], blocks[::-1])[1]
