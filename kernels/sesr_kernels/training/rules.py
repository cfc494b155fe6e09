"""How each kind of layer goes into a training program, forward and backward."""

from __future__ import annotations

from sesr_kernels.blocks.pointwise import NUMBER
from sesr_kernels.description.layers import (
    Add,
    DepthToSpace,
    Layer,
    Unsupported,
    is_conv,
    is_conv_transpose,
    is_shuffle,
    kind_of,
)
from sesr_kernels.description.pointwise import POINTWISE, pointwise_of
from sesr_kernels.description.shuffles import Place, combined
from sesr_kernels.machine.records import table
from sesr_kernels.training import operands
from sesr_kernels.training.conv import conv
from sesr_kernels.training.conv_vjp import conv_vjp
from sesr_kernels.training.numbers import place_numbers, place_sums
from sesr_kernels.training.program import Program, Rule


def write(p: Program) -> None:
    """Fill the plan's tables."""
    for layer, inputs in p.steps:
        if (kind := kind_of(layer)) not in RULES:
            raise Unsupported(kind)
        p.trained[layer.name] = _is_trained(layer) or any(p.trained[i] for i in inputs)
        if p.shuffled & set(inputs) and not _may_follow_a_shuffle(layer):
            raise Unsupported(f"{kind} behind depth-to-space")
        p.layer = layer.name
        RULES[kind].forward(p, layer, inputs)
    p.layer = p.net.output
    _loss(p)
    for layer, inputs in reversed(p.steps):
        if p.trained[layer.name] and layer.name in p.gradients:
            p.layer = layer.name
            RULES[type(layer).__name__].backward(p, layer, inputs)


def _is_trained(layer: Layer) -> bool:
    pointwise = pointwise_of(layer)
    return bool(pointwise.learnt) if pointwise else is_conv(layer) or is_conv_transpose(layer)


def _may_follow_a_shuffle(layer: Layer) -> bool:
    """Whether it computes the same ahead of the shuffle, where the program puts it."""
    pointwise = pointwise_of(layer)
    return not pointwise.per_channel if pointwise else is_shuffle(layer)


def write_weights(p: Program) -> None:
    """The backward half of one convolution, without the gradient of its input."""
    ((layer, inputs),) = p.net.steps()
    features = p.channels[layer.name]
    p.plan.places = table(Place, (Place(0, 0, c) for c in range(features)))
    dy = p.gradients[layer.name] = p.plan.allocate(features)
    p.emit(operands.Loss(source=dy, gradient=dy, as_given=1))
    RULES[kind_of(layer)].backward(p, layer, inputs)


def _loss(p: Program) -> None:
    output = p.net.output
    places = _places(p)
    if len(places) != p.channels[output]:
        raise Unsupported("an output that is not depth-to-space of one tensor")
    p.plan.places = table(Place, places)
    p.gradients[output] = p.plan.allocate(p.channels[output])
    p.emit(operands.Loss(source=p.tensors[output], gradient=p.gradients[output], as_given=0))


def _pointwise(p: Program, layer: Layer, inputs: tuple[str, ...]) -> None:
    (x,) = inputs
    channels = p.channels[layer.name] = p.channels[x]
    if x in p.shuffled:
        p.shuffled.add(layer.name)
    if p.fused.get(x) == layer.name:  # a convolution's store has made it
        return
    first, second = place_numbers(p, layer, channels)
    p.kept[layer.name] = p.tensors[x]
    target = p.tensors[layer.name] = p.plan.allocate(channels)
    p.emit(operands.Pointwise(_function(layer), p.tensors[x], target, channels, first, second))


