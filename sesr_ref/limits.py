"""What a description may state, and the errors that name the layer when it does not."""

from __future__ import annotations

from typing import Any

MAX_SIZE = 1 << 16
"""Largest number of channels, kernel size or enlargement that a description may state."""
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
