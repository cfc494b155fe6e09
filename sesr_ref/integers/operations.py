"""A quantised network as few operations on integers, all their numbers worked out.

Fast kernels read this: they need to know neither kinds of layers nor grids of weights.  Whatever
computes each value alone is a table of 256 codes, made by the rule of its kind, so that it is what
`forward_int` computes in any arithmetic.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sesr_ref import network as nw
from sesr_ref.integers.arithmetic import Addition, Arithmetic
from sesr_ref.integers.grid import Grid, Integers, Quantization
from sesr_ref.integers.parameters import IntegerParams
from sesr_ref.integers.rounding import Scaling
from sesr_ref.integers.rules import Site, codes_of, site_of, source_scales

NARROW = (4, 8)
"""Bits of tensors that fit a byte."""


class Products(NamedTuple):
    """A convolution: sums of products of the input, less its zero point, and integer weights.

    `weight` is (rows, columns, in, out) without its zero point; `stride` is 0 unless the
    convolution is transposed.
    """

    name: str
    inputs: tuple[str, ...]
    weight: Integers
    bias: Integers
    groups: int
    stride: int
    crop: int
    scaling: Scaling


class Lookup(NamedTuple):
    """A code for each code from -128 on: (256, channels), or (256, 1) for all channels."""

    name: str
    inputs: tuple[str, ...]
    codes: npt.NDArray[np.int8]


class Sum(NamedTuple):
    """Two tensors added."""

    name: str
    inputs: tuple[str, ...]
    addition: Addition


class Join(NamedTuple):
    """The inputs' channels one after the other, all on the output's grid."""

    name: str
    inputs: tuple[str, ...]


class Part(NamedTuple):
    """Some of the channels."""

    name: str
    inputs: tuple[str, ...]
    start: int
    stop: int


class Shuffle(NamedTuple):
    """Depth to space."""

    name: str
    inputs: tuple[str, ...]
    block: int
    mode: str


Operation = Products | Lookup | Sum | Join | Part | Shuffle


@dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """Operations in order; `grids` has every tensor's.  Two are equal if they are the same object.

    Parameters
    ----------
    name, upscale, channels, output
        Of the network.
    operations : tuple
        In order.  Names that end in ``:0``, ``:1`` and so on are inputs brought to another grid.
    grids : mapping
        Of "input" and of every operation.
    """

    name: str
    upscale: int
    channels: int
    output: str
    operations: tuple[Operation, ...]
    grids: Mapping[str, Grid]


class Writer:
    """The operations written so far, and what the next one is written from."""

    def __init__(
        self, net: nw.Network, iparams: IntegerParams, q: Quantization, arithmetic: Arithmetic
    ) -> None:
        self.q, self.arithmetic = q, arithmetic
        self.wide: dict[str, Any] = {k: v.astype(np.int64) for k, v in iparams.items()}
        self.channels = {name: shape[2] for name, shape in net.shapes(16, 24).items()}
        self.operations: list[Operation] = []
        self.grids = {"input": narrow_grid("input", q.tensors["input"])}

    def site(self, layer: nw.Layer, inputs: tuple[str, ...], x: list[Integers]) -> Site:
        """Of a layer that reads `x`."""
        return site_of(layer, inputs, x, self.wide, self.q, self.arithmetic)

    def write(self, operation: Operation, grid: Grid) -> None:
        """Append an operation whose output is on `grid`."""
        self.operations.append(operation)
        self.grids[operation.name] = narrow_grid(operation.name, grid)

    def on_grid_of(self, layer: nw.Layer, inputs: tuple[str, ...]) -> tuple[str, ...]:
        """The inputs of a layer that only moves values, on its output's grid."""
        return tuple(self._regridded(layer.name, i, name) for i, name in enumerate(inputs))

    def _regridded(self, name: str, index: int, source: str) -> str:
        grid, target = self.q.tensors[source], self.q.tensors[name]
        if grid == target:
            return source
        codes = target.clip(
            self.arithmetic.rescale(
                every_code(grid, 1) - grid.zero_point, grid.scales.astype(np.float64), target
            )
        )
        self.write(Lookup(f"{name}:{index}", (source,), table(codes)), target)
        return f"{name}:{index}"


def narrow_grid(name: str, grid: Grid) -> Grid:
    """The grid; NotImplementedError unless its integers fit a byte."""
    if grid.bits not in NARROW:
        raise NotImplementedError(f"{name} has {grid.bits} bits")
    return grid


def every_code(grid: Grid, channels: int) -> Integers:
    """(1, 1, 256, channels): the codes from -128 on, as far as they are on the grid."""
    codes = np.clip(np.arange(-128, 128, dtype=np.int64), grid.low, grid.high)
    return np.broadcast_to(codes[:, None], (1, 1, 256, channels))


