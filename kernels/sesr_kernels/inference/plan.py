"""The plan of inference: what is kept of a network from one image to the next."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sesr_kernels.blocks.convolve import OUTS
from sesr_kernels.blocks.winograd_points import GROUP
from sesr_kernels.description.layers import Network, Shape
from sesr_kernels.description.packing import round_up
from sesr_kernels.inference.operands import Ring
from sesr_kernels.inference.partition import Needs, jobs
from sesr_kernels.inference.rings import MARGIN
from sesr_kernels.inference.rules import lower
from sesr_kernels.inference.schedule import Schedule
from sesr_kernels.inference.tables import Writer
from sesr_kernels.inference.winograd import SCRATCH
from sesr_kernels.machine.compiled import Floats, aligned
from sesr_kernels.machine.host import second_level_cache
from sesr_kernels.machine.records import table
from sesr_kernels.machine.tiling import TILE

Array = npt.NDArray[Any]
Params = Mapping[str, Array]

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


class Rings(NamedTuple):
    """All rings of a band: their records, where their rows are, and the floats of all."""

    table: Sequence[Ring]
    layout: tuple[tuple[int, ...], ...]
    floats: int


class InferencePlan:
    """What one network needs whatever the image's size: program, rings, packing.

    Parameters
    ----------
    net : Network
        Without linear blocks.
    winograd : bool
        Whether 3 x 3 and 5 x 5 convolutions use Winograd's algorithm where it pays.

    Raises
    ------
    Unsupported
        For a layer that has no rule.
    """

    def __init__(self, net: Network, winograd: bool = False) -> None:
        self.net, self.upscale = net, net.upscale
        self.schedule = lower(net, winograd)
        self.step = GROUP if winograd else STEP
        self.schedule.align()
        self.schedule.fit_rings(self.step)
        self.halo, self.margin = self.schedule.halo(grouped=False), self.schedule.halo()
        column = sum(4 * t.depth * t.channels * t.scale for t in self.schedule.tensors)
        self.needs = Needs(
            max(RING_BYTES // column, NARROWEST * self.halo),
            self.halo,
            rows_beside(self.schedule),
            self.step,
        )
        writer = Writer(self.schedule)
        self.tables, self.fills, self.size = writer.tables(), writer.fills, writer.size
        # kept, not to be written to: for a small image they would take as long as ten of its rows
        self.rings = lru_cache(maxsize=TABLES)(self._rings)
        self.shape = lru_cache(maxsize=TABLES)(self._shape)
        self.jobs = lru_cache(maxsize=TABLES)(partial(jobs, self.needs))
        self.workspaces: deque[Workspace] = deque(maxlen=WORKSPACES)
        self.kept: tuple[dict[str, bytes], Floats] | None = None

    def packed(self, params: Params) -> Floats:
        """All weights, biases and numbers in the kernels' order."""
        result = np.zeros(self.size, np.float32)
        for start, fill in self.fills:
            values = fill(params).ravel()
            result[start : start + len(values)] = values
        return result

    def constants(self, params: Params) -> Floats:
        """Packed weights; those of the last call while no bit changes."""
        given, kept = {name: array.tobytes() for name, array in params.items()}, self.kept
        if kept is None or kept[0] != given:
            kept = self.kept = (given, self.packed(params))
        return kept[1]

    def workspace(self) -> Workspace:
        """One that a call before left, or a new one."""
        try:
            return self.workspaces.popleft()
        except IndexError:
            return Workspace(self)

    def _shape(self, height: int, width: int) -> Shape:
        """Of the output for an image of this size."""
        return self.net.shapes(height, width)[self.net.output]

    def _rings(self, *where: int) -> Rings:
        return rings_of(self.schedule, lambda channels: round_up(channels, OUTS), *where)


def rows_beside(schedule: Schedule) -> float:
    """Rows of the input that a band makes on each side, on average of all tensors."""
    scales = np.array([tensor.scale for tensor in schedule.tensors])
    low, high = (schedule.spans(1000, 1064) / scales[:, None]).T
    made = (high > low) & (low > 0)
    return float((high - low - 64)[made].mean() / 2)


def rings_of(
    schedule: Schedule,
    planes: Callable[[int], int],
    top: int,
    bottom: int,
    width: int,
    height: int,
    widest: int,
    tile: int = TILE,
) -> Rings:
    """Where every ring of a band is, and which rows the band needs.

    Parameters
    ----------
    schedule : Schedule
        Its rings sized.
    planes : callable
        How many planes so many channels take.
    top, bottom : int
        Rows of the image that the band stores.
    width, height : int
        Of the strip and of the image.
    widest : int
        Columns to have room for.
    tile : int
        Columns of the widest register block.

    Returns
    -------
    Rings
    """
    found: list[Ring] = []
    spans, offset = schedule.spans(top, bottom).tolist(), 0
    for (low, high), tensor in zip(spans, schedule.tensors, strict=True):
        pitch = round_up(widest * tensor.scale, tile) + 2 * MARGIN
        ring = Ring(
            offset=offset,
            depth=tensor.depth,
            planes=planes(tensor.channels),
            pitch=round_up(pitch + 16, 32) - 16,  # an odd number of cache lines
            width=width * tensor.scale,
            low=low,
            high=high,
            rows=height * tensor.scale,
            channels=tensor.channels,
        )
        found.append(ring)
        offset += ring.depth * ring.planes * ring.pitch
    layout = tuple((ring.offset, ring.depth, ring.planes, ring.pitch) for ring in found)
    return Rings(table(Ring, found), layout, offset)


class Workspace:
    """What one thread works in."""

    def __init__(self, plan: InferencePlan) -> None:
        tensors, convolutions = plan.schedule.tensors, plan.tables.convolutions
        self.done = np.zeros(len(tensors), np.int64)
        # a convolution wider than the kernels are unrolled for takes every tap for a row
        most = max([64, *(int(conv.kernel_size) ** 2 for conv in convolutions)])
        self.addresses = np.zeros(most, np.int64)
        self.scratch = aligned(SCRATCH)
        self._layout: tuple[tuple[int, ...], ...] | None = None

    def work(self, rings: Rings) -> Floats:
        """Room for the rings of a job, all zero unless the job before had the same layout."""
        # then rows are written before they are read, and the padding on the left is zero still
        if self._layout != rings.layout:
            self._layout, self._work = rings.layout, aligned(rings.floats + 256)
        return self._work
