"""FlatBuffers: tables as ``{slot: value}``, written front to back, read with bounds checked."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

SCALARS = {"i8": ("<b", 1), "u8": ("<B", 1), "i32": ("<i", 4), "u32": ("<I", 4)}
DATA_ALIGNMENT = 16
"""Of the bytes of a tensor, as TFLite's schema demands."""


class Scalar(NamedTuple):
    """A number in a table; `kind` is one of `SCALARS`."""

    kind: str
    value: int


class Table(dict[int, Any]):
    """Fields by slot: a `Scalar`, str, `Table`, list of Table or str, or a NumPy vector."""


class Writer:
    """Tables as bytes: each one behind its vtable, and what it refers to behind it."""

    def __init__(self, identifier: bytes) -> None:
        self._out = bytearray(4) + identifier

    def finish(self, root: Table) -> bytes:
        """Write the root table; the whole file."""
        self._point(0, self._table(root))
        return bytes(self._out)

    def _pad(self, alignment: int, ahead: int = 0) -> None:
        """So that what comes `ahead` bytes further on is aligned."""
        self._out += bytes(-(len(self._out) + ahead) % alignment)

    def _point(self, place: int, target: int) -> None:
        struct.pack_into("<I", self._out, place, target - place)

    def _table(self, fields: Table) -> int:
        size, places = 4, dict[int, int]()
        for slot in sorted(fields, key=lambda s: -_width(fields[s])):  # wide ones first: no holes
            width = _width(fields[slot])
            size += -size % width
            places[slot] = size
            size += width
        slots = range(max(fields, default=-1) + 1)
        vtable = struct.pack("<HH", 4 + 2 * len(slots), size)
        vtable += b"".join(struct.pack("<H", places.get(slot, 0)) for slot in slots)
        self._pad(4, len(vtable))
        start = len(self._out)
        self._out += vtable
        place = len(self._out)
        self._out += struct.pack("<i", place - start) + bytes(size - 4)
        later = []
        for slot, value in fields.items():
            if isinstance(value, Scalar):
                kind = SCALARS[value.kind][0]
                struct.pack_into(kind, self._out, place + places[slot], value.value)
            else:
                later.append((place + places[slot], value))
        for spot, value in later:
            self._point(spot, self._value(value))
        return place

    def _value(self, value: Any) -> int:
        if isinstance(value, Table):
            return self._table(value)
        if isinstance(value, str):
            data = value.encode()
            return self._vector(4, len(data), data + b"\0")
        if isinstance(value, np.ndarray):
            little = np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"))
            alignment = DATA_ALIGNMENT if value.dtype == np.uint8 else max(4, value.itemsize)
            return self._vector(alignment, value.size, little.tobytes())
        place = self._vector(4, len(value), bytes(4 * len(value)))
        for i, item in enumerate(value):
            self._point(place + 4 + 4 * i, self._value(item))
        return place

    def _vector(self, alignment: int, count: int, data: bytes) -> int:
        self._pad(alignment, 4)
        place = len(self._out)
        self._out += struct.pack("<I", count) + data
        return place


def _width(value: Any) -> int:
    return SCALARS[value.kind][1] if isinstance(value, Scalar) else 4


class Reader:
    """One table of a file that may hold anything; ValueError for whatever lies outside it."""

    def __init__(self, data: bytes, place: int) -> None:
        self._data, self._place = data, place
        back = self._unpack("<i", place)
        self._vtable = place - back
        self._slots = (self._unpack("<H", self._vtable) - 4) // 2

    @classmethod
    def root(cls, data: bytes, identifier: bytes) -> Reader:
        """The root table of a file with that identifier."""
        if len(data) < 8 or data[4:8] != identifier:
            raise ValueError(f"is no file of kind {identifier.decode()}")
        return cls(data, struct.unpack_from("<I", data)[0])

    def _unpack(self, kind: str, place: int) -> int:
        if not 0 <= place <= len(self._data) - struct.calcsize(kind):
            raise ValueError("refers to bytes outside the file")
        (value,) = struct.unpack_from(kind, self._data, place)
        return int(value)

    def _field(self, slot: int) -> int | None:
        """Where a field lies; None where it is left out."""
        if slot >= self._slots:
            return None
        offset = self._unpack("<H", self._vtable + 4 + 2 * slot)
        return self._place + offset if offset else None

    def number(self, slot: int, kind: str, default: int = 0) -> int:
        """A number of one of `SCALARS`."""
        place = self._field(slot)
        return default if place is None else self._unpack(SCALARS[kind][0], place)

    def _reference(self, slot: int) -> int | None:
        place = self._field(slot)
        return None if place is None else place + self._unpack("<I", place)

    def table(self, slot: int) -> Reader | None:
        """A table; None where it is left out."""
        place = self._reference(slot)
        return None if place is None else Reader(self._data, place)

    def text(self, slot: int) -> str:
        """A string; "" where it is left out."""
        return bytes(self.vector(slot, np.uint8)).decode("utf-8", "replace")

    def vector(self, slot: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Numbers; none where it is left out."""
        place = self._reference(slot)
        kind = np.dtype(dtype).newbyteorder("<")
        if place is None:
            return np.zeros(0, kind)
        count = self._unpack("<I", place)
        if count * kind.itemsize > len(self._data) - place - 4:
            raise ValueError(f"a vector of {count} numbers is longer than the file")
        return np.frombuffer(self._data, kind, count, place + 4)

    def tables(self, slot: int, most: int) -> list[Reader]:
        """A vector of at most so many tables."""
        place = self._reference(slot)
        if place is None:
            return []
        if (count := self._unpack("<I", place)) > most:
            raise ValueError(f"a vector of {count} tables, at most {most} are read")
        spots = (place + 4 + 4 * i for i in range(count))
        return [Reader(self._data, spot + self._unpack("<I", spot)) for spot in spots]
