"""DRAM bytes of every pass: as its stripes move them, at least, and ideally.

"Serial" bytes delay the pass (the first stripes read, the last one written); "parallel" bytes move
while it computes.  Arm's estimator calls them non-parallel and parallel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from sesr_ref.network import Shape
from sesr_ref.npu.hardware import Npu
from sesr_ref.npu.lowering import Operation
from sesr_ref.npu.placement import Placed
from sesr_ref.npu.stripes import Fitter, Stripes, brick_bytes, ple_code_bytes, round_up, sram_bytes


@dataclass
class Moved:
    """Bytes between the DRAM and a pass."""

    parallel: int = 0
    serial: int = 0

    @property
    def total(self) -> int:
        """Both together."""
        return self.parallel + self.serial

    def compressed(self, saving: float) -> Moved:
        """Return the bytes after compression."""
        return Moved(int(self.parallel * (1 - saving)), int(self.serial * (1 - saving)))

    def streamed(self, share: float) -> Moved:
        """Return the same bytes with this share of them serial."""
        return Moved(int(self.total * (1 - share)), int(self.total * share))

    def __add__(self, other: Moved) -> Moved:
        return Moved(self.parallel + other.parallel, self.serial + other.serial)


@dataclass
class Traffic:
    """The bytes that one pass moves, and whether its input is on chip when it starts."""

    operation: Operation
    winograd: bool = False
    input: Moved = field(default_factory=Moved)
    output: Moved = field(default_factory=Moved)
    weights: Moved = field(default_factory=Moved)
    input_on_chip: bool = False

    @property
    def dram_bytes(self) -> int:
        """Input, output and weights."""
        return self.input.total + self.output.total + self.weights.total


class Tensors:
    """How each tensor of a network is stored in DRAM.

    Parameters
    ----------
    operations : sequence of Operation
        In order of execution.
    npu : Npu
        The NPU that runs them.
    element_bytes : int
        Bytes of an activation.
    """

    def __init__(self, operations: Sequence[Operation], npu: Npu, element_bytes: int) -> None:
        self.npu, self.element_bytes = npu, element_bytes
        self.last = operations[-1].name
        self.shapes = {op.name: op.output for op in operations}
        self.bricks = {op.name for op in operations} - {self.last}
        self.readers: dict[str, list[Operation]] = {}
        for op in operations:
            for name in op.inputs:
                self.readers.setdefault(name, []).append(op)
                self.shapes.setdefault(name, op.operands[0])
        self.compressed = {
            op.name
            for op in operations
            if op.name != self.last
            and all(other.engine == "mce" for other in (op, *self.readers.get(op.name, [])))
        }

    def shape(self, name: str) -> Shape:
        """Shape as moved: in whole bricks; unchanged for the network's input and output."""
        height, width, channels = self.shapes[name]
        if name not in self.bricks:
            return height, width, channels
        rows, columns = self.npu.brick
        return round_up(height, rows), round_up(width, columns), channels

    def stored(self, name: str, moved: Moved) -> Moved:
        """Return the bytes of `moved` elements of a tensor."""
        scaled = Moved(moved.parallel * self.element_bytes, moved.serial * self.element_bytes)
        saving = self.npu.activation_saving if name in self.compressed else 0.0
        return scaled.compressed(saving)

    def conversion(self, name: str, into_bricks: bool) -> Traffic:
        """Return a pass that only changes a tensor's format; its bytes are all serial."""
        plain = math.prod(self.shapes[name]) * self.element_bytes
        bricks = brick_bytes(self.shapes[name], self.npu, self.element_bytes)
        sizes = (plain, bricks) if into_bricks else (bricks, plain)
        label = f"{name}:to-bricks" if into_bricks else f"{name}:from-bricks"
        shape = self.shapes[name]
        operation = Operation(label, "convert", (), (name,), (shape,), shape)
        return Traffic(operation, input=Moved(0, sizes[0]), output=Moved(0, sizes[1]))


def _read(shape: Shape, stripes: Stripes, kernel_size: int, npu: Npu) -> Moved:
    """Elements read of one input; parallel if there are slots to fetch ahead."""
    height, width, channels = shape
    rows, columns = min(stripes.input[0], height), min(stripes.input[1], width)
    down, across = math.ceil(height / stripes.input[0]), math.ceil(width / stripes.input[1])
    neighbours = kernel_size > 1
    both = neighbours and down > 1 and across > 1
    border = npu.brick[0] if both else 0
    total = (height + 2 * border * (down - 1)) * width * channels * (stripes.reloads + 1)
    if down == across == 1:
        return Moved(0, total)
    above = border or (rows if neighbours and down > 1 else 0)
    beside = columns if neighbours and across > 1 else 0
    first = min((rows + above) * (columns + beside) * channels, total)
    wanted = min(3 if neighbours else 1, across if across > 1 else down) + 1
    return Moved(total - first, first) if stripes.slots >= wanted else Moved(0, total)


def _written(shape: Shape, stripes: Stripes) -> Moved:
    last = math.prod(min(s, t) for s, t in zip(shape, stripes.output, strict=True))
    return Moved(math.prod(shape) - last, last)


