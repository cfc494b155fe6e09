"""From a network's layers to the operations of a schedule, with what can be fused being fused.

A convolution takes the sum, the activation and the second sum that follow it into its store, as
long as nobody else reads what lies between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sesr_kernels.blocks.convolve import AFTER, BEFORE, PRELU, RELU
from sesr_kernels.blocks.winograd import MOST_CHANNELS
from sesr_kernels.description.layers import Unsupported, kind_of
from sesr_kernels.description.phases import reach
from sesr_kernels.description.shuffles import combined
from sesr_kernels.inference.resampling import MODES, phases
from sesr_kernels.inference.schedule import (
    ACTIVATION,
    ADD,
    AFFINE,
    CLIP,
    CONCAT,
    CONV,
    LOAD,
    RESIZE,
    SHUFFLE,
    STORE,
    WINOGRAD,
    Operation,
    Schedule,
    Tensor,
)
from sesr_kernels.inference.weights import parts

ACTIVATIONS = {"PReLU": PRELU, "LeakyReLU": PRELU, "ReLU": RELU}
ELEMENTWISE = ("ReLU", "LeakyReLU", "Shift", "Scale", "Clip")


MAX_KERNEL_SIZE = 31
"""Half of it must fit the padding of a row."""
WINOGRAD_CHANNELS = {3: (8, 8), 5: (8, 4)}
"""Kernel size: with fewer channels in or out, the transforms cost more than they save."""


def lower(net: Any, winograd: bool = False) -> Schedule:
    """Write the schedule of a network without linear blocks.

    Parameters
    ----------
    net : Network
        Read by the names of its layers' kinds and fields.
    winograd : bool
        Whether 3 x 3 and 5 x 5 convolutions use Winograd's algorithm where it pays.

    Returns
    -------
    Schedule
        Its rings not yet sized.

    Raises
    ------
    Unsupported
        For a kind of layer that has no rule here.
    """
    return _Lowering(net, winograd).schedule


class _Lowering:
    def __init__(self, net: Any, winograd: bool) -> None:
        self.winograd = winograd
        self.net, self.schedule = net, Schedule()
        self.steps = list(net.steps())
        for layer, _ in self.steps:
            if (kind := kind_of(layer)) not in RULES:
                raise Unsupported(kind)
        self.channels = {name: shape[2] for name, shape in net.shapes(16, 24).items()}
        self.readers: dict[str, list[tuple[Any, tuple[str, ...]]]] = {}
        for layer, inputs in self.steps:
            for name in inputs:
                self.readers.setdefault(name, []).append((layer, inputs))
        self.number: dict[str, int] = {}
        self.done: set[str] = set()
        self.tail = self._tail()
        self.number["input"] = self.tensor(net.channels, 1)
        self.emit(LOAD, self.number["input"])
        for layer, inputs in self.steps:
            if layer.name not in self.done:
                RULES[type(layer).__name__](self, layer, inputs)
        self._store()

    def tensor(self, channels: int, scale: int) -> int:
        """Number of a new tensor."""
        self.schedule.tensors.append(Tensor(channels, scale))
        return len(self.schedule.tensors) - 1

    def emit(self, kind: int, target: int, **fields: Any) -> None:
        """Append an operation."""
        self.schedule.operations.append(Operation(kind, target, **fields))

    def like(self, name: str, channels: int | None = None) -> int:
        """Number of a new tensor of the resolution of `name`."""
        given = self.schedule.tensors[self.number[name]]
        return self.tensor(given.channels if channels is None else channels, given.scale)

    def _tail(self) -> dict[str, tuple[int, str]]:
        """Shuffles at the end, which the store does; elementwise layers may lie between them."""
        shuffles: dict[str, tuple[int, str]] = {}
        layers = {layer.name: (layer, inputs) for layer, inputs in self.steps}
        name = self.net.output
        while name in layers and len(self.readers.get(name, [])) <= 1:
            layer, inputs = layers[name]
            kind = type(layer).__name__
            if kind == "DepthToSpace":
                shuffles = {name: (layer.block, layer.mode), **shuffles}
            elif kind == "ConvTranspose":
                return {name: (layer.stride, "DCR"), **shuffles}
            elif kind not in ELEMENTWISE:
                break
            name = inputs[0]
        return shuffles

    def _store(self) -> None:
        source = self.number[self.net.output]
        given = self.schedule.tensors[source]
        blocks = list(self.tail.values())
        self.schedule.block, self.schedule.places = combined(given.channels, blocks)
        self.emit(STORE, self.tensor(0, given.scale), source=source)

    def followers(self, name: str, before: set[str]) -> tuple[str, dict[str, Any]]:
        """What a convolution's store can take over: the last tensor's name, the fields."""
        fields: dict[str, Any] = {"flags": 0}
        for flag, key in ((BEFORE, "second"), (0, ""), (AFTER, "third")):
            if len(self.readers.get(name, [])) != 1:
                break
            layer, inputs = self.readers[name][0]
            kind = type(layer).__name__
            if flag and kind == "Add" and self._sum_fits(name, inputs):
                (other,) = (i for i in inputs if i != name)
                fields |= {key: self.number[other], "flags": fields["flags"] | flag}
            elif not flag and kind in ACTIVATIONS:
                fields |= {"activation": layer, "flags": fields["flags"] | ACTIVATIONS[kind]}
            else:
                continue
            before.add(layer.name)
            name = layer.name
        return name, fields

    def _sum_fits(self, name: str, inputs: tuple[str, ...]) -> bool:
        """Whether a sum has two operands, this one and one that exists and may be repeated."""
        if len(inputs) != 2 or inputs[0] == inputs[1]:
            return False
        (other,) = (i for i in inputs if i != name)
        if other not in self.number:
            return False
        channels = self.channels
        return channels[other] in (1, channels[name]) and channels[inputs[0]] == channels[name]


Rule = Callable[[_Lowering, Any, tuple[str, ...]], None]


def _conv(p: _Lowering, layer: Any, inputs: tuple[str, ...]) -> None:
    last, fields = p.followers(layer.name, p.done)
    target = p.number[last] = p.like(inputs[0], layer.features)
    if layer.kernel_size > MAX_KERNEL_SIZE:
        raise Unsupported(f"a {layer.kernel_size} x {layer.kernel_size} kernel")
    size, source = layer.kernel_size, p.number[inputs[0]]
    split = parts(layer)
    channels = (p.schedule.tensors[source].channels // split, layer.features // split)
    kind = WINOGRAD if p.winograd and _pays(size, channels, split) else CONV
    p.emit(kind, target, source=source, size=size, reach=size // 2, layer=layer, **fields)


def _pays(size: int, channels: tuple[int, int], split: int) -> bool:
    """Whether Winograd's algorithm is faster, and can take so many channels in and out."""
    fewest = WINOGRAD_CHANNELS.get(size)
    if fewest is None or channels[0] * split > MOST_CHANNELS:
        return False
    return channels[0] >= fewest[0] and channels[1] >= fewest[1]


