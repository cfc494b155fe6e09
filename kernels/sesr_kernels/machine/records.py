"""Rows of whole numbers that compiled code reads by name.

A kind of record is a NamedTuple of integers.  Python makes such tuples, `table` puts them into an
array, and compiled code takes one element for the tuple it was: ``op.source`` means the same on
both sides, and mypy knows it on both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar, cast

import numpy as np

Record = TypeVar("Record", bound="tuple[Any, ...]")


def layout(kind: type[tuple[Any, ...]]) -> np.dtype[Any]:
    """The array element of a kind: all its fields as int64, in order."""
    # np.record, so that the fields are attributes without the compiler too
    fields = [(name, np.int64) for name in vars(kind)["_fields"]]
    return np.dtype((np.record, fields))


def table(kind: type[Record], rows: Iterable[Record]) -> Sequence[Record]:
    """An array with one record for each row."""
    given = list(rows)
    result = np.zeros(len(given), layout(kind))
    for i, row in enumerate(given):
        result[i] = row
    return cast(Sequence[Record], result)
