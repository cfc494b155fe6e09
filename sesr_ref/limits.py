"""Checks of values that come from outside: an error states what was got and what was needed."""

from __future__ import annotations

import operator
import reprlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import islice
from numbers import Number
from pathlib import PurePath
from typing import Any

MAX_SIZE = 1 << 16
"""Largest number of channels, kernel size or enlargement that a description may state."""
MAX_SIDE = 1 << 20
"""Largest height or width in pixels of an image whose cost is counted."""
MAX_NPU_SIDE = 1 << 15
"""Largest height or width in pixels for an NPU: the search for stripes takes longer with it."""
MAX_LAYERS = 10_000
"""Largest number of layers in one network."""
MAX_NAME = 200
"""Longest name of a layer or network, in characters."""
MAX_NUMBER = 1e30
"""Largest magnitude of an offset, factor, slope or limit: float32 still represents it."""
MAX_SHOWN = 200
"""Longest text of a value in an error message, in characters."""
MAX_MESSAGE = 2000
"""Longest message that is passed on from another error, in characters."""


class NetworkError(ValueError):
    """A description that states no valid network; the message names the layer."""


class _Shown(reprlib.Repr):
    """A `repr` whose cost does not grow with the value: few levels, few items of each."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = 6
        self.maxstring = self.maxlong = self.maxother = MAX_SHOWN

    def repr_int(self, x: int, level: int) -> str:
        if x.bit_length() > 4 * MAX_SHOWN:  # writing out its digits takes quadratic time
            return f"an integer of {x.bit_length()} bits"
        return super().repr_int(x, level)

    def repr_bytes(self, x: bytes, level: int) -> str:
        return repr(x[:MAX_SHOWN])

    def repr_instance(self, x: object, level: int) -> str:
        if isinstance(x, type):
            return x.__name__
        if hasattr(x, "shape") and hasattr(x, "dtype") and x.shape:
            return f"{x.dtype} array of shape {x.shape}"
        if type(x).__module__.partition(".")[0] == "numpy":
            return str(x)
        if x is None or isinstance(x, (Number, PurePath)):
            return super().repr_instance(x, level)
        return f"{type(x).__name__} object"  # whose own repr may be of any size


_SHOWN = _Shown()


def shown(value: object, longest: int = MAX_SHOWN) -> str:
    """Represent a value of any type and size in an error message.

    Parameters
    ----------
    value : object
        Anything, even a value from a hostile file.
    longest : int
        Largest number of characters.

    Returns
    -------
    str
        Its `repr`, shortened; the type alone for objects other than Python's and NumPy's own.
    """
    return _SHOWN.repr(value)[:longest]


def listed(names: Collection[str], most: int = 20) -> str:
    """Join names for a message; of a long list only the first ones and the number of the others."""
    first = [str(name)[:MAX_NAME] for name in islice(names, most)]
    more = len(names) - len(first)
    return ", ".join(first) + (f" and {more} more" if more else "")


def check(condition: object, what: str, needed: str, got: object) -> None:
    """Raise ValueError, "`what` must be `needed`, got `got`", unless `condition` is true."""
    if not condition:
        raise ValueError(f"{what} must be {needed}, got {shown(got)}")


def one_of(what: str, value: object, known: Collection[Any]) -> None:
    """Raise ValueError unless `value` is one of `known`; true and false never are."""
    valid = not isinstance(value, bool) and value in list(known)
    check(valid, what, f"one of {', '.join(map(str, known))}", value)


@contextmanager
def naming(label: object, kinds: tuple[type[Exception], ...] = (ValueError,)) -> Iterator[None]:
    """Raise errors of the block as one-line ValueErrors that begin with `label`.

    Parameters
    ----------
    label : object
        What the error is about, such as a path; omitted if the message begins with it.
    kinds : tuple of types of Exception
        What to catch.

    Yields
    ------
    None

    Raises
    ------
    ValueError
        NetworkError for a NetworkError.
    """
    try:
        yield
    except kinds as error:
        text = in_one_line(error)
        if not text.startswith(tuple(f"{label}{end}" for end in (": ", " ", "/"))):
            text = f"{label}: {text}"
        raise (NetworkError if isinstance(error, NetworkError) else ValueError)(text) from None


def in_one_line(error: BaseException) -> str:
    """What an error says, in one line of bounded length; its type if it says nothing."""
    return " ".join(str(error)[:MAX_MESSAGE].split()) or type(error).__name__


def check_name(name: object, what: str) -> None:
    """Raise NetworkError unless `name` is a printable string of a reasonable length."""
    if not isinstance(name, str) or not name.isprintable() or not 1 <= len(name) <= MAX_NAME:
        raise NetworkError(
            f"{what} must be 1 to {MAX_NAME} printable characters, got {shown(name)}"
        )


def is_int(value: object) -> bool:
    """Whether it is an integer of Python; true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def integer(value: object) -> int | None:
    """Return an integer of Python or NumPy as an int; None for anything else, bools included."""
    try:
        return None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def whole_number(what: str, value: object, low: int = 1, high: int = MAX_SIDE) -> int:
    """Return `value` as an int; ValueError, naming it, unless it is one from `low` to `high`."""
    number = integer(value)
    valid = number is not None and low <= number <= high
    check(valid, what, f"an integer from {low} to {high}", value)
    assert number is not None
    return number


def image_size(height: object, width: object) -> tuple[int, int]:
    """Return both as ints; raise ValueError unless they are from 1 to `MAX_NPU_SIDE`."""
    return whole_number("height", height, high=MAX_NPU_SIDE), whole_number(
        "width", width, high=MAX_NPU_SIDE
    )


def tile_shape(tile: object) -> tuple[int, int]:
    """Rows and columns of a tile given as one integer or as two; ValueError for anything else."""
    sides = (tile, tile) if integer(tile) is not None else tile
    parts = [integer(side) for side in sides] if isinstance(sides, Collection) else []
    valid = len(parts) == 2 and None not in parts
    check(valid, "a tile", "an integer or two, (rows, columns)", tile)
    rows, columns = (part for part in parts if part is not None)
    check(rows >= 1 and columns >= 1, "a tile", "at least 1 x 1", tile)
    return rows, columns


def require(owner: Any, condition: bool, key: str, needed: str) -> None:
    """Raise NetworkError with the owner's name and the value of `key` unless `condition` holds."""
    if not condition:
        got = shown(getattr(owner, key))
        raise NetworkError(f"{owner.name}: {key} must be {needed}, got {got}")


def check_size(owner: Any, *keys: str) -> None:
    """Raise NetworkError unless these fields are integers from 1 to `MAX_SIZE`."""
    for key in keys:
        value = getattr(owner, key)
        require(owner, is_int(value) and 1 <= value <= MAX_SIZE, key, f"1 to {MAX_SIZE}")


def check_bools(owner: Any, *keys: str) -> None:
    """Raise NetworkError unless these fields are true or false."""
    for key in keys:
        require(owner, isinstance(getattr(owner, key), bool), key, "true or false")


def check_odd(owner: Any) -> None:
    """Raise NetworkError unless the kernel size is odd."""
    require(owner, owner.kernel_size % 2 == 1, "kernel_size", "odd")


def check_finite(owner: Any, *keys: str) -> None:
    """Raise NetworkError unless these fields are numbers within `MAX_NUMBER`."""
    for key in keys:
        value = getattr(owner, key)
        number = isinstance(value, float) or is_int(value)
        require(owner, number and abs(value) <= MAX_NUMBER, key, f"within +-{MAX_NUMBER:g}")
