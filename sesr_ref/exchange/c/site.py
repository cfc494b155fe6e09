"""What a rule sees of the layer that it writes, and what the file holds so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from sesr_ref.exchange.c import text
from sesr_ref.exchange.c.plan import Plan, Stored

Values = npt.NDArray[Any]


@dataclass
class Sheet:
    """Constants and functions of the file, each written once.

    `bytes` are those of the constants, `scratch` the tensors that are interpolated.  In all texts ``@_`` stands for the prefix of names, ``@@_`` for that of macros.
    """

    arrays: dict[str, str] = field(default_factory=dict)
    bytes: int = 0
    helpers: dict[str, str] = field(default_factory=dict)
    headers: set[str] = field(default_factory=lambda: {"stddef.h"})
    scratch: list[Stored] = field(default_factory=list)

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
            self.headers.add(header)
        return f"@_{name}"


class Sums(NamedTuple):
    """How a convolution accumulates: C's types, its weight and bias, the integer that is 0."""

    c_type: str
    weight: str
    weight_type: str
    bias: str = "NULL"
    zero: int = 0
    label: str = ""

    @property
    def real(self) -> bool:
        """Whether it sums floats."""
        return self.c_type == "float"

    @property
    def bias_type(self) -> str:
        """C's type of a bias."""
        return "float" if self.real else "int32_t"

    def value(self, stored: str, zero: object = "zero") -> str:
        """What a stored value counts as."""
        if self.real:
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

    def load(self, site: Site, index: int, value: str, channel: str) -> str:
        """The real number that a value of an input stands for."""
        ...

    def store(self, site: Site, number: str, channel: str) -> str:
        """What the output stores of a real number."""
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

    def finish(self, site: Site, total: str, channel: str) -> str:
        """What a convolution stores of an accumulator."""
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

    def variable(self, index: int) -> str:
        """Name of the pointer to an input's row."""
        return "x" if len(self.inputs) == 1 else f"x{index}"

    def row(self, index: int, row: str, column: int = 0) -> str:
        """Pointer to a column of a row of an input; `column` may lie in the margin."""
        tensor = self.inputs[index]
        if tensor.home == self.out.home and tensor.name != tensor.home:
            return "y"
        place = "0" if tensor.rows == 1 else f"{row} % {tensor.rows}"
        offset = (tensor.margin + column) * tensor.channels
        return f"s->{tensor.id}[{place}]" + (f" + {offset}" if offset else "")

    def same_rows(self) -> str:
        """Declare pointers to the inputs' rows of the same number."""
        return "".join(
            f"const {c_type} *{self.variable(i)} = {self.row(i, 'row')};\n"
            for i, c_type in enumerate(self.types)
        )

    def rows_around(self, count: int, column: int) -> str:
        """Declare an array of pointers to rows around this one, 0 beyond the border."""
        rows, shift = height(self.inputs[0]), f" - {count // 2}" if count > 1 else ""
        return (
            f"const {self.types[0]} *x[{count}];\n"
            f"for (int i = 0; i < {count}; i++) {{\n"
            f"    const int at = row + i{shift};\n"
            f"    x[i] = at < 0 || at >= {rows} ? NULL : {self.row(0, 'at', column)};\n"
            "}\n"
        )

    def constant(self, key: str, values: Values) -> str:
        """Add real constants, one a channel, and return one as an expression of `c`."""
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
    return f"{base} {'+' if extra > 0 else '-'} {abs(extra)}" if extra else base


def width(tensor: Stored) -> str:
    """Columns of a tensor as an expression."""
    return size("s->width", tensor.ratio, tensor.extra)


def height(tensor: Stored) -> str:
    """Rows of a tensor as an expression."""
    return size("s->height", tensor.ratio, tensor.extra)


def each_value(site: Site, body: str) -> str:
    """Loop over the columns and channels of the output; `body` uses `i` and `c`."""
    return (
        f"for (int i = 0; i < {width(site.out)}; i++)\n"
        f"    for (int c = 0; c < {site.out.channels}; c++) {{\n"
        f"{text.block(body, 2)}\n"
        "    }\n"
    )
