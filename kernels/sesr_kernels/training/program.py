"""The state in which a training program is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from sesr_kernels.training import step
from sesr_kernels.training.plan import Plan


class Program:
    """A program being written: where the tensors and gradients are, and what was fused."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.net = plan, plan.net
        self.steps = list(self.net.steps())
        self.readers: dict[str, list[Any]] = {}
        for layer, inputs in self.steps:
            for name in inputs:
                self.readers.setdefault(name, []).append(layer)
        self.tensors = {"input": plan.inputs}
        self.gradients: dict[str, int] = {}
        self.kept: dict[str, int] = {}  # what an activation saw
        self.fused: dict[str, str] = {}  # convolution: the activation in its store
        self.lazy: dict[str, int] = {}  # tensors kept ahead of an activation: its slopes' place
        self.fused_vjp: set[str] = set()  # activations whose gradient is in an earlier store
        self.trained = {"input": False}
        self.shuffled: set[str] = set()  # tensors that are depth-to-space of what is computed
        self.slopes: dict[str, tuple[int, int]] = {}
        self.channels = dict(plan.channels)

    def emit(self, *fields: int) -> None:
        """Append a row of the program."""
        self.plan.rows.append([*fields, *[0] * (step.FIELDS - len(fields))])

    def pass_on(self, name: str, dy: int, last: bool) -> bool:
        """Add `dy` to the gradient of `name`; whether it took over the place of `dy`."""
        channels = self.channels[name]
        stride = self.plan.plane_bytes
        if name not in self.gradients:
            if last:
                self.gradients[name] = dy
                return True
            self.gradients[name] = self.plan.allocate(channels)
            zero = self.zeros()
            self.emit(step.ADD, dy, stride, zero, 0, self.gradients[name], channels)
        else:
            there = self.gradients[name]
            self.emit(step.ADD, there, stride, dy, stride, there, channels)
        return False

    def uncopied(self, copy: int) -> int:
        """What the last step has copied to `copy`, the step taken back; else `copy` itself."""
        last = self.plan.rows[-1]
        if last[0] != step.ADD or last[3] != self.zeros() or last[5] != copy:
            return copy
        self.plan.rows.pop()
        return last[1]

    def zeros(self) -> int:
        """A plane that nothing writes to."""
        if not hasattr(self, "_zeros"):
            self._zeros = self.plan.allocate(1, exact=True)
        return self._zeros

    def number(self, *values: float) -> int:
        """Index of constants in the table of numbers."""
        self.plan.numbers += values
        return len(self.plan.numbers) - len(values)


class Rule(NamedTuple):
    """What one kind of layer adds to a program on the way forward, and on the way back."""

    forward: Callable[[Program, Any, tuple[str, ...]], None]
    backward: Callable[[Program, Any, tuple[str, ...]], None]
