"""Pieces of C: names, comments, numbers, arrays."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from textwrap import indent
from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_ref.limits import check

WIDTH = 100
"""Longest line."""
LONGEST_NAME = 40
"""Longest name made from a tensor's; C99 promises to tell 63 characters apart."""
KEYWORDS = """
auto break case char const continue default do double else enum extern float for goto if inline int
long register restrict return short signed sizeof static struct switch typedef union unsigned void
volatile while asm bool true false
"""
MEMBERS = "width height step line sums32 sums64"
"""Of the state, beside the tensors."""
WIDTHS = {"int8_t": 1, "int16_t": 2, "int32_t": 4, "int64_t": 8}
"""Bytes of C's integer types, narrowest first."""
BYTES = {"float": 4, "double": 8, "int": 4} | WIDTHS
"""Of a value."""


def check_prefix(prefix: object) -> str:
    """Return a prefix of names; ValueError unless C can begin a name with it."""
    valid = isinstance(prefix, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,30}", prefix)
    check(valid, "prefix", "a letter, then up to 30 letters, digits or _", prefix)
    return str(prefix)


def identifiers(names: Iterable[str]) -> dict[str, str]:
    """A name in C for each tensor: its own as far as C allows, and no two alike."""
    found: dict[str, str] = {}
    taken = {*KEYWORDS.split(), *MEMBERS.split()}
    for name in names:
        plain = re.sub(r"\W", "_", name, flags=re.ASCII)[:LONGEST_NAME]
        if not re.match(r"[A-Za-z]", plain):
            plain = f"t{plain}"
        own, count = plain, 1
        while own in taken:
            count += 1
            own = f"{plain}_{count}"
        taken.add(own)
        found[name] = own
    return found


def comment(text: str) -> str:
    """Text that may stand in a comment: ASCII, no end of a comment, no trigraph, no prefix."""
    plain = text.encode("ascii", "backslashreplace").decode().replace("@", "(at)")
    return plain.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?")


def string(text: str) -> str:
    """A literal whose bytes are UTF-8."""
    plain = (
        chr(b) if 32 <= b < 127 and chr(b) not in '"\\?@' else f"\\{b:03o}" for b in text.encode()
    )
    return '"' + "".join(plain) + '"'


def real(value: Any, kind: str = "float") -> str:
    """A constant that reads back as the same number of its kind, float or double."""
    narrow = np.float32(value) if kind == "float" else np.float64(value)
    text = str(narrow)
    if not re.search(r"[.e]", text):
        text += ".0"
    return text + ("f" if kind == "float" else "")


def whole(value: Any) -> str:
    """An integer constant; C has no literal for the most negative ones."""
    number = int(value)
    if number == -(1 << 31):
        return "(-2147483647 - 1)"
    return str(number)


def narrowest(values: npt.NDArray[Any]) -> str:
    """The narrowest integer type that holds the values."""
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    ends = ((name, 1 << (8 * size - 1)) for name, size in WIDTHS.items())
    return next(name for name, end in ends if -end <= low and high < end)


def array(name: str, values: npt.NDArray[Any], c_type: str) -> str:
    """A constant array in the order of memory, with its shape."""
    flat = np.ascontiguousarray(values).ravel()
    floating = c_type in ("float", "double")
    shape = "".join(f"[{size}]" for size in values.shape)
    note = f" /* {shape} */" if values.ndim > 1 else ""
    body = wrapped([real(value, c_type) if floating else whole(value) for value in flat])
    return f"static const {c_type} {name}[{flat.size}] = {{{note}\n{body}\n}};\n"


def wrapped(words: Sequence[str]) -> str:
    """Words separated by commas, in lines of bounded length."""
    lines, line = [], ""
    for word in words:
        if line and len(line) + len(word) + 7 > WIDTH:
            lines.append(line)
            line = ""
        line += f"{word}, "
    return indent("\n".join(part.rstrip() for part in [*lines, line]).rstrip(","), "    ")


def block(text: str, depth: int = 1) -> str:
    """Indent C by so many levels."""
    return indent(text, "    " * depth)
