"""Inference: a whole network in one pass over the image, depth first.

The image is cut into bands of rows and strips of columns, each with its exact halo.  Every
output's sum has one order, so that no cut, and no number of threads, changes a bit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sesr_kernels import bands
from sesr_kernels import schedule as sc
from sesr_kernels.compiled import plain
from sesr_kernels.convolve import OUTS
from sesr_kernels.lowering import lower
from sesr_kernels.packing import round_up
from sesr_kernels.resampling import phases
from sesr_kernels.shuffles import combined
from sesr_kernels.threads import Threads, share
from sesr_kernels.weights import bias_of, dense, packed_weight, parts, slope_of
from sesr_kernels.winograd import MOST_POINTS, ROWS, packed_points

Array = npt.NDArray[Any]
Params = dict[str, Array]

RING_BYTES = 9 << 18
"""Of one thread's rings, which sets the columns of a strip: wider ones push the rings out of the
caches, narrower ones waste halo (measured with 32 MB of third-level cache for two threads)."""
NARROWEST = 32
"""Columns of a strip for each column of its halo, whatever its rings take: XL loses 6 % with 16."""
WINOGRAD = True
"""The default: about 1.5 times as fast.  Its error is about twice the direct kernels' in one layer
and about the same in whole networks."""
SHORTEST_BAND = 96
"""Rows of a band: shorter ones spend too much on the rows around them."""
WORKSPACES = 8
"""What a plan keeps of them from one call to the next."""
STEP = 1
"""Rows of the input taken at a time."""


class Job(NamedTuple):
    """One strip of one band of one image: rows and columns of the input."""

    image: int
    top: int
    bottom: int
    left: int
    right: int


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
        self.strip = max(RING_BYTES // column, NARROWEST * self.halo)
        self.fills: list[tuple[int, Callable[[Params], Array]]] = []
        self.size = 0
        self.numbers: list[float | tuple[int, Callable[[Params], Array]]] = []
        self.places = list(self.schedule.places)
        self.program = np.array([self._row(op) for op in self.schedule.operations], np.int64)
        self.place_table = np.array(self.places, np.int64).reshape(-1, 3)
        self.workspaces: deque[Workspace] = deque(maxlen=WORKSPACES)
        self.kept: tuple[dict[str, bytes], Array, Array, Array] | None = None

    def _row(self, op: sc.Operation) -> list[int]:
        row = [*op[:9], *[0] * (bands.FIELDS - 9)]
        row[bands.PHASE] = op.phase
        tensors = self.schedule.tensors
        if op.kind in (sc.CONV, sc.WINOGRAD):
            self._convolution(op, row)
        elif op.kind == sc.SHUFFLE:
            row[bands.NUMBER] = len(self.places)
            self.places += combined(tensors[op.source].channels, [(op.size, op.layer)])[1]
        elif op.kind == sc.RESIZE:
            row[bands.BUFFER], row[bands.FIRSTS] = op.buffer, len(self.places)
            self.places += [(first, 0, 0) for first in phases(op.ratio, op.layer.mode).firsts]
        return row

    def _convolution(self, op: sc.Operation, row: list[int]) -> None:
        tensors = self.schedule.tensors
        layer, features, split = op.layer, tensors[op.target].channels, parts(op.layer)
        channels, blocks = tensors[op.source].channels // split, -(-features // OUTS)
        many = blocks * OUTS
        row[bands.CHANNELS], row[bands.GROUPS], row[bands.PARTS] = channels, blocks // split, split
        if op.kind == sc.WINOGRAD:
            row[bands.WEIGHT] = self._reserve(
                (op.size + ROWS - 1) * many * op.size * channels,
                lambda params: packed_points(dense(layer, params)),
            )
        else:
            row[bands.WEIGHT] = self._reserve(
                many * op.size**2 * channels, lambda params: packed_weight(layer, params)
            )
        row[bands.BIAS] = row[bands.SLOPE] = self._reserve(
            many, lambda params: bias_of(layer, params, features)
        )
        if op.activation is not None:
            row[bands.SLOPE] = self._reserve(
                many, lambda params: slope_of(op.activation, params, features)
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
                row[bands.SLOPE] = start
            elif op.kind in _NUMBERS:
                numbers += _NUMBERS[op.kind](op.layer)
                row[bands.NUMBER] = start
        return program, np.array(numbers, np.float32)

    def workspace(self) -> Workspace:
        """One that a call before left, or a new one."""
        try:
            return self.workspaces.popleft()
        except IndexError:
            return Workspace(self)

    def tensor_table(self, job: Job, height: int, widest: int) -> Array:
        """Where every ring is, `widest` columns having room, and which rows the job needs."""
        width = job.right - job.left
        table = np.zeros((len(self.schedule.tensors), 9), np.int64)
        table[:, bands.LOW : bands.HIGH + 1] = self.schedule.spans(job.top, job.bottom)
        offset = 0
        for row, tensor in zip(table, self.schedule.tensors, strict=True):
            columns = width * tensor.scale
            pitch = round_up(widest * tensor.scale, bands.TILE) + 2 * bands.MARGIN
            pitch = round_up(pitch + 16, 32) - 16  # an odd number of cache lines
            planes = round_up(tensor.channels, OUTS)
            row[bands.OFFSET], row[bands.DEPTH] = offset, tensor.depth
            row[bands.PLANES], row[bands.PITCH], row[bands.WIDTH] = planes, pitch, columns
            row[bands.ROWS], row[bands.COLUMNS] = height * tensor.scale, tensor.channels
            offset += tensor.depth * planes * pitch
        table[-1, bands.COLUMNS] = self.schedule.tensors[-1].scale
        return table


_NUMBERS: dict[int, Callable[[Any], list[float]]] = {
    sc.AFFINE: lambda layer: (
        [1.0, layer.offset] if type(layer).__name__ == "Shift" else [layer.factor, 0.0]
    ),
    sc.CLIP: lambda layer: [layer.low, layer.high],
    sc.RESIZE: lambda layer: [w for row in phases(layer.upscale, layer.mode).weights for w in row],
}


@lru_cache(maxsize=8)
def _plan(net: Any, winograd: bool) -> Plan | None:
    try:
        return Plan(net, winograd)
    except sc.Unsupported:
        return None


def network(
    net: Any,
    params: Params,
    x: Array,
    threads: Threads | None = None,
    winograd: bool | None = None,
) -> Array | None:
    """Run a network without linear blocks on images, depth first.

    Parameters
    ----------
    net : Network
        Read by the names of its layers' kinds and fields.
    params : dict of float32 arrays
        Its parameters.
    x : (n, height, width, channels) float32 array
        The images.
    threads : Threads, optional
        How many share the bands; the result's bits do not depend on it.
    winograd : bool, optional
        Whether 3 x 3 and 5 x 5 convolutions use Winograd's algorithm; `WINOGRAD` unless given.

    Returns
    -------
    (n, upscale * height, upscale * width, channels) float32 array or None
        None for a network or dtype that these kernels do not take.
    """
    if any(array.dtype != np.float32 for array in (x, *params.values())):
        return None
    plan = _plan(net, WINOGRAD if winograd is None else winograd)
    if plan is None:
        return None
    n, height, width, _ = x.shape
    y = np.empty((n, *net.shapes(height, width)[net.output]), np.float32)
    if y.size:
        _run(plan, params, plain(x), y, threads or Threads())
    return y


def margin(net: Any, winograd: bool | None = None) -> tuple[int, int] | None:
    """How far tiles must overlap so that each has the bits of the whole image.

    Parameters
    ----------
    net : Network
        Without linear blocks.
    winograd : bool, optional
        As given to `network`.

    Returns
    -------
    (int, int) or None
        Pixels of halo on each side, and the multiple of pixels at which a tile begins; None for a
        network that `network` does not take.
    """
    plan = _plan(net, WINOGRAD if winograd is None else winograd)
    return (plan.margin, plan.step) if plan else None


def _jobs(plan: Plan, n: int, height: int, width: int, threads: int) -> Iterator[Job]:
    """Strips as wide as the caches like; at least as many bands as there are threads to feed."""
    strips = max(1, round(width / plan.strip))
    shortest = SHORTEST_BAND
    many = max(1, min(-(-threads // (n * strips)), height // shortest))
    while (n * strips * many) % threads and (many + 1) * shortest <= height:
        many += 1
    # bands begin where steps do: the rings were rehearsed from such a row on
    edges = [height * b // many // plan.step * plan.step for b in range(many)] + [height]
    for image in range(n):
        for b in range(many):
            for s in range(strips):
                yield Job(image, edges[b], edges[b + 1],
                          width * s // strips, width * (s + 1) // strips)  # fmt: skip


def _run(plan: Plan, params: Params, x: Array, y: Array, threads: Threads) -> None:
    packed, program, numbers = plan.constants(params)
    n, height, width, _ = x.shape
    jobs = list(_jobs(plan, n, height, width, threads.count))
    widest = min(max(job.right - job.left for job in jobs) + 2 * plan.halo, width)

    def worker(following: Callable[[], int]) -> None:
        space = plan.workspace()
        while (i := following()) >= 0:
            job = jobs[i]
            first, last = max(job.left - plan.halo, 0), min(job.right + plan.halo, width)
            table = plan.tensor_table(job._replace(left=first, right=last), height, widest)
            bands.run_band(
                program, table, space.done, space.taps, plan.place_table, numbers,
                packed.ctypes.data, space.rings(table), space.scratch, x[job.image], first,
                job.left - first, job.right - first, plan.step, y[job.image], plan.schedule.block,
            )  # fmt: skip
        plan.workspaces.append(space)

    share(len(jobs), worker, threads)


class Workspace:
    """What one thread works in."""

    def __init__(self, plan: Plan) -> None:
        operations, tensors = plan.schedule.operations, plan.schedule.tensors
        self.done = np.zeros(len(tensors), np.int64)
        self.taps = np.zeros(max(64, *(op.size**2 for op in operations)), np.int64)
        widest = max(round_up(tensor.channels, OUTS) for tensor in tensors)
        self.scratch = _aligned(MOST_POINTS * (widest + OUTS) * bands.POINT_PITCH + 64)
        self._layout: Array | None = None

    def rings(self, table: Array) -> Array:
        """Rings for a job, all zero unless the job before had the same layout."""
        # then rows are written before they are read, and the padding on the left is zero still
        layout = table[:, : bands.PITCH + 1]
        if self._layout is None or not np.array_equal(layout, self._layout):
            self._layout = layout
            self._rings = _aligned(int(table[-1, bands.OFFSET]) + 256)
        return self._rings


def _aligned(size: int) -> Array:
    """Zeros that start at a cache line."""
    work = np.zeros(size + 16, np.float32)
    return work[-work.ctypes.data % 64 // 4 :]
