"""The row schedule of a C file: when each tensor's rows are made, and how many are kept.

The image is pushed row by row.  In step n, counted from 0, row n has arrived, and each tensor makes
rows ``ratio * n - delay`` up to ``ratio * (n + 1) - delay``: all that the rows of its inputs allow.
Steps go on behind the last row, until the output is complete.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sesr_ref import network as nw
from sesr_ref.exchange.c.text import identifiers
from sesr_ref.receptive import HEIGHT, WINDOWS

FAR = 1 << 10
"""A row that is far from every border."""

# Columns of zeros beyond the image that a kind reads, at each side
MARGINS: nw.Rules[Any] = nw.Rules(
    {
        nw.Layer: lambda layer: 0,
        nw.Conv: lambda layer: layer.sides[1] // 2,
        nw.Stencil: lambda layer: layer.sides[1] // 2,
    }
)
# Kinds that may write each value in the place of the one that they read
IN_PLACE: nw.Rules[bool] = nw.Rules(
    {nw.Layer: False, nw.Pointwise: True, nw.Add: True, nw.Multiply: True}
)


@dataclass(frozen=True)
class Stored:
    """One tensor and its rows.

    Attributes
    ----------
    name, id : str
        Of the tensor, and of its member in C.
    channels : int
        Values of a pixel.
    ratio, extra : int
        Its height is ``ratio * height + extra``, and so its width.
    delay : int
        Rows that are missing behind a step; see the module.
    home : str
        The tensor whose ring holds its rows: itself, or a later one that is computed in place.
    packed : bool
        Whether its rows are in the caller's output, whose lines follow each other.
    margin : int
        Columns kept beyond both sides of each row.
    rows : int
        Rows of the ring.
    """

    name: str
    id: str
    channels: int
    ratio: int
    extra: int
    delay: int
    home: str
    packed: bool = False
    margin: int = 0
    rows: int = 0

    def made(self, steps: int) -> int:
        """Rows that exist after so many steps, of an image without end."""
        return max(0, self.ratio * steps - self.delay) if steps else 0

    def columns(self, width: int) -> int:
        """Its width, for an image of that width."""
        return self.ratio * width + self.extra

    def pitch(self, width: int) -> int:
        """Values of one channel in a row, with both margins."""
        return self.columns(width) + 2 * self.margin


@dataclass(frozen=True)
class Plan:
    """The layers that the output depends on, and what is kept of every tensor."""

    net: nw.Network
    steps: tuple[tuple[nw.Layer, tuple[str, ...]], ...]
    tensors: dict[str, Stored]
    ids: dict[str, str]

    @property
    def output(self) -> Stored:
        """The tensor that the caller receives."""
        return self.tensors[self.net.output]

    @property
    def rings(self) -> list[Stored]:
        """The tensors that have rows of their own."""
        own = [t for t in self.tensors.values() if t.home == t.name]
        return [t for t in own if t.name != self.net.output]

    @property
    def latency(self) -> int:
        """Rows to push before the first row of the output leaves."""
        return -(-(self.output.delay + 1) // self.output.ratio)

    @property
    def least(self) -> int:
        """Smallest height and width: a `Pad` that cuts must leave a pixel."""
        return max(-((t.extra - 1) // t.ratio) for t in self.tensors.values())


def plan(net: nw.Network, types: dict[str, str]) -> Plan:
    """Schedule the rows of a network of primitives.

    Parameters
    ----------
    net : Network
        Collapsed.
    types : dict of str
        The C type of every tensor's values: only equal ones share rows.

    Returns
    -------
    Plan
    """
    steps = _needed(net)
    names = ["input", *(layer.name for layer, _ in steps)]
    shapes = net.shapes(HEIGHT, HEIGHT)
    ids = identifiers(shapes)
    tensors: dict[str, Stored] = {}
    readers: dict[str, list[nw.Layer]] = {name: [] for name in names}
    for name in names:
        height, _, channels = shapes[name]
        ratio = round(height / HEIGHT)
        extra = height - ratio * HEIGHT
        tensors[name] = Stored(name, ids[name], channels, ratio, extra, 0, name)
    for layer, inputs in steps:
        tensors[layer.name] = _delayed(layer, tensors[layer.name], [tensors[i] for i in inputs])
        for name in dict.fromkeys(inputs):
            readers[name].append(layer)
    tensors = _housed(net, steps, tensors, readers, types)
    made = {name: _ring(tensors, tensors[name], readers[name]) for name in names}
    for name in names:  # a ring serves every tensor that is kept in it
        home = tensors[name].home
        if home == net.output:
            tensors[name] = replace(tensors[name], packed=True)
            continue
        kept = [made[other] for other in names if tensors[other].home == home]
        margin, rows = (max(part) for part in zip(*kept, strict=True))
        tensors[name] = replace(tensors[name], margin=margin, rows=rows)
    return Plan(net, steps, tensors, ids)


def _needed(net: nw.Network) -> tuple[tuple[nw.Layer, tuple[str, ...]], ...]:
    """The steps without layers that the output does not depend on."""
    needed, kept = {net.output}, []
    for layer, inputs in reversed(list(net.steps())):
        if layer.name in needed:
            needed.update(inputs)
            kept.append((layer, inputs))
    return tuple(reversed(kept))


def _first(layer: nw.Layer, row: int) -> int:
    """First row of its inputs that a row of a layer reads, perhaps beyond the border."""
    return WINDOWS[type(layer)](layer, row)[0]


def _delayed(layer: nw.Layer, out: Stored, inputs: Sequence[Stored]) -> Stored:
    """Find the delay: that of its inputs, and the rows ahead that it waits for."""
    delays = [0, -out.extra]  # rows that are cut off at the end are never made
    for source in inputs:
        factor = out.ratio // source.ratio
        row = factor * FAR
        while WINDOWS[type(layer)](layer, row)[1] >= FAR:
            row -= 1
        while WINDOWS[type(layer)](layer, row + 1)[1] < FAR:
            row += 1
        delays.append(factor * source.delay + factor * FAR - (row + 1))
    return replace(out, delay=max(delays))


def _housed(
    net: nw.Network,
    steps: Sequence[tuple[nw.Layer, tuple[str, ...]]],
    tensors: dict[str, Stored],
    readers: dict[str, list[nw.Layer]],
    types: dict[str, str],
) -> dict[str, Stored]:
    """Let layers work in place: an input that nothing else reads shares their rows."""
    housed = dict(tensors)
    for layer, inputs in reversed(steps):
        out = housed[layer.name]
        for name in inputs if IN_PLACE[type(layer)] else ():
            own = housed[name]
            alike = own.channels == out.channels and own.delay == out.delay
            alone = readers[name] == [layer] and name != "input"
            if alike and alone and types[name] == types[layer.name]:
                housed[name] = replace(own, home=out.home)
                break
    return housed


def _ring(
    tensors: dict[str, Stored], tensor: Stored, readers: Sequence[nw.Layer]
) -> tuple[int, int]:
    """Margin and rows that the readers of a tensor need."""
    # just before a reader's turn the newest row is there already, the oldest that it reads still
    margin = max((MARGINS[type(layer)](layer) for layer in readers), default=0)
    count, latest = 1, max(t.delay for t in tensors.values())
    for layer in readers:
        reader = tensors[layer.name]
        for step in (*range(latest + 3), FAR):
            oldest = max(0, _first(layer, reader.made(step)))
            count = max(count, tensor.made(step + 1) - oldest)
    return margin, count
