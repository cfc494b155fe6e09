"""The state in which a schedule is written, and what a convolution takes over into its store.

That is the sum, the activation and the second sum that follow it, as long as no other layer
reads what lies between.
"""

from __future__ import annotations

from typing import NamedTuple

from sesr_kernels.blocks.convolve import AFTER, BEFORE, FUSED
from sesr_kernels.description.layers import Layer, Network, is_conv_transpose, is_shuffle
from sesr_kernels.description.pointwise import pointwise_of
from sesr_kernels.description.shuffles import combined
from sesr_kernels.inference.operands import LOAD, STORE
from sesr_kernels.inference.schedule import Operation, Schedule, Tensor


class Followers(NamedTuple):
    """What a convolution's store takes over: which layers, sums and activation."""

    names: tuple[str, ...]
    second: int
    third: int
    epilogue: int
    activation: Layer | None


class Lowering:
    """A schedule being written: which tensors there are, and what was fused."""

    def __init__(self, net: Network, winograd: bool) -> None:
        self.winograd = winograd
        self.net, self.schedule = net, Schedule()
        self.steps = list(net.steps())
        self.channels = {name: shape[2] for name, shape in net.shapes(16, 24).items()}
        self.readers: dict[str, list[tuple[Layer, tuple[str, ...]]]] = {}
        for layer, inputs in self.steps:
            for name in inputs:
                self.readers.setdefault(name, []).append((layer, inputs))
        self.number: dict[str, int] = {}
        self.done: set[str] = set()
        self.tail = self._tail()
        self.layer = ""
        self.emit(Operation(LOAD, self.tensor("input", net.channels, 1)))

    def tensor(self, name: str, channels: int, scale: int) -> int:
        """Number of a new tensor."""
        self.schedule.tensors.append(Tensor(name, channels, scale))
        self.number[name] = len(self.schedule.tensors) - 1
        return self.number[name]

    def like(self, source: str, name: str, channels: int | None = None) -> int:
        """Number of a new tensor of the resolution of `source`."""
        given = self.given(source)
        return self.tensor(name, given.channels if channels is None else channels, given.scale)

    def given(self, name: str) -> Tensor:
        """The tensor that holds a layer's output."""
        return self.schedule.tensors[self.number[name]]

    def emit(self, operation: Operation) -> None:
        """Append an operation, of the layer whose rule is writing unless it names others."""
        if self.layer and not operation.layers:
            operation = operation._replace(layers=(self.layer,))
        self.schedule.operations.append(operation)

    def _tail(self) -> dict[str, tuple[int, str]]:
        """Shuffles at the end, which the store does; elementwise layers may lie between them."""
        shuffles: dict[str, tuple[int, str]] = {}
        layers = {layer.name: (layer, inputs) for layer, inputs in self.steps}
        name = self.net.output
        while name in layers and len(self.readers.get(name, [])) <= 1:
            layer, inputs = layers[name]
            pointwise = pointwise_of(layer)
            if is_shuffle(layer):
                shuffles = {name: (layer.block, layer.mode), **shuffles}
            elif is_conv_transpose(layer):
                return {name: (layer.stride, "DCR"), **shuffles}
            elif pointwise is None or pointwise.per_channel:
                break
            name = inputs[0]
        return shuffles

    def store(self) -> None:
        """Append the image's way out."""
        given = self.given(self.net.output)
        blocks = list(self.tail.values())
        self.schedule.block, self.schedule.places = combined(given.channels, blocks)
        source = self.number[self.net.output]
        target = self.tensor("image", 0, given.scale)
        self.emit(Operation(STORE, target, source=source, layers=tuple(self.tail)))

    def followers(self, name: str) -> Followers:
        """What follows a convolution: a sum, an activation and a sum, each of which may miss."""
        operand, epilogue, activation, names = {BEFORE: -1, AFTER: -1}, 0, None, [name]
        for flag in (BEFORE, 0, AFTER):
            # a second reader wants the tensor that lies between: it must be stored then
            if len(self.readers.get(name, [])) != 1:
                break
            layer, inputs = self.readers[name][0]
            pointwise = pointwise_of(layer)
            if flag and type(layer).__name__ == "Add" and self._sum_fits(name, inputs):
                (other,) = (i for i in inputs if i != name)
                operand[flag], epilogue = self.number[other], epilogue | flag
            elif not flag and pointwise is not None and pointwise.function in FUSED:
                activation, epilogue = layer, epilogue | FUSED[pointwise.function]
            else:
                continue
            self.done.add(layer.name)
            names.append(name := layer.name)
        return Followers(tuple(names), operand[BEFORE], operand[AFTER], epilogue, activation)

    def _sum_fits(self, name: str, inputs: tuple[str, ...]) -> bool:
        """Whether a sum has two operands, this one and one that exists and may be repeated."""
        if len(inputs) != 2 or inputs[0] == inputs[1]:
            return False
        (other,) = (i for i in inputs if i != name)
        if other not in self.number:
            return False
        channels = self.channels
        return channels[other] in (1, channels[name]) and channels[inputs[0]] == channels[name]
