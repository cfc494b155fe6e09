"""How others store an array of ours, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

Stored = np.ndarray[Any, np.dtype[Any]]
LAYOUTS: dict[str, tuple[int, ...] | None] = {
    "as is": None,
    "OIHW": (2, 3, 1, 0),
    "IOHW": (2, 3, 0, 1),
}
"""How to transpose a stored array into ours (HWIO); None leaves it."""


def ours(array: Stored, layout: str) -> Stored:
    """An array of theirs in our order of axes."""
    order = LAYOUTS[layout]
    return array if order is None else array.transpose(order)


def theirs(array: Stored, layout: str) -> Stored:
    """An array of ours in their order of axes."""
    order = LAYOUTS[layout]
    return array if order is None else array.transpose(np.argsort(order))


def theirs_shape(shape: tuple[int, ...], layout: str) -> tuple[int, ...]:
    """The shape that they store for one of ours."""
    order = LAYOUTS[layout]
    return shape if order is None else tuple(shape[i] for i in np.argsort(order))
