"""All that a C file is made of, before it is put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sesr_ref.exchange.c.plan import Plan, Stored
from sesr_ref.exchange.c.site import Numbers, Sheet
from sesr_ref.exchange.c.text import BYTES


@dataclass(frozen=True)
class Draft:
    """A file in parts.

    Attributes
    ----------
    plan : Plan
        The schedule of the rows.
    numbers : Numbers
        Floats or integers.
    sheet : Sheet
        Constants and functions.
    bodies : mapping of str
        By tensor, what makes one row of it.
    prefix : str
        Of every name.
    max_width : int
        The default of the macro.
    """

    plan: Plan
    numbers: Numbers
    sheet: Sheet
    bodies: Mapping[str, str]
    prefix: str
    max_width: int

    def type_of(self, tensor: Stored) -> str:
        """C's type of a tensor's values."""
        return self.numbers.type_of(tensor.name)

    def named(self, source: str) -> str:
        """Put the prefix where the text has its place."""
        return source.replace("@@_", f"{self.prefix.upper()}_").replace("@_", f"{self.prefix}_")

    def lines(self) -> list[tuple[str, str, Stored]]:
        """Name and type of each working line, and the tensor that it is as wide as."""
        found = self.sheet.lines.items()
        return [
            (name, c_type, max(tensors, key=lambda t: t.columns(self.max_width)))
            for name, (c_type, tensors) in found
        ]

    def state_bytes(self, image_width: int) -> int:
        """Bytes of rings and working lines where the macro has this value."""
        rings = sum(
            tensor.rows * tensor.pitch(image_width) * tensor.channels * BYTES[self.type_of(tensor)]
            for tensor in self.plan.rings
        )
        lines = (BYTES[kind] * tensor.columns(image_width) for _, kind, tensor in self.lines())
        return rings + sum(lines)