def _pointwise_vjp(p: Program, layer: Layer, inputs: tuple[str, ...]) -> None:
    (x,) = inputs
    channels, dy = p.channels[x], p.gradients.pop(layer.name)
    if layer.name not in p.fused_vjp:
        first, second = p.numbers[layer.name]
        sums = place_sums(p, layer, channels)
        p.emit(
            operands.PointwiseGradient(
                function=_function(layer),
                dy=p.uncopied(dy),
                seen=p.kept[layer.name],
                target=dy,
                channels=channels,
                first=first,
                second=second,
                sums=sums,
            )
        )
    if p.trained[x] and not p.pass_on(x, dy, last=True):
        p.plan.release(dy, channels)


def _function(layer: Layer) -> int:
    pointwise = pointwise_of(layer)
    assert pointwise is not None
    return NUMBER[pointwise.function]


def _add(p: Program, layer: Add, inputs: tuple[str, ...]) -> None:
    if layer.name in p.tensors:  # a convolution's store has made it
        return
    channels = p.channels[layer.name] = p.channels[inputs[0]]
    if any((i in p.shuffled) != (inputs[0] in p.shuffled) for i in inputs):
        raise Unsupported("a sum of different resolutions")
    stride = p.plan.plane_bytes
    target = p.tensors[layer.name] = p.plan.allocate(channels)
    x, rest = p.tensors[inputs[0]], inputs[1:]
    if not rest:
        p.copy(x, target, channels)
    for name in rest:
        if p.channels[name] not in (1, channels):
            raise Unsupported("a sum of different channels")
        repeated = 0 if p.channels[name] < channels else stride
        p.emit(operands.Add(x, stride, p.tensors[name], repeated, target, channels))
        x = target


def _add_vjp(p: Program, layer: Add, inputs: tuple[str, ...]) -> None:
    channels = p.channels[layer.name]
    dy = p.gradients.pop(layer.name)
    wanted = [name for name in inputs if p.trained[name]]
    same = [name for name in wanted if p.channels[name] == channels]
    for name in wanted:
        if name not in same:
            _sum_over_channels(p, name, dy, channels)
    taken = False
    for i, name in enumerate(same):
        taken = p.pass_on(name, dy, last=i == len(same) - 1) or taken
    if not taken:
        p.plan.release(dy, channels)


def _sum_over_channels(p: Program, name: str, dy: int, channels: int) -> None:
    """The gradient of one channel that was repeated over many."""
    first = 0
    if name not in p.gradients:
        p.gradients[name] = p.plan.allocate(1)
        p.copy(dy, p.gradients[name], 1)
        first = 1
    there = p.gradients[name]
    for c in range(first, channels):
        p.add(there, dy + c * p.plan.plane_bytes, there, 1)


def _shuffle(p: Program, layer: DepthToSpace, inputs: tuple[str, ...]) -> None:
    p.tensors[layer.name] = p.tensors[inputs[0]]
    p.channels[layer.name] = p.channels[inputs[0]]
    p.shuffled.add(layer.name)


def _shuffle_vjp(p: Program, layer: DepthToSpace, inputs: tuple[str, ...]) -> None:
    dy = p.gradients.pop(layer.name)
    if not p.pass_on(inputs[0], dy, last=True):
        p.plan.release(dy, p.channels[layer.name])


RULES = {
    "Conv": Rule(conv, conv_vjp),
    "ConvTranspose": Rule(conv, conv_vjp),
    "Add": Rule(_add, _add_vjp),
    "DepthToSpace": Rule(_shuffle, _shuffle_vjp),
    **dict.fromkeys(POINTWISE, Rule(_pointwise, _pointwise_vjp)),
}


def _places(p: Program) -> list[Place]:
    """Subpixel of the output for each channel ahead of the shuffles."""
    blocks: list[tuple[int, str]] = []
    layers = {layer.name: (layer, inputs) for layer, inputs in p.steps}
    name = p.net.output
    while name in p.shuffled:
        layer, (name, *_) = layers[name]
        if is_conv_transpose(layer):
            blocks.append((layer.stride, "DCR"))
            break
        if is_shuffle(layer):
            blocks.append((layer.block, layer.mode))
    return combined(p.channels[p.net.output], blocks[::-1])[1]
