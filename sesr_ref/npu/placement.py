"""Which tensors stay in SRAM: the greedy search of Arm's compiler, with its memory of failures.

Every output that fits whole, next to the resident tensors, stays until its last reader has run.  If
a later pass then does not fit, the next attempt runs it without Winograd and, if that fails too,
keeps the nearest resident tensor that it depends on in DRAM; the operands of an addition must all
be resident or none.  Such decisions are never reverted.  At 400 x 300 this leaves one 3 x 3 pass of
SESR-M5 without Winograd although its neighbours, after the rest has moved to DRAM, have room for
it.  At 384 x 270 the same pass fits at once: its resident input is cut into at most eight stripes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sesr_ref.npu.hardware import Npu
from sesr_ref.npu.lowering import Operation
from sesr_ref.npu.stripes import Fitter, Stripes, fit_addition, sram_bytes


@dataclass(frozen=True)
class Placed:
    """A pass that fits: its stripes, whether it uses Winograd, and where its tensors lie."""

    operation: Operation
    stripes: Stripes
    winograd: bool
    input_in_sram: bool
    output_in_sram: bool


@dataclass
class Decisions:
    """Decisions of earlier attempts, which are never reverted."""

    direct: set[str] = field(default_factory=set)
    in_dram: set[str] = field(default_factory=set)

    def size(self) -> int:
        """Number of decisions."""
        return len(self.direct) + len(self.in_dram)


class Placement:
    """Place the passes of one network on one NPU.

    Parameters
    ----------
    operations : sequence of Operation
        In order of execution.
    npu : Npu
        The NPU that runs them.
    element_bytes : int
        Bytes of an activation.
    """

    def __init__(self, operations: Sequence[Operation], npu: Npu, element_bytes: int = 1) -> None:
        self.operations, self.npu, self.element_bytes = operations, npu, element_bytes
        self.by_name = {operation.name: operation for operation in operations}
        self.last_reader = {name: i for i, op in enumerate(operations) for name in op.inputs}
        self.decisions = Decisions()
        for operation in operations:
            if len(operation.inputs) > 1 and operation.engine == "mce":
                self.decisions.in_dram.update(operation.inputs)  # parts of a concatenation

    def place(self) -> list[Placed]:
        """Search until every pass fits.

        Returns
        -------
        list of Placed

        Raises
        ------
        ValueError
            If a pass does not fit: how much SRAM it needs.
        """
        while True:
            before = self.decisions.size()
            placed, failed = self._attempt()
            if not failed:
                return placed
            if self.decisions.size() == before:
                raise self._too_small(failed[0])

    def check(self) -> None:
        """Raise ValueError unless every pass fits alone, as `place` finally would."""
        for operation in self.operations:
            if not self._fits_alone(operation, self.npu.sram_bytes):
                raise self._too_small(operation)

    def _attempt(self) -> tuple[list[Placed], list[Operation]]:
        """Place every pass once; each failure leaves a decision for the next attempt."""
        placed: list[Placed] = []
        failed: list[Operation] = []
        resident: dict[str, int] = {}
        kept: set[str] = set()
        for index, operation in enumerate(self.operations):
            found = PLACE[operation.engine](self, operation, resident)
            if found is None:
                failed.append(operation)
                self._decide(operation, kept)
            else:
                placed.append(found)
                if found.output_in_sram:
                    resident[operation.name] = self._space(operation)
                    kept.add(operation.name)
            for name in operation.inputs:
                if self.last_reader[name] == index:
                    resident.pop(name, None)
        return placed, failed

    def convolution(self, operation: Operation, resident: dict[str, int]) -> Placed | None:
        """Place a pass of the MCE."""
        static = all(name in resident for name in operation.inputs)
        winograd = self.by_winograd(operation) and operation.name not in self.decisions.direct
        free = self.npu.sram_bytes - sum(resident.values())
        stripes = Fitter(operation, self.npu, free, static, winograd, self.element_bytes).fit()
        if stripes is None:
            return None
        return Placed(operation, stripes, winograd, static, self._stays(operation, stripes))

    def addition(self, operation: Operation, resident: dict[str, int]) -> Placed | None:
        """Place a pass of the PLE, whose operands must all be resident or none."""
        static = [name in resident for name in operation.inputs]
        if any(static) != all(static):
            return None
        free = self.npu.sram_bytes - sum(resident.values())
        stripes = fit_addition(operation, self.npu, free, static[0], self.element_bytes)
        if stripes is None:
            return None
        return Placed(operation, stripes, False, static[0], self._stays(operation, stripes))

    def by_winograd(self, operation: Operation) -> bool:
        """Whether the pass uses Winograd if that fits in memory."""
        return self.npu.winograd and operation.may_take_winograd

    def _stays(self, operation: Operation, stripes: Stripes) -> bool:
        last = operation is self.operations[-1]
        return (
            stripes.strategy == "whole"
            and not last
            and operation.name not in self.decisions.in_dram
        )

    def _space(self, operation: Operation) -> int:
        return sram_bytes(operation.output, self.npu, self.element_bytes)

    def _decide(self, operation: Operation, kept: set[str]) -> None:
        if self.by_winograd(operation) and operation.name not in self.decisions.direct:
            self.decisions.direct.add(operation.name)
        elif nearest := self._nearest(operation, kept):
            self.decisions.in_dram.add(nearest)

    def _nearest(self, operation: Operation, kept: set[str]) -> str | None:
        """Search the inputs depth first, as the compiler does; freed tensors count too."""
        waiting, seen = list(reversed(operation.inputs)), set[str]()
        while waiting:
            name = waiting.pop()
            if name in kept:
                return name
            if name in self.by_name and name not in seen:
                seen.add(name)
                waiting += reversed(self.by_name[name].inputs)
        return None

    def _too_small(self, operation: Operation) -> ValueError:
        needed = self._smallest(operation)
        weights = operation.weight_bytes(self.npu, 8 * self.element_bytes)
        why = (
            f", of which {weights} for its weights (collapse linear blocks first)"
            if weights > needed // 2
            else ""
        )
        return ValueError(
            f"{self.npu.name}: the SRAM of {self.npu.sram_bytes} bytes is too small for one stripe "
            f"of pass {operation.name!r}, which needs {needed} bytes{why}"
        )

    def _smallest(self, operation: Operation) -> int:
        """Find by bisection the SRAM with which the pass alone fits."""
        low, high = self.npu.sram_bytes, 1 << 40
        while high - low > 1:
            middle = (low + high) // 2
            fits = self._fits_alone(operation, middle)
            low, high = (low, middle) if fits else (middle, high)
        return high

    def _fits_alone(self, operation: Operation, free: int) -> bool:
        if operation.engine == "ple":
            return fit_addition(operation, self.npu, free, False, self.element_bytes) is not None
        return Fitter(operation, self.npu, free, False, False, self.element_bytes).fits()


PLACE: dict[str, Callable[[Placement, Operation, dict[str, int]], Placed | None]] = {
    "mce": Placement.convolution,
    "ple": Placement.addition,
}
