"""The plan of a network of integers: what is kept of it from one image to the next."""

from __future__ import annotations

from collections import deque
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt

from sesr_kernels.blocks.narrow import SCRATCH
from sesr_kernels.blocks.products import CHANNELS
from sesr_kernels.description.integers import IntegerNetwork
from sesr_kernels.description.packing import round_up
from sesr_kernels.inference.partition import Needs, jobs
from sesr_kernels.inference.plan import (
    NARROWEST,
    RING_BYTES,
    TABLES,
    WORKSPACES,
    Rings,
    rings_of,
    rows_beside,
)
from sesr_kernels.integers.lowering import lower
from sesr_kernels.integers.operands import Words
from sesr_kernels.integers.tables import Writer
from sesr_kernels.machine.compiled import aligned
from sesr_kernels.machine.emit import LANES
from sesr_kernels.machine.host import HOST

WIDEST = HOST.vectors_of(HOST.thin) * LANES
"""Columns of the widest register block."""
STEP = 1
"""Rows of the input taken at a time."""


def groups_of(channels: int) -> int:
    """Words of a pixel: channels that only fill a register block included."""
    return round_up(channels, HOST.blocks(channels)) // CHANNELS


class IntegerPlan:
    """What one network needs whatever the image's size: program, rings, constants.

    Parameters
    ----------
    net : IntegerNetwork
        As `description.integers` reads it.
    outputs : tuple of str
        The tensors to store.

    Raises
    ------
    Unsupported
        For what these kernels do not have.
    """

    def __init__(self, net: IntegerNetwork, outputs: tuple[str, ...]) -> None:
        lowering = lower(net, outputs)
        self.schedule = lowering.schedule
        self.schedule.fit_rings(STEP)
        self.step, self.halo = STEP, self.schedule.halo(grouped=False)
        writer = Writer(lowering)
        self.tables = writer.tables()
        self.constants: Words = writer.constants()
        self.outputs = writer.outputs
        column = sum(4 * t.depth * groups_of(t.channels) * t.scale for t in self.schedule.tensors)
        strip = max(RING_BYTES // column, NARROWEST * self.halo)
        self.needs = Needs(strip, self.halo, rows_beside(self.schedule), STEP)
        rings = partial(rings_of, self.schedule, groups_of, tile=WIDEST)
        self.rings = lru_cache(maxsize=TABLES)(rings)
        self.jobs = lru_cache(maxsize=TABLES)(partial(jobs, self.needs))
        self.workspaces: deque[Workspace] = deque(maxlen=WORKSPACES)

    def shapes(self, height: int, width: int) -> list[tuple[int, int, int]]:
        """Of the outputs for an image of this size, in the order of `outputs`."""
        found = []
        for store in self.tables.stores:
            times = int(store.scale * store.block)
            found.append((height * times, width * times, int(store.channels)))
        return found

    def workspace(self) -> Workspace:
        """One that a call before left, or a new one."""
        try:
            return self.workspaces.popleft()
        except IndexError:
            return Workspace(self)


class Workspace:
    """What one thread works in."""

    def __init__(self, plan: IntegerPlan) -> None:
        self.fills = plan.tables.fills
        self.done = np.zeros(len(self.fills), np.int64)
        most = max([64, *(int(own.height) for own in plan.tables.products)])
        self.addresses = np.zeros(most, np.int64)
        self.sums = aligned(SCRATCH * LANES)
        self._layout: tuple[tuple[int, ...], ...] | None = None

    def work(self, rings: Rings) -> tuple[Words, npt.NDArray[np.uint8]]:
        """Room for the rings of a job, all zero points unless the job before had this layout."""
        # then rows are written before they are read, and the padding on the left is there still
        if self._layout != rings.layout:
            self._layout = rings.layout
            self._words = aligned(rings.floats + 256).view(np.int32)
            for (offset, depth, planes, pitch), fill in zip(rings.layout, self.fills, strict=True):
                self._words[offset : offset + depth * planes * pitch] = fill
        return self._words, self._words.view(np.uint8)
