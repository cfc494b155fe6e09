"""The state in which a training program is written."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

from sesr_kernels.description.layers import Layer
from sesr_kernels.training.operands import Add, Operation
from sesr_kernels.training.plan import TrainingPlan


class Program:
    """A program being written: where the tensors and gradients are, and what was fused."""

    def __init__(self, plan: TrainingPlan) -> None:
        self.plan, self.net = plan, plan.net
        self.steps = list(self.net.steps())
        self.readers: dict[str, list[Layer]] = {}
        for layer, inputs in self.steps:
            for name in inputs:
                self.readers.setdefault(name, []).append(layer)
        self.layer = ""  # whose rule is writing
        self.tensors = {"input": plan.inputs}
        self.gradients: dict[str, int] = {}
        self.kept: dict[str, int] = {}  # what an activation saw
        self.fused: dict[str, str] = {}  # convolution: the activation in its store
        self.lazy: dict[str, int] = {}  # tensors kept ahead of an activation: its slopes' place
        self.fused_vjp: set[str] = set()  # activations whose gradient is in an earlier store
        self.trained = {"input": False}
        self.shuffled: set[str] = set()  # tensors that are depth-to-space of what is computed
        self.numbers: dict[str, tuple[int, int]] = {}  # where those of a function are
        self.channels = dict(plan.channels)

    def emit(self, operation: Operation) -> None:
        """Append an operation."""
        self.plan.operations.append(operation)

    def take_back(self) -> None:
        """Remove the last operation."""
        self.plan.operations.pop()

    def add(self, source: int, other: int, target: int, channels: int) -> None:
        """Append a sum of two tensors of as many channels."""
        stride = self.plan.plane_bytes
        self.emit(Add(source, stride, other, stride, target, channels))

    def copy(self, source: int, target: int, channels: int) -> None:
        """Append a copy of a tensor: its sum with nothing."""
        self.emit(Add(source, self.plan.plane_bytes, self.zeros, 0, target, channels))

    def pass_on(self, name: str, dy: int, last: bool) -> bool:
        """Add `dy` to the gradient of `name`; whether it took over the place of `dy`."""
        channels = self.channels[name]
        if name in self.gradients:
            there = self.gradients[name]
            self.add(there, dy, there, channels)
        elif last:  # nobody else reads `dy`: its planes become those of the gradient
            self.gradients[name] = dy
            return True
        else:
            self.gradients[name] = self.plan.allocate(channels)
            self.copy(dy, self.gradients[name], channels)
        return False

    def uncopied(self, copy: int) -> int:
        """What the last step has copied to `copy`, the step taken back; else `copy` itself."""
        last = self.plan.operations[-1]
        if not isinstance(last, Add) or last.other != self.zeros or last.target != copy:
            return copy
        self.take_back()
        return last.source

    @cached_property
    def zeros(self) -> int:
        """A plane that nothing writes to."""
        return self.plan.allocate(1, exact=True)


Write = Callable[[Program, Any, tuple[str, ...]], None]
"""Writes the operations of one kind of layer; each takes the Protocol of its kind."""


class Rule(NamedTuple):
    """What one kind of layer adds to a program on the way forward, and on the way back."""

    forward: Write
    backward: Write
