"""A training program as plain data: planes, gradients, lazy activations, partial sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sesr_kernels.blocks.convolve import AFTER, KEEP, PRELU, RELU
from sesr_kernels.blocks.winograd_rows import ACTIVATED
from sesr_kernels.description.layers import Network
from sesr_kernels.machine.emit import LANES
from sesr_kernels.training import operands
from sesr_kernels.training.operands import Operation
from sesr_kernels.training.plan import TrainingPlan
from sesr_kernels.training.program import Program
from sesr_kernels.training.rules import write

NAMES = {
    operands.DirectConvolution: "convolution",
    operands.WinogradConvolution: "winograd",
    operands.WeightGradient: "weight gradient",
    operands.WinogradWeightGradient: "winograd weight gradient",
    operands.Pointwise: "pointwise",
    operands.PointwiseGradient: "pointwise gradient",
    operands.Add: "add",
    operands.Loss: "loss",
}
GRADIENTS = (
    operands.WeightGradient,
    operands.WinogradWeightGradient,
    operands.PointwiseGradient,
)
READ = {"source": 0, "dy": 0, "other": 0, "seen": ACTIVATED, "after": AFTER}
WRITTEN = {"target": 0, "gradient": 0, "kept": KEEP}
"""Fields that are places of planes; those of an epilogue with what it must say."""
EPILOGUE = {KEEP: "keep", PRELU: "prelu", RELU: "relu", AFTER: "add", ACTIVATED: "prelu gradient"}
"""What follows a convolution's sums, in this order."""


@dataclass(frozen=True)
class Planes:
    """A tensor or gradient where it lies: its name, first plane and number of planes."""

    name: str
    first: int
    count: int


@dataclass(frozen=True)
class ExplainedStep:
    """One step of a program, written by the rule of `layer`."""

    direction: str
    operation: str
    layer: str
    reads: tuple[Planes, ...]
    writes: tuple[Planes, ...]
    then: tuple[str, ...]
    lazy: str
    """The activation through which the source is read, "" for none."""
    sums: int
    """Vectors of partial sums that it adds to."""


@dataclass(frozen=True)
class ExplainedTraining:
    """A program for images of one size, and what one thread needs for it."""

    height: int
    width: int
    pitch: int
    planes: int
    plane_bytes: int
    scratch_bytes: int
    weight_bytes: int
    sum_vectors: int
    lanes: int
    lazy: tuple[str, ...]
    """Activations that are not stored: their readers apply them."""
    steps: tuple[ExplainedStep, ...]


def explain(net: Network, height: int, width: int, winograd: bool = True) -> ExplainedTraining:
    """Explain a training step.

    Parameters
    ----------
    net : Network
        Without linear blocks.
    height, width : int
        Of one crop.
    winograd : bool
        As given to the plan.

    Returns
    -------
    ExplainedTraining

    Raises
    ------
    Unsupported
        For a network that the kernels do not train as a whole.
    """
    plan = TrainingPlan(net, height, width, winograd)
    program = _Watched(plan)
    write(program)
    return ExplainedTraining(
        height=height,
        width=width,
        pitch=plan.geometry.pitch,
        planes=plan.planes,
        plane_bytes=plan.plane_bytes,
        scratch_bytes=4 * plan.scratch_size,
        weight_bytes=4 * plan.packed_size,
        sum_vectors=plan.sums_size,
        lanes=LANES,
        lazy=tuple(program.lazy),
        steps=tuple(program.explained),
    )


class _Watched(Program):
    """A program that notes what each step is for while the names of places are known."""

    def __init__(self, plan: TrainingPlan) -> None:
        super().__init__(plan)
        self.explained: list[ExplainedStep] = []
        self.names = {plan.ones: "ones"}
        self.direction = "forward"

    def emit(self, operation: Operation) -> None:
        """Append an operation and what it is for."""
        super().emit(operation)
        self.explained.append(self._explained(operation))
        if isinstance(operation, operands.Loss):
            self.direction = "backward"

    def take_back(self) -> None:
        """Remove the last operation and what it was for."""
        super().take_back()
        self.explained.pop()

    def _explained(self, op: Any) -> ExplainedStep:
        # places are used again: each has the name of the last tensor or gradient put there
        self.names |= {place: name for name, place in self.tensors.items() if name not in self.lazy}
        self.names |= {place: f"d {name}" for name, place in self.gradients.items()}
        if "zeros" in vars(self):
            self.names[self.zeros] = "zeros"
        epilogue = getattr(op, "epilogue", 0)
        lazy = {place: name for name, place in self.lazy.items()}
        sums = {4 * LANES * slot.start: slot.size for slot in self.plan.slots}
        adds = isinstance(op, GRADIENTS) or epilogue & ACTIVATED
        return ExplainedStep(
            direction=self.direction,
            operation=NAMES[type(op)],
            layer=self.layer,
            reads=self._planes(op, READ, epilogue),
            writes=self._planes(op, WRITTEN, epilogue),
            then=tuple(word for flag, word in EPILOGUE.items() if epilogue & flag),
            lazy=lazy.get(getattr(op, "source_slopes", -1), ""),
            sums=sums.get(op.sums, 0) if adds else 0,
        )

    def _planes(self, op: Any, fields: dict[str, int], epilogue: int) -> tuple[Planes, ...]:
        """Those that an operation has for some fields, if its epilogue asks for them."""
        found = []
        for field, flag in fields.items():
            # of other kinds these fields are no part of an epilogue
            wanted = not hasattr(op, "epilogue") or not flag or epilogue & flag
            if hasattr(op, field) and wanted:
                place = getattr(op, field)
                first = max(start for start in self.plan.allocated if start <= place)
                skipped = (place - first) // self.plan.plane_bytes
                count = 1 if skipped else self.plan.allocated[first]
                found.append(Planes(self.names[first], place // self.plan.plane_bytes, count))
        return tuple(found)
