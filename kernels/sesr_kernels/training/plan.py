"""What a training step needs for one network and image size: places, tables, packed parameters."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sesr_kernels.blocks.convolve import OUTS
from sesr_kernels.blocks.winograd_points import GROUP
from sesr_kernels.description.layers import Layer, Network, is_conv, is_conv_transpose, side_of
from sesr_kernels.description.packing import round_up
from sesr_kernels.description.phases import reach
from sesr_kernels.description.shuffles import Place
from sesr_kernels.machine.compiled import Floats, Integers, aligned
from sesr_kernels.machine.emit import LANES
from sesr_kernels.machine.host import HOST
from sesr_kernels.machine.records import table
from sesr_kernels.training.operands import Geometry, Operation, Tables, tables
from sesr_kernels.training.winograd import bands, scratch_size

Array = npt.NDArray[Any]
Params = Mapping[str, Array]
Gradients = dict[str, Array]
Workspace = tuple[Floats, Floats, Floats]
"""Planes, scratch and partial sums."""


class Slot(NamedTuple):
    """Where a parameter's partial sums end up in a row of gradients, and how to read them."""

    start: int
    size: int
    unpack: Callable[[Array], Gradients]


class Weight(NamedTuple):
    """A piece of the packed parameters and how to fill it."""

    start: int
    pack: Callable[[Params], Array]


class TrainingPlan:
    """The program for one network and one size of its input.

    Parameters
    ----------
    net : Network
        Collapsed; as `description.layers` reads it.
    height, width : int
        Of one input image.
    winograd : bool
        Whether convolutions of 3 x 3 and 5 x 5 and their gradients use Winograd's algorithm.
    """

    def __init__(self, net: Network, height: int, width: int, winograd: bool = False) -> None:
        self.winograd, self.scratch_size = winograd, 1
        self.net, self.upscale = net, net.upscale
        self.channels = {name: shape[2] for name, shape in net.shapes(16, 24).items()}
        self.geometry = _geometry(height, width, _padding(net))
        self.planes = 0
        self.operations: list[Operation] = []
        self.shifts: list[int] = []
        self.weights: list[Weight] = []
        self.packed_size = 0
        self.slots: list[Slot] = []
        self.sums_size = 0
        self.allocated: dict[int, int] = {}  # place: its planes
        self.free: dict[int, list[int]] = {}
        self.workspaces: deque[Workspace] = deque()
        self.inputs = self.allocate(net.channels, exact=True)  # first: where `_load` puts it
        self.ones = self.allocate(1, exact=True)
        self.places = table(Place, [])  # subpixel of each channel

    @cached_property
    def tables(self) -> Tables:
        """What to run, for the compiled half."""
        return tables(self.operations)

    @cached_property
    def shift_table(self) -> Integers:
        """Byte offsets of all weight gradients' inputs."""
        return np.array(self.shifts or [0], np.int64)

    @property
    def plane_bytes(self) -> int:
        """Distance of two channels."""
        return 4 * self.geometry.plane

    def allocate(self, channels: int, exact: bool = False) -> int:
        """Byte offset of a tensor, with room for whole groups of channels unless `exact`."""
        planes = channels if exact else round_up(channels, OUTS)
        if self.free.get(planes):
            return self.free[planes].pop()
        start = self.planes * self.plane_bytes
        self.allocated[start] = planes
        self.planes += planes
        return start

    def release(self, offset: int, channels: int) -> None:
        """Let a later tensor of the same size have this place."""
        planes = round_up(channels, OUTS)
        self.free.setdefault(planes, []).append(offset)

    def pack(self, size: int, fill: Callable[[Params], Array]) -> int:
        """Byte offset of a new piece of packed parameters."""
        start = self.packed_size
        self.weights.append(Weight(start, fill))
        self.packed_size += round_up(size, 16)
        return 4 * start

    def reserve(self, size: int, unpack: Callable[[Array], Gradients]) -> int:
        """Byte offset of `size` new vectors of partial sums."""
        start = self.sums_size
        self.slots.append(Slot(start, size, unpack))
        self.sums_size += size
        return 4 * LANES * start

    def packed(self, params: Params) -> Floats:
        """All parameters in the kernels' order."""
        result = np.zeros(self.packed_size, np.float32)
        for weight in self.weights:
            values = weight.pack(params).ravel()
            result[weight.start : weight.start + len(values)] = values
        return result

    def scratch(self, taps: int, channels: int, features: int) -> None:
        """Have room for Winograd's points of a convolution or its gradients."""
        lines = self.geometry.line, self.geometry.long_line
        size = scratch_size(taps, channels, features, *lines)
        self.scratch_size = max(self.scratch_size, size)

    def workspace(self) -> Workspace:
        """Planes, scratch and partial sums for one thread, from an earlier step if possible."""
        try:
            return self.workspaces.pop()
        except IndexError:
            plane, first = self.geometry.plane, self.ones // 4
            work = aligned(self.planes * plane)
            work[first : first + plane] = 1
            return work, aligned(self.scratch_size), aligned(self.sums_size * LANES)


def _padding(net: Network) -> int:
    """Columns of zeros between rows, and rows above and below: the farthest tap's distance."""
    return max([1, *(conv_size(layer) // 2 for layer in net.layers)])


def conv_size(layer: Layer) -> int:
    """Width of the convolution kernel a layer turns into; 0 for other layers."""
    if is_conv_transpose(layer):
        return 2 * reach(layer.kernel_size, layer.stride, layer.crop) + 1
    return side_of(layer) if is_conv(layer) else 0


def _geometry(height: int, width: int, padding: int) -> Geometry:
    pitch = round_up(width + padding, LANES)  # rows begin at a vector
    start = round_up(padding * pitch + padding, LANES)
    length = (height - 1) * pitch + width
    tiles = -(-length // HOST.tile)
    below = max(tiles * HOST.tile + padding, round_up(height, GROUP) * pitch)
    end = start + below + padding * pitch + 4 * LANES  # whole vectors behind the last row
    plane = round_up(end, 32) + 16  # an odd number of cache lines: channels do not alias
    return Geometry(
        height=height,
        width=width,
        pitch=pitch,
        start=start,
        plane=plane,
        tiles=tiles,
        vectors=-(-length // LANES),
        **bands(height, width)._asdict(),
    )