def traffic(placed: Sequence[Placed], npu: Npu, element_bytes: int = 1) -> list[Traffic]:
    """DRAM bytes of every pass without the cascade estimate; adds conversions of format.

    Parameters
    ----------
    placed : sequence of Placed
        The passes, in order.
    npu : Npu
        The NPU that runs them.
    element_bytes : int
        Bytes of an activation.

    Returns
    -------
    list of Traffic
    """
    tensors = Tensors([p.operation for p in placed], npu, element_bytes)
    rows: list[Traffic] = []
    final = placed[-1]
    if _cuts_rows(final.stripes):
        tensors.bricks.add(tensors.last)
    for p in placed:
        cut_both_ways = "input" in p.operation.inputs and p.stripes.strategy == "blocks"
        if cut_both_ways and "input" not in tensors.bricks:  # blocks need the input in bricks
            rows.append(tensors.conversion("input", into_bricks=True))
            tensors.bricks.add("input")
        rows.append(_of_pass(p, tensors, npu, element_bytes))
    if tensors.last in tensors.bricks:
        rows.append(tensors.conversion(tensors.last, into_bricks=False))
    return rows


def physical_traffic(
    operations: Sequence[Operation], npu: Npu, element_bytes: int
) -> list[Traffic]:
    """Bytes if every DRAM tensor is written once and read once by each pass that reads it.

    A tensor stays on chip if its pass fits whole, its single consumer is not an addition, and its
    pass is the single consumer of each of its inputs.  `traffic` gives the same placement in the
    end, but here it never depends on earlier attempts, so that more SRAM never moves more bytes.

    Parameters
    ----------
    operations : sequence of Operation
        The passes, in order.
    npu : Npu
        The NPU that runs them.
    element_bytes : int
        Bytes of an activation.

    Returns
    -------
    list of Traffic
    """
    tensors = Tensors(operations, npu, element_bytes)
    on_chip = {op.name for op in operations if _stays_on_chip(op, tensors, npu, element_bytes)}
    rows = []
    for op in operations:
        winograd = npu.winograd and op.may_take_winograd
        row = Traffic(op, winograd, input_on_chip=all(name in on_chip for name in op.inputs))
        for name in op.inputs:
            if name not in on_chip:
                row.input += tensors.stored(name, Moved(math.prod(tensors.shape(name)), 0))
        if op.name not in on_chip:
            row.output = tensors.stored(op.name, Moved(math.prod(tensors.shape(op.name)), 0))
        row.weights = Moved(op.weight_bytes(npu, 8 * element_bytes), 0)
        rows.append(row)
    alone = Fitter(operations[-1], npu, npu.sram_bytes, False, False, element_bytes)
    if operations[-1].engine == "mce" and _cuts_rows(alone.fit()):
        rows.append(tensors.conversion(tensors.last, into_bricks=False))
    return rows


def _cuts_rows(stripes: Stripes | None) -> bool:
    """Whether these stripes, being narrower than the tensor, must be written in bricks."""
    return stripes is not None and stripes.strategy in {"blocks", "columns"}


def _stays_on_chip(op: Operation, tensors: Tensors, npu: Npu, element_bytes: int) -> bool:
    readers = tensors.readers.get(op.name, [])
    branch = any(len(tensors.readers[name]) > 1 for name in op.inputs)
    if branch or len(readers) != 1 or readers[0].engine == "ple" or len(readers[0].inputs) > 1:
        return False
    whole = sum(sram_bytes(shape, npu, element_bytes) for shape in (*op.operands, op.output))
    code = op.weight_bytes(npu, 8 * element_bytes) + ple_code_bytes(npu)
    return whole + code <= npu.sram_bytes


def ideal_traffic(operations: Sequence[Operation], npu: Npu, element_bytes: int) -> list[Traffic]:
    """Bytes if only the network's input, its output and the weights moved.

    Parameters
    ----------
    operations : sequence of Operation
        The passes, in order.
    npu : Npu
        The NPU that runs them.
    element_bytes : int
        Bytes of an activation.

    Returns
    -------
    list of Traffic
    """
    rows = []
    for op in operations:
        weights = Moved(op.weight_bytes(npu, 8 * element_bytes), 0)
        winograd = npu.winograd and op.may_take_winograd
        rows.append(Traffic(op, winograd, weights=weights, input_on_chip=True))
    first = next(row for row in rows if "input" in row.operation.inputs)
    first.input = Moved(math.prod(first.operation.operands[0]) * element_bytes, 0)
    first.input_on_chip = False
    rows[-1].output = Moved(math.prod(operations[-1].output) * element_bytes, 0)
    return rows


def _of_pass(placed: Placed, tensors: Tensors, npu: Npu, element_bytes: int) -> Traffic:
    operation, stripes = placed.operation, placed.stripes
    row = Traffic(operation, placed.winograd, input_on_chip=placed.input_in_sram)
    if not placed.input_in_sram:
        for name in operation.inputs:
            read = _read(tensors.shape(name), stripes, operation.kernel_size, npu)
            row.input += tensors.stored(name, read)
    if not placed.output_in_sram:
        written = _written(tensors.shape(operation.name), stripes)
        row.output = tensors.stored(operation.name, written)
    row.weights = Moved(0, operation.weight_bytes(npu, 8 * element_bytes))
    return row
