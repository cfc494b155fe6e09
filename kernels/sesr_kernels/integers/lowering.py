"""From operations on integers to those of a schedule, rows of words at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple, cast

import numpy as np

from sesr_kernels.description.integers import (
    Array,
    Grid,
    IntegerNetwork,
    Join,
    Lookup,
    Operation,
    Part,
    Products,
    Shuffle,
    Sum,
    byte_of,
    kind_of,
)
from sesr_kernels.description.layers import Unsupported
from sesr_kernels.description.phases import reach
from sesr_kernels.description.shuffles import Place, combined
from sesr_kernels.inference import schedule as rows
from sesr_kernels.inference.schedule import Schedule, Shuffling, Tensor
from sesr_kernels.integers.operands import (
    ADD,
    CONCAT,
    CONVOLUTION,
    LOAD,
    LOOKUP,
    PART,
    SHUFFLE,
    STORE,
)

MAX_KERNEL_SIZE = 31
"""Half of it must fit the padding of a row."""
IDENTITY = np.arange(-128, 128, dtype=np.int8)[:, None]


class Multiplying(NamedTuple):
    """A convolution with the table that its bytes are looked up in, if there is one."""

    given: Products
    side: int
    """Rows and columns of its kernel as it is computed."""
    source: Grid
    target: Grid
    codes: Array | None = None


class Looking(NamedTuple):
    """A table for each channel, or one for all."""

    codes: Array


class Adding(NamedTuple):
    """A sum of two tensors."""

    given: Sum
    sources: tuple[Grid, Grid]
    target: Grid


class Taking(NamedTuple):
    """Channels from `start` on."""

    start: int


class Storing(NamedTuple):
    """The way out of a tensor, whose pixels are `block` x `block` ones of the output."""

    name: str
    block: int
    places: list[Place]
    channels: int


class _End(NamedTuple):
    """What an output is stored from: a tensor, a table, shuffles, and what they make."""

    source: str
    codes: Array
    blocks: list[tuple[int, str]]
    made: tuple[str, ...]


class Lowering:
    """A schedule being written for the tensors that are asked for, and what was fused."""

    def __init__(self, net: IntegerNetwork, outputs: Collection[str]) -> None:
        self.net, self.outputs = net, outputs
        self.schedule = Schedule()
        self.number: dict[str, int] = {}
        self.readers: dict[str, list[Operation]] = {}
        for given in net.operations:
            for name in given.inputs:
                self.readers.setdefault(name, []).append(given)
        self.done: set[str] = set()
        self.emit(LOAD, self.tensor("input", net.channels, 1))
        self.zeros = [byte_of(net.grids["input"])]

    def tensor(self, name: str, channels: int, scale: int, grid: Grid | None = None) -> int:
        """Number of a new tensor."""
        self.schedule.tensors.append(Tensor(name, channels, scale))
        self.number[name] = len(self.schedule.tensors) - 1
        if grid is not None:
            self.zeros.append(byte_of(grid))
        return self.number[name]

    def like(self, source: str, name: str, channels: int | None = None, times: int = 1) -> int:
        """Number of a new tensor, of the resolution of `source` or `times` that."""
        given = self.given(source)
        channels = given.channels if channels is None else channels
        return self.tensor(name, channels, given.scale * times, self.net.grids[name])

    def given(self, name: str) -> Tensor:
        """The tensor that holds an operation's output."""
        return self.schedule.tensors[self.number[name]]

    def emit(
        self, kind: int, target: int, source: int = -1, second: int = -1, **fields: Any
    ) -> None:
        """Append an operation."""
        operation = rows.Operation(kind, target, source, second, **fields)
        self.schedule.operations.append(operation)

    def only_reader(self, name: str) -> Operation | None:
        """The operation that alone reads a tensor which is no output."""
        readers = self.readers.get(name, [])
        return readers[0] if len(readers) == 1 and name not in self.outputs else None

    def store(self, name: str, end: _End) -> None:
        """Append an output's way out, through shuffles that the store does."""
        source = end.source if _is_identity(end.codes) else name
        given = self.given(source)
        block, places = combined(given.channels, end.blocks)
        target = self.tensor(f"{name} out", 0, given.scale)
        self.zeros.append(0)
        work = Storing(name, block, places, given.channels // block**2)
        self.emit(STORE, target, self.number[source], work=work, layers=(name,))


Rule = Callable[[Lowering, Any], None]


def lower(net: IntegerNetwork, outputs: Collection[str]) -> Lowering:
    """Write the schedule of a network of integers.

    Parameters
    ----------
    net : IntegerNetwork
        As `description.integers` reads it.
    outputs : collection of str
        The tensors to store.

    Returns
    -------
    Lowering
        Whose `schedule` has rings not yet sized.

    Raises
    ------
    Unsupported
        For an operation that these kernels do not have.
    """
    p = Lowering(net, outputs)
    ends = {name: _end(p, name) for name in outputs}
    moved = {name for end in ends.values() for name in end.made}
    for given in net.operations:
        if (kind := kind_of(given)) not in RULES:
            raise Unsupported(kind)
        if given.name not in p.done and given.name not in moved:
            RULES[kind](p, given)
    for name, end in ends.items():
        if not _is_identity(end.codes):
            source, target = p.number[end.source], p.like(end.source, name)
            p.emit(LOOKUP, target, source, work=Looking(end.codes), layers=end.made)
        p.store(name, end)
    return p


def _end(p: Lowering, name: str) -> _End:
    """The shuffles at an output's end, which its store does, and tables that may go before them."""
    made = {given.name: given for given in p.net.operations}
    found = _End(name, IDENTITY, [], ())
    source, codes, blocks, names = found.source, found.codes, list(found.blocks), list[str]()
    while source in made:
        given: Any = made[source]
        alone = not p.readers.get(source) if source == name else p.only_reader(source) is not None
        if not alone:
            break
        names.append(source)
        if kind_of(given) == "Shuffle":
            blocks.insert(0, (given.block, given.mode))
            found = _End(given.inputs[0], codes, list(blocks), tuple(names))
        elif kind_of(given) == "Lookup" and given.codes.shape[1] == 1:
            codes = _behind(given.codes, codes)
        else:
            break
        (source,) = given.inputs
    return found


def _products(p: Lowering, given: Products) -> None:
    (source,), features = given.inputs, given.weight.shape[3]
    side, grids = max(given.weight.shape[:2]), p.net.grids
    if given.stride:
        half = reach(side, given.stride, given.crop)
        side, features = 2 * half + 1, features * given.stride**2
    if side > MAX_KERNEL_SIZE:
        raise Unsupported(f"a {side} x {side} kernel")
    work = Multiplying(given, side, grids[source], grids[given.name])
    if given.stride:
        _transposed(p, work, features)
        return
    names, codes = _tables_behind(p, given.name)
    target = p.like(source, names[-1], features)
    p.emit(
        CONVOLUTION,
        target,
        p.number[source],
        reach=side // 2,
        work=work._replace(codes=codes),
        layers=names,
    )


def _transposed(p: Lowering, work: Multiplying, features: int) -> None:
    """A convolution to the pixels of blocks, then a shuffle."""
    given, (source,) = work.given, work.given.inputs
    scale = p.given(source).scale
    phases = p.tensor(f"{given.name} phases", features, scale, work.target)
    p.emit(
        CONVOLUTION,
        phases,
        p.number[source],
        reach=work.side // 2,
        work=work,
        layers=(given.name,),
    )
    target = p.like(source, given.name, features // given.stride**2, given.stride)
    blocks = Shuffling(given.stride, "DCR")
    p.emit(SHUFFLE, target, phases, ratio=given.stride, work=blocks, layers=(given.name,))


def _tables_behind(p: Lowering, name: str) -> tuple[tuple[str, ...], Array | None]:
    """The lookups that follow a convolution, as one table; nothing else may read what it makes."""
    names, codes = [name], IDENTITY
    while (reader := p.only_reader(names[-1])) is not None and kind_of(reader) == "Lookup":
        codes = _behind(codes, cast(Lookup, reader).codes)
        names.append(reader.name)
        p.done.add(reader.name)
    return tuple(names), None if _is_identity(codes) else codes


def _behind(codes: Array, following: Array) -> Array:
    """Two tables as one."""
    channels = max(codes.shape[1], following.shape[1])
    wide = [np.broadcast_to(table, (256, channels)) for table in (codes, following)]
    found: Array = np.take_along_axis(wide[1], wide[0].astype(np.int64) + 128, 0)
    return found


def _is_identity(codes: Array) -> bool:
    return bool((codes == IDENTITY).all())


def _lookup(p: Lowering, given: Lookup) -> None:
    (source,) = given.inputs
    if _is_identity(given.codes):
        p.number[given.name] = p.number[source]
        return
    target = p.like(source, given.name)
    work = Looking(given.codes)
    p.emit(LOOKUP, target, p.number[source], work=work, layers=(given.name,))


def _sum(p: Lowering, given: Sum) -> None:
    first, second = given.inputs
    channels = [p.given(name).channels for name in given.inputs]
    if channels[1] not in (1, channels[0]):
        raise Unsupported(f"a sum of {channels[0]} and {channels[1]} channels")
    grids = p.net.grids
    work = Adding(given, (grids[first], grids[second]), grids[given.name])
    target = p.like(first, given.name)
    sources = p.number[first], p.number[second]
    p.emit(ADD, target, *sources, work=work, layers=(given.name,))


def _join(p: Lowering, given: Join) -> None:
    first, *rest = given.inputs
    p.number[given.name] = p.number[first]
    for i, other in enumerate(rest):
        so_far = p.schedule.tensors[p.number[given.name]]
        channels, source = so_far.channels + p.given(other).channels, p.number[given.name]
        grid = p.net.grids[given.name]
        name = given.name if i + 1 == len(rest) else f"{given.name} {i}"
        target = p.tensor(name, channels, so_far.scale, grid)
        p.number[given.name] = target
        p.emit(CONCAT, target, source, p.number[other], layers=(given.name,))


def _part(p: Lowering, given: Part) -> None:
    target = p.like(given.inputs[0], given.name, given.stop - given.start)
    source = p.number[given.inputs[0]]
    p.emit(PART, target, source, work=Taking(given.start), layers=(given.name,))


def _shuffle(p: Lowering, given: Shuffle) -> None:
    (source,) = given.inputs
    channels = p.given(source).channels // given.block**2
    target = p.like(source, given.name, channels, given.block)
    work = Shuffling(given.block, given.mode)
    numbers = p.number[source]
    p.emit(SHUFFLE, target, numbers, ratio=given.block, work=work, layers=(given.name,))


RULES: dict[str, Rule] = {
    "Products": _products,
    "Lookup": _lookup,
    "Sum": _sum,
    "Join": _join,
    "Part": _part,
    "Shuffle": _shuffle,
}
