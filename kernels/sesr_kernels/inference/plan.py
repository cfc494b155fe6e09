"""The plan of inference: a network's schedule as the tables that the compiled half reads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_kernels.blocks.convolve import OUTS
from sesr_kernels.blocks.winograd import ROWS, packed_points
from sesr_kernels.description.packing import round_up
from sesr_kernels.description.shuffles import combined
from sesr_kernels.inference import rings
from sesr_kernels.inference import schedule as sc
from sesr_kernels.inference.lowering import lower
from sesr_kernels.inference.partition import Needs, jobs
from sesr_kernels.inference.resampling import phases
from sesr_kernels.inference.weights import bias_of, dense, packed_weight, parts, slope_of
from sesr_kernels.inference.winograd import SCRATCH
from sesr_kernels.machine.host import HOST, second_level_cache
from sesr_kernels.machine.tiling import TILE

Array = npt.NDArray[Any]
Params = dict[str, Array]

RING_BYTES = 3 << 19 if second_level_cache() >= 2 << 20 else 9 << 18
"""Of one thread's rings, which sets the columns of a strip: wider ones push the rings out of the
caches, narrower ones waste halo.  Measured with 2 MB of second-level cache, and with 512 KB and
32 MB of third-level cache for two threads."""
NARROWEST = 32
"""Columns of a strip for each column of its halo, whatever its rings take: XL loses 6 % with 16."""
WORKSPACES = 8
"""What a plan keeps of them from one call to the next."""
TABLES = 256
"""Tables of bands that a plan keeps, of 72 bytes for each tensor."""
STEP = 1
"""Rows of the input taken at a time."""


class Plan:
    """What one network needs whatever the image's size: program, rings, packing.

    Parameters
    ----------
    net : Network
        Without linear blocks.

    Raises
    ------
    Unsupported
        For a layer that has no rule.
    """

    def __init__(self, net: Any, winograd: bool = False) -> None:
        self.net, self.upscale = net, net.upscale
        self.schedule = lower(net, winograd)
        self.step = sc.GROUP if winograd else STEP
        self.schedule.align()
        self.schedule.fit_rings(self.step)
        self.halo, self.margin = self.schedule.halo(grouped=False), self.schedule.halo()
        column = sum(4 * t.depth * t.channels * t.scale for t in self.schedule.tensors)
        self.needs = Needs(
            max(RING_BYTES // column, NARROWEST * self.halo), self.halo, self._beside(), self.step
        )
        self.fills: list[tuple[int, Callable[[Params], Array]]] = []
        self.size = 0
        self.places = list(self.schedule.places)
        self.program = np.array([self._row(op) for op in self.schedule.operations], np.int64)
        self.place_table = np.array(self.places, np.int64).reshape(-1, 3)
        # kept, not to be written to: for a small image they would take as long as ten of its rows
        self.tensor_table = lru_cache(maxsize=TABLES)(self._tensor_table)
        self.shape = lru_cache(maxsize=TABLES)(self._shape)
        self.jobs = lru_cache(maxsize=TABLES)(partial(jobs, self.needs))
        self.workspaces: deque[Workspace] = deque(maxlen=WORKSPACES)
        self.kept: tuple[dict[str, bytes], Array, Array, Array] | None = None

    def _beside(self) -> float:
        """Rows of the input that a band makes on each side, on average of all tensors."""
        scales = np.array([tensor.scale for tensor in self.schedule.tensors])
        low, high = (self.schedule.spans(1000, 1064) / scales[:, None]).T
        made = (high > low) & (low > 0)
        return float((high - low - 64)[made].mean() / 2)

    def _row(self, op: sc.Operation) -> list[int]:
        row = [*op[:9], *[0] * (rings.FIELDS - 9)]
        row[rings.PHASE] = op.phase
        tensors = self.schedule.tensors
        if op.kind in (sc.CONV, sc.WINOGRAD):
            self._convolution(op, row)
        elif op.kind == sc.SHUFFLE:
            row[rings.NUMBER] = len(self.places)
            self.places += combined(tensors[op.source].channels, [(op.size, op.layer)])[1]
        elif op.kind == sc.RESIZE:
            row[rings.BUFFER], row[rings.FIRSTS] = op.buffer, len(self.places)
            self.places += [(first, 0, 0) for first in phases(op.ratio, op.layer.mode).firsts]
        return row

    def _convolution(self, op: sc.Operation, row: list[int]) -> None:
        tensors = self.schedule.tensors
        layer, features, split = op.layer, tensors[op.target].channels, parts(op.layer)
        outs = HOST.blocks(features // split)
        channels, blocks = tensors[op.source].channels // split, -(-features // outs)
        many, row[rings.OUTS] = blocks * outs, outs
        row[rings.CHANNELS], row[rings.GROUPS], row[rings.PARTS] = channels, blocks // split, split
        if op.kind == sc.WINOGRAD:
            row[rings.WEIGHT] = self._reserve(
                (op.size + ROWS - 1) * many * op.size * channels,
                lambda params: packed_points(dense(layer, params), outs),
            )
        else:
            row[rings.WEIGHT] = self._reserve(
                many * op.size**2 * channels, lambda params: packed_weight(layer, params, outs)
            )
        every = round_up(features, OUTS)
        row[rings.BIAS] = row[rings.SLOPE] = self._reserve(
            every, lambda params: bias_of(layer, params, features)
        )
        if op.activation is not None:
            row[rings.SLOPE] = self._reserve(
                every, lambda params: slope_of(op.activation, params, features)
            )

    def _reserve(self, size: int, fill: Callable[[Params], Array]) -> int:
        start = self.size
        self.fills.append((start, fill))
        self.size += round_up(size, 16)
        return 4 * start

    def packed(self, params: Params) -> Array:
        """All weights, biases and slopes of convolutions in the kernels' order."""
        result = np.zeros(self.size, np.float32)
        for start, fill in self.fills:
            values = fill(params).ravel()
            result[start : start + len(values)] = values
        return result

    def constants(self, params: Params) -> tuple[Array, Array, Array]:
        """Packed weights, program and numbers; those of the last call while no bit changes."""
        given, kept = {name: array.tobytes() for name, array in params.items()}, self.kept
        if kept is None or kept[0] != given:
            kept = self.kept = (given, self.packed(params), *self.filled(params))
        return kept[1:]

    def filled(self, params: Params) -> tuple[Array, Array]:
        """Program and table of numbers, with those of elementwise operations filled in."""
        program, numbers = self.program.copy(), [0.0, 0.0]
        for row, op in zip(program, self.schedule.operations, strict=True):
            start = len(numbers)
            if op.kind == sc.ACTIVATION:
                channels = self.schedule.tensors[op.target].channels
                numbers += slope_of(op.activation, params, channels).tolist()
                row[rings.SLOPE] = start
            elif op.kind in _NUMBERS:
                numbers += _NUMBERS[op.kind](op.layer)
                row[rings.NUMBER] = start
        return program, np.array(numbers, np.float32)

    def workspace(self) -> Workspace:
        """One that a call before left, or a new one."""
        try:
            return self.workspaces.popleft()
        except IndexError:
            return Workspace(self)

    def _shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Of the output for an image of this size."""
        return self.net.shapes(height, width)[self.net.output]  # type: ignore[no-any-return]

    def _tensor_table(self, top: int, bottom: int, width: int, height: int, widest: int) -> Array:
        """Where every ring is, `widest` columns having room, and which rows a band needs."""
        table = np.zeros((len(self.schedule.tensors), 9), np.int64)
        table[:, rings.LOW : rings.HIGH + 1] = self.schedule.spans(top, bottom)
        offset = 0
        for row, tensor in zip(table, self.schedule.tensors, strict=True):
            columns = width * tensor.scale
            pitch = round_up(widest * tensor.scale, TILE) + 2 * rings.MARGIN
            pitch = round_up(pitch + 16, 32) - 16  # an odd number of cache lines
            planes = round_up(tensor.channels, OUTS)
            row[rings.OFFSET], row[rings.DEPTH] = offset, tensor.depth
            row[rings.PLANES], row[rings.PITCH], row[rings.WIDTH] = planes, pitch, columns
            row[rings.ROWS], row[rings.COLUMNS] = height * tensor.scale, tensor.channels
            offset += tensor.depth * planes * pitch
        table[-1, rings.COLUMNS] = self.schedule.tensors[-1].scale
        return table


_NUMBERS: dict[int, Callable[[Any], list[float]]] = {
    sc.AFFINE: lambda layer: (
        [1.0, layer.offset] if type(layer).__name__ == "Shift" else [layer.factor, 0.0]
    ),
    sc.CLIP: lambda layer: [layer.low, layer.high],
    sc.RESIZE: lambda layer: [w for row in phases(layer.upscale, layer.mode).weights for w in row],
}


class Workspace:
    """What one thread works in."""

    def __init__(self, plan: Plan) -> None:
        operations, tensors = plan.schedule.operations, plan.schedule.tensors
        self.done = np.zeros(len(tensors), np.int64)
        self.taps = np.zeros(max(64, *(op.size**2 for op in operations)), np.int64)
        self.scratch = _aligned(SCRATCH)
        self._layout: Array | None = None

    def rings(self, table: Array) -> Array:
        """Rings for a job, all zero unless the job before had the same layout."""
        # then rows are written before they are read, and the padding on the left is zero still
        layout = table[:, : rings.PITCH + 1]
        if self._layout is None or not np.array_equal(layout, self._layout):
            self._layout = layout
            self._rings = _aligned(int(table[-1, rings.OFFSET]) + 256)
        return self._rings


def _aligned(size: int) -> Array:
    """Zeros that start at a cache line."""
    work = np.zeros(size + 16, np.float32)
    return work[-work.ctypes.data % 64 // 4 :]
