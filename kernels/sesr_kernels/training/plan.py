"""What a training step needs for one network and image size: places, tables, packed parameters."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sesr_kernels.blocks.convolve import OUTS
from sesr_kernels.blocks.winograd import ROWS as GROUP
from sesr_kernels.description.packing import round_up
from sesr_kernels.description.phases import reach
from sesr_kernels.machine.emit import LANES
from sesr_kernels.machine.host import HOST
from sesr_kernels.training.winograd import LINE, LONG_LINE, PLANE, bands, scratch_size

Array = npt.NDArray[Any]
Params = dict[str, Array]
Workspace = tuple[Array, Array, Array]


class Slot(NamedTuple):
    """Where a parameter's partial sums end up in a row of gradients, and how to read them."""

    start: int
    size: int
    unpack: Callable[[Array], Params]


class Weight(NamedTuple):
    """A piece of the packed parameters and how to fill it."""

    start: int
    pack: Callable[[Params], Array]


class Plan:
    """The program for one network and one size of its input.

    Parameters
    ----------
    net : Network
        Collapsed; read by the names of its layers' kinds and fields.
    height, width : int
        Of one input image.
    winograd : bool
        Whether convolutions of 3 x 3 and 5 x 5 and their gradients use Winograd's algorithm.
    """

    def __init__(self, net: Any, height: int, width: int, winograd: bool = False) -> None:
        self.winograd, self.scratch_size = winograd, 1
        self.net, self.upscale = net, net.upscale
        self.channels = {name: shape[2] for name, shape in net.shapes(16, 24).items()}
        self.geometry = _geometry(height, width, _padding(net))
        self.planes = 0
        self.rows: list[list[int]] = []
        self.shifts: list[int] = []
        self.numbers: list[float] = []
        self.weights: list[Weight] = []
        self.packed_size = 0
        self.slots: list[Slot] = []
        self.sums_size = 0
        self.free: dict[int, list[int]] = {}
        self.workspaces: deque[Workspace] = deque()
        self.inputs = self.allocate(net.channels, exact=True)  # first: where `_load` puts it
        self.ones = self.allocate(1, exact=True)
        self.places = np.empty((0, 3), np.int64)  # subpixel of each channel

    @cached_property
    def program(self) -> Array:
        """What to run, row by row."""
        return np.array(self.rows, np.int64)

    @cached_property
    def shift_table(self) -> Array:
        """Byte offsets of all weight gradients' inputs."""
        return np.array(self.shifts or [0], np.int64)

    @cached_property
    def number_table(self) -> Array:
        """Constants of pointwise steps."""
        return np.array(self.numbers or [0], np.float32)

    @property
    def plane_bytes(self) -> int:
        """Distance of two channels."""
        return 4 * int(self.geometry[PLANE])

    def allocate(self, channels: int, exact: bool = False) -> int:
        """Byte offset of a tensor, with room for whole groups of channels unless `exact`."""
        planes = channels if exact else round_up(channels, OUTS)
        if self.free.get(planes):
            return self.free[planes].pop()
        start = self.planes
        self.planes += planes
        return start * self.plane_bytes

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

    def reserve(self, size: int, unpack: Callable[[Array], Params]) -> int:
        """Byte offset of `size` new vectors of partial sums."""
        start = self.sums_size
        self.slots.append(Slot(start, size, unpack))
        self.sums_size += size
        return 4 * LANES * start

    def packed(self, params: Params) -> Array:
        """All parameters in the kernels' order."""
        result = np.zeros(self.packed_size, np.float32)
        for weight in self.weights:
            values = weight.pack(params).ravel()
            result[weight.start : weight.start + len(values)] = values
        return result

    def scratch(self, taps: int, channels: int, features: int) -> None:
        """Have room for Winograd's points of a convolution or its gradients."""
        lines = int(self.geometry[LINE]), int(self.geometry[LONG_LINE])
        size = scratch_size(taps, channels, features, *lines)
        self.scratch_size = max(self.scratch_size, size)

    def workspace(self) -> Workspace:
        """Planes, scratch and partial sums for one thread, from an earlier step if possible."""
        try:
            return self.workspaces.pop()
        except IndexError:
            size = self.planes * int(self.geometry[PLANE])
            work = _aligned(size)
            first = self.ones // 4
            work[first : first + int(self.geometry[PLANE])] = 1
            return work, _aligned(self.scratch_size), _aligned(self.sums_size * LANES)


def _aligned(size: int) -> Array:
    """Zeros that start at a cache line."""
    work = np.zeros(size + 16, np.float32)
    skip = -work.ctypes.data % 64 // 4
    return work[skip : skip + size]


def _padding(net: Any) -> int:
    """Columns of zeros between rows, and rows above and below: the farthest tap's distance."""
    return max([1, *(conv_size(layer) // 2 for layer in net.layers)])


def conv_size(layer: Any) -> int:
    """Width of the convolution kernel a layer turns into; 0 for other layers."""
    if type(layer).__name__ == "ConvTranspose":
        return 2 * reach(layer.kernel_size, layer.stride, layer.crop) + 1
    return int(layer.kernel_size) if type(layer).__name__ == "Conv" else 0


def _geometry(height: int, width: int, padding: int) -> Array:
    pitch = round_up(width + padding, LANES)  # rows begin at a vector
    start = round_up(padding * pitch + padding, LANES)
    length = (height - 1) * pitch + width
    tiles = -(-length // HOST.tile)
    below = max(tiles * HOST.tile + padding, round_up(height, GROUP) * pitch)
    end = start + below + padding * pitch + 4 * LANES  # whole vectors behind the last row
    plane = round_up(end, 32) + 16  # an odd number of cache lines: channels do not alias
    count = -(-length // LANES)
    return np.array(
        [height, width, pitch, start, plane, tiles, count, *bands(height, width)], np.int64
    )
