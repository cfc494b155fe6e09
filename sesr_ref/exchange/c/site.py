"""What a rule sees of the layer that it writes, and what the file holds so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from sesr_ref import network as nw
from sesr_ref.exchange.c import text
from sesr_ref.exchange.c.plan import Plan, Stored

Values = npt.NDArray[Any]


@dataclass
class Sheet:
    """Constants and functions of the file, each written once.

    `bytes` are those of the constants; `lines` are working lines by name: their type and the
    tensors whose width they must have; `notes` are remarks on tensors.

    In all texts ``@_`` stands for the prefix of names, ``@@_`` for that of macros.
    """

    arrays: dict[str, str] = field(default_factory=dict)
    bytes: int = 0
    helpers: dict[str, str] = field(default_factory=dict)
    headers: set[str] = field(default_factory=lambda: {"stddef.h"})
    lines: dict[str, tuple[str, list[Stored]]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def array(self, owner: str, key: str, values: Values, c_type: str) -> str:
        """Add a constant array; its name."""
        name = f"@_{owner}_{key}"
        if name not in self.arrays:
            self.arrays[name] = text.array(name, values, c_type)
            self.bytes += values.size * text.BYTES[c_type]
        return name

    def helper(self, name: str, body: str, header: str | None = None) -> str:
        """Add a function, and the header that it needs; its name."""
        self.helpers.setdefault(name, body)
        if header is not None:
            self.headers |= {header, "float.h"}
        return f"@_{name}"

    def line(self, name: str, c_type: str, tensor: Stored) -> str:
        """Add a working line as wide as a tensor; the expression for it."""
        self.lines.setdefault(name, (c_type, []))[1].append(tensor)
        return f"s->{name}"


class Sums(NamedTuple):
    """How a convolution accumulates: C's types, its weight and bias, the integer that is 0."""

    c_type: str
    weight: str
    weight_type: str
    bias: str = ""
    zero: int | None = None

    def value(self, stored: str, zero: object = "zero") -> str:
        """What a stored value counts as."""
        if self.zero is None:
            return stored
        cast = "(int64_t)" if self.c_type == "int64_t" else ""
        return f"({cast}{stored} - {zero})".replace("- -", "+ ")


class Numbers(Protocol):
    """In which numbers the file computes."""

    real: str
    """C's type of a real number: float or double."""
    integer: bool
    """Whether tensors hold integers."""
    title: str
    """A sentence about them."""

    def type_of(self, name: str) -> str:
        """C's type of a tensor's values."""
        ...

    def params(self, layer: nw.Layer, values: dict[str, Values]) -> dict[str, Values]:
        """A layer's own parameters as its rule takes them."""
        ...

    def load(self, site: Site, index: int, value: str, channel: str) -> str:
        """The real number that a value of an input stands for."""
        ...

    def store(self, site: Site, number: str) -> str:
        """What channel ``c`` of the output stores of a real number."""
        ...

    def move(self, site: Site, index: int, value: str, channel: str) -> str:
        """What the output stores of an input's value that it takes over."""
        ...

    def zero(self, name: str) -> str:
        """What a tensor stores of 0."""
        ...

    def macros(self, plan: Plan) -> str:
        """What callers need to know of them."""
        ...

    def from_byte(self, plan: Plan) -> str:
        """The function from a byte of an image to the input's value."""
        ...

    def to_byte(self, plan: Plan) -> str:
        """The function from the output's value to a byte."""
        ...

    def sums(self, site: Site) -> Sums:
        """How a convolution accumulates."""
        ...

    def line_of_sums(self, site: Site, sums: Sums) -> str:
        """Where the sums of channel ``c`` of the output are accumulated."""
        ...

    def finish(self, site: Site) -> str:
        """Store the accumulated sums of channel ``c``."""
        ...


@dataclass(frozen=True)
class Site:
    """One layer: its tensors, its parameters by their short names, in whose numbers."""

    layer: Any
    out: Stored
    inputs: tuple[Stored, ...]
    params: dict[str, Values]
    owner: str
    sheet: Sheet
    numbers: Numbers

    @property
    def types(self) -> tuple[str, ...]:
        """C's types of the inputs."""
        return tuple(self.numbers.type_of(tensor.name) for tensor in self.inputs)

    @property
    def y(self) -> str:
        """Value ``i`` of channel ``c`` of the output."""
        return f"y[{line_at('c', self.out)} + i]"

    def row(self, index: int, row: str, shift: int = 0) -> str:
        """Pointer to a pixel of channel 0 in a row of an input: 0, or `shift`, in the margin."""
        tensor = self.inputs[index]
        if tensor.home != tensor.name and tensor.home == self.out.home:
            return "y"
        alone = tensor.rows == 1 and row != "from"  # which would be an unused variable
        place = "0" if alone else f"{row} % {tensor.rows}"
        start = tensor.margin + shift
        return f"s->{tensor.id}[{place}]" + (f" + {start}" if start else "")

    def same_rows(self) -> str:
        """Declare pointers to the inputs' rows of this number: ``x``, or ``x0``, ``x1``, ..."""
        names = ["x"] if len(self.inputs) == 1 else [f"x{i}" for i in range(len(self.inputs))]
        return "".join(
            f"const {c_type} *{name} = {self.row(i, 'row')};\n"
            for i, (name, c_type) in enumerate(zip(names, self.types, strict=True))
        )

    def constant(self, key: str, values: Values) -> str:
        """Add real constants, one a channel; that of channel ``c``."""
        name = self.sheet.array(self.owner, key, np.asarray(values), self.numbers.real)
        return f"{name}[c]"

    def literal(self, value: Any) -> str:
        """A real constant."""
        return text.real(value, self.numbers.real)


Rule = Callable[[Site], str]
"""Writes the body that makes row ``row`` of a layer's output at ``y``, given the state ``s``."""


def size(variable: str, ratio: int, extra: int) -> str:
    """Width or height of a tensor as an expression."""
    base = variable if ratio == 1 else f"{ratio} * {variable}"
    return f"({base} {'+' if extra > 0 else '-'} {abs(extra)})" if extra else base


def width(tensor: Stored) -> str:
    """Columns of a tensor as an expression."""
    return size("s->width", tensor.ratio, tensor.extra)


def height(tensor: Stored) -> str:
    """Rows of a tensor as an expression."""
    return size("s->height", tensor.ratio, tensor.extra)


def pitch(tensor: Stored) -> str:
    """Values from one channel's line to the next one's, as an expression."""
    if tensor.packed:
        return width(tensor)
    return size("@@_MAX_WIDTH", tensor.ratio, tensor.extra + 2 * tensor.margin)


def line_at(channel: str, tensor: Stored) -> str:
    """Offset of a channel's line in a row."""
    return "0" if channel == "0" else f"{channel} * {pitch(tensor)}"


def each_value(site: Site, body: str) -> str:
    """Loop over the channels and columns of the output; `body` uses ``c`` and ``i``."""
    inner = f"    for (int i = 0; i < {width(site.out)}; i++)"
    one = body.count("\n") == 0
    return (
        f"for (int c = 0; c < {site.out.channels}; c++)\n{inner}{'' if one else ' {'}\n"
        f"{text.block(body, 2)}\n" + ("" if one else "    }\n")
    )