def table(made: Integers) -> npt.NDArray[np.int8]:
    """What was made of `every_code`, one column if all channels are alike."""
    codes = made.reshape(256, -1).astype(np.int8)
    alike = (codes == codes[:, :1]).all()
    return np.ascontiguousarray(codes[:, :1] if alike else codes)


def _convolution(w: Writer, layer: nw.Conv | nw.ConvTranspose, inputs: tuple[str, ...]) -> None:
    site = w.site(layer, inputs, [])
    weight = site.params["weight"] - site.param_grids["weight"].zero_point
    features = weight.shape[3]
    bias = np.broadcast_to(site.params.get("bias", np.int64(0)), (features,))
    groups, stride, crop = 1, 0, 0
    if isinstance(layer, nw.ConvTranspose):
        stride, crop = layer.stride, layer.crop
    else:
        groups = layer.groups
    target = narrow_grid(layer.name, site.target)
    scaling = w.arithmetic.scaling(source_scales(site, features), target)
    w.write(Products(layer.name, inputs, weight, bias, groups, stride, crop, scaling), target)


def _each_value(w: Writer, layer: nw.Layer, inputs: tuple[str, ...]) -> None:
    source = narrow_grid(inputs[0], w.q.tensors[inputs[0]])
    site = w.site(layer, inputs, [every_code(source, w.channels[inputs[0]])])
    codes = table(codes_of(layer, site))
    w.write(Lookup(layer.name, inputs, codes), site.target)


def _sum(w: Writer, layer: nw.Add, inputs: tuple[str, ...]) -> None:
    if len(inputs) != 2:  # rounded once from their sum in floating point
        raise NotImplementedError(f"{layer.name} adds {len(inputs)} tensors")
    grids = [narrow_grid(name, w.q.tensors[name]) for name in inputs]
    target = w.q.tensors[layer.name]
    w.write(Sum(layer.name, inputs, w.arithmetic.addition(grids, target)), target)


def _join(w: Writer, layer: nw.Concat, inputs: tuple[str, ...]) -> None:
    w.write(Join(layer.name, w.on_grid_of(layer, inputs)), w.q.tensors[layer.name])


def _part(w: Writer, layer: nw.Slice, inputs: tuple[str, ...]) -> None:
    moved = w.on_grid_of(layer, inputs)
    w.write(Part(layer.name, moved, layer.start, layer.stop), w.q.tensors[layer.name])


def _shuffle(w: Writer, layer: nw.DepthToSpace, inputs: tuple[str, ...]) -> None:
    moved = w.on_grid_of(layer, inputs)
    w.write(Shuffle(layer.name, moved, layer.block, layer.mode), w.q.tensors[layer.name])


def _none(w: Writer, layer: nw.Layer, inputs: tuple[str, ...]) -> None:
    raise NotImplementedError(f"{layer.name} is a {type(layer).__name__}")


OPERATIONS: nw.Rules[Callable[[Writer, Any, tuple[str, ...]], None]] = nw.Rules(
    {
        nw.Layer: _none,
        nw.Conv: _convolution,
        nw.ConvTranspose: _convolution,
        nw.Pointwise: _each_value,
        nw.Add: _sum,
        nw.Concat: _join,
        nw.Slice: _part,
        nw.DepthToSpace: _shuffle,
    }
)
"""What each kind of layer is written as."""


def operations(
    net: nw.Network, iparams: IntegerParams, q: Quantization, arithmetic: Arithmetic
) -> IntegerNetwork:
    """Write a collapsed network as operations on integers.

    Parameters
    ----------
    net, iparams, q
        As `check_integer_params` accepts them.
    arithmetic : Arithmetic
        Whose numbers they are.

    Returns
    -------
    IntegerNetwork

    Raises
    ------
    NotImplementedError
        Saying which tensor does not fit a byte, or which layer is none of these operations.
    """
    writer = Writer(net, iparams, q, arithmetic)
    for layer, inputs in net.steps():
        OPERATIONS[type(layer)](writer, layer, inputs)
    return IntegerNetwork(
        net.name, net.upscale, net.channels, net.output, tuple(writer.operations), writer.grids
    )


class _Kept(NamedTuple):
    net: nw.Network
    q: Quantization
    arithmetic: Arithmetic
    params: dict[str, bytes]


_KEPT: deque[tuple[_Kept, IntegerNetwork | str]] = deque(maxlen=8)


def kept_operations(
    net: nw.Network, iparams: IntegerParams, q: Quantization, arithmetic: Arithmetic
) -> IntegerNetwork:
    """As `operations`; the same object for the same values as in one of the last few calls."""
    given = {name: f"{value.dtype}".encode() + value.tobytes() for name, value in iparams.items()}
    key = _Kept(net, q, arithmetic, given)
    made = next((known for other, known in list(_KEPT) if other == key), None)
    if made is None:
        try:
            made = operations(net, iparams, q, arithmetic)
        except NotImplementedError as error:
            made = str(error)
        _KEPT.append((key, made))
    if isinstance(made, str):
        raise NotImplementedError(made)
    return made
