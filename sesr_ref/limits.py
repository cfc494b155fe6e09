"""What a description may state, and the errors that name the layer when it does not."""

from __future__ import annotations

import operator
from collections.abc import Collection
from typing import Any

MAX_SIZE = 1 << 16
"""Largest number of channels, kernel size or enlargement that a description may state."""
MAX_SIDE = 1 << 20
"""Largest height or width of an image whose cost is asked for, in pixels."""
MAX_NPU_SIDE = 1 << 15
"""The same where an NPU's passes are estimated: the search for stripes takes longer with it."""
MAX_LAYERS = 10_000
"""Largest number of layers in one network."""
MAX_NAME = 200
"""Longest name of a layer or network, in characters."""
MAX_NUMBER = 1e30
"""Largest magnitude of an offset, factor, slope or limit: float32 still holds it."""


class NetworkError(ValueError):
    """A description that states no valid network; the message names the layer."""


def check_name(name: object, what: str) -> None:
    """Raise NetworkError unless `name` is a printable string of a reasonable length."""
    if not isinstance(name, str) or not name.isprintable() or not 1 <= len(name) <= MAX_NAME:
        raise NetworkError(
            f"{what} must be 1 to {MAX_NAME} printable characters, got {name!r:.200}"
        )


def is_int(value: object) -> bool:
    """Whether it is an integer; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def integer(value: object) -> int | None:
    """Return the integer that `value` is, of Python or NumPy; None for a bool and what is none."""
    try:
        return None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def whole_number(key: str, value: object, low: int = 1, high: int = MAX_SIDE) -> int:
    """Return `value` as an int; ValueError, naming it, unless it is one from `low` to `high`."""
    number = integer(value)
    if number is None or not low <= number <= high:
        raise ValueError(f"{key} must be an integer from {low} to {high}, got {value!r:.200}")
    return number


def image_size(height: object, width: object) -> tuple[int, int]:
    """Return both as ints; raise ValueError unless they are from 1 to `MAX_NPU_SIDE`."""
    return whole_number("height", height, high=MAX_NPU_SIDE), whole_number(
        "width", width, high=MAX_NPU_SIDE
    )


def tile_shape(tile: object) -> tuple[int, int]:
    """Rows and columns of a tile stated as one integer or as two; ValueError for anything else."""
    if (side := integer(tile)) is not None:
        parts: list[int | None] = [side, side]
    else:
        parts = [integer(part) for part in tile] if isinstance(tile, Collection) else []
    if len(parts) != 2 or parts[0] is None or parts[1] is None:
        raise ValueError(f"a tile must be an integer or two, (rows, columns), got {tile!r:.200}")
    rows, columns = parts[0], parts[1]
    if rows < 1 or columns < 1:
        raise ValueError(f"a tile must be at least 1 x 1, got {rows} x {columns}")
    return rows, columns


def require(owner: Any, condition: bool, key: str, needed: str) -> None:
    """Raise NetworkError with the owner's name and the value of `key` unless `condition` holds."""
    if not condition:
        raise NetworkError(
            f"{owner.name}: {key} must be {needed}, got {getattr(owner, key)!r:.200}"
        )


def check_size(owner: Any, *keys: str) -> None:
    """Raise NetworkError unless these fields are integers from 1 to `MAX_SIZE`."""
    for key in keys:
        value = getattr(owner, key)
        require(owner, is_int(value) and 1 <= value <= MAX_SIZE, key, f"1 to {MAX_SIZE}")


def check_odd(owner: Any) -> None:
    """Raise NetworkError unless the kernel size is odd."""
    require(owner, owner.kernel_size % 2 == 1, "kernel_size", "odd")


def check_finite(owner: Any, *keys: str) -> None:
    """Raise NetworkError unless these fields are numbers within `MAX_NUMBER`."""
    for key in keys:
        value = getattr(owner, key)
        number = isinstance(value, float) or is_int(value)
        require(owner, number and abs(value) <= MAX_NUMBER, key, f"within +-{MAX_NUMBER:g}")