def _conv_transpose(p: _Lowering, layer: Any, inputs: tuple[str, ...]) -> None:
    if layer.kernel_size > MAX_KERNEL_SIZE:
        raise Unsupported(f"a {layer.kernel_size} x {layer.kernel_size} kernel")
    half = reach(layer.kernel_size, layer.stride, layer.crop)
    phases = p.like(inputs[0], layer.features * layer.stride**2)
    source = p.number[inputs[0]]
    p.emit(CONV, phases, source=source, size=2 * half + 1, reach=half, layer=layer)
    if layer.name in p.tail:
        p.number[layer.name] = phases
        return
    scale = p.schedule.tensors[source].scale * layer.stride
    target = p.number[layer.name] = p.tensor(layer.features, scale)
    p.emit(SHUFFLE, target, source=phases, ratio=layer.stride, size=layer.stride, layer="DCR")


def _activation(p: _Lowering, layer: Any, inputs: tuple[str, ...]) -> None:
    target = p.number[layer.name] = p.like(inputs[0])
    flags = ACTIVATIONS[type(layer).__name__]
    p.emit(ACTIVATION, target, source=p.number[inputs[0]], activation=layer, flags=flags)


def _pairwise(kind: int) -> Rule:
    def rule(p: _Lowering, layer: Any, inputs: tuple[str, ...]) -> None:
        first, *rest = (p.number[i] for i in inputs)
        tensors = p.schedule.tensors
        if not rest:
            p.number[layer.name] = first
        for other in rest:
            grown = tensors[other].channels if kind == CONCAT else 0
            target = p.tensor(tensors[first].channels + grown, tensors[first].scale)
            p.emit(kind, target, source=first, second=other)
            p.number[layer.name] = first = target

    return rule


def _shuffle(p: _Lowering, layer: Any, inputs: tuple[str, ...]) -> None:
    source = p.number[inputs[0]]
    if layer.name in p.tail:
        p.number[layer.name] = source
        return
    given = p.schedule.tensors[source]
    target = p.tensor(given.channels // layer.block**2, given.scale * layer.block)
    p.number[layer.name] = target
    p.emit(SHUFFLE, target, source=source, ratio=layer.block, size=layer.block, layer=layer.mode)


def _resize(p: _Lowering, layer: Any, inputs: tuple[str, ...]) -> None:
    source = p.number[inputs[0]]
    given, found = p.schedule.tensors[source], phases(layer.upscale, layer.mode)
    buffer = p.tensor(1, given.scale)
    target = p.number[layer.name] = p.tensor(given.channels, given.scale * layer.upscale)
    p.emit(RESIZE, target, source=source, size=found.size, reach=found.reach, ratio=layer.upscale,
           flags=MODES[layer.mode][2], layer=layer, buffer=buffer)  # fmt: skip


def _elementwise(kind: int) -> Rule:
    def rule(p: _Lowering, layer: Any, inputs: tuple[str, ...]) -> None:
        target = p.number[layer.name] = p.like(inputs[0])
        p.emit(kind, target, source=p.number[inputs[0]], layer=layer)

    return rule


RULES: dict[str, Rule] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "PReLU": _activation,
    "ReLU": _activation,
    "LeakyReLU": _activation,
    "Add": _pairwise(ADD),
    "Concat": _pairwise(CONCAT),
    "DepthToSpace": _shuffle,
    "Shift": _elementwise(AFFINE),
    "Scale": _elementwise(AFFINE),
    "Clip": _elementwise(CLIP),
    "Resize": _resize,
}
