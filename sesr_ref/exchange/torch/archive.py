"""The files that torch.save writes: a zip archive, before PyTorch 1.6 a row of pickles."""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Callable
from io import BytesIO
from typing import IO, Any, NamedTuple

import numpy as np

from sesr_ref.exchange.layouts import Stored
from sesr_ref.exchange.rejection import require
from sesr_ref.exchange.torch.pickle import MAX_PICKLE_BYTES, read_pickle
from sesr_ref.exchange.torch.plain import Storage, short
from sesr_ref.params import DESCRIPTION

MAX_BYTES = 1 << 30
"""Largest file."""
OLD_MAGIC = 0x1950A86A20F9469CFC6C
OLD_PROTOCOL = 1001
LOCAL_HEADER = struct.Struct("<4s5H3I2H")
DESCRIPTOR, ENCRYPTED = 8, 1
"""Flags of a zip's member: its sizes follow behind it, and its bytes are scrambled."""


class Saved(NamedTuple):
    """What torch.save was given, how to read a storage's numbers, and what we put beside them."""

    content: Any
    numbers: Callable[[Storage], Stored]
    description: bytes | None = None


def read_archive(stream: IO[bytes]) -> Saved:
    """Read a file that torch.save wrote since PyTorch 1.6.

    Parameters
    ----------
    stream : binary file
        Kept open while numbers are read.

    Returns
    -------
    Saved

    Raises
    ------
    ValueError
        If the archive is damaged, encrypted, compressed or contradicts itself, or holds code.
    """
    archive = zipfile.ZipFile(stream)
    members = _members(archive, stream)
    pickles = [name for name in members if name.endswith("/data.pkl")]
    require(len(pickles) == 1, f"a PyTorch file has one data.pkl, this has {len(pickles)}")
    root = pickles[0].removesuffix("data.pkl")
    small = members[pickles[0]].file_size <= MAX_PICKLE_BYTES
    require(small, f"its pickle is larger than {MAX_PICKLE_BYTES} bytes")
    order = archive.read(f"{root}byteorder") if f"{root}byteorder" in members else b"little"
    known = order in (b"little", b"big")
    require(known, f"byte order {order[:20]!r} is neither little nor big")
    mark = "<" if order == b"little" else ">"

    def numbers(storage: Storage) -> Stored:
        member = f"{root}data/{storage.key}"
        require(member in members, f"the archive has no {member!r:.200}")
        dtype, held = _dtype(mark, storage), members[member].file_size
        fits = held == storage.length * dtype.itemsize
        require(fits, f"{member!r:.200} has {held} bytes, not {storage.length} numbers")
        return np.frombuffer(archive.read(member), dtype)

    beside = members.get(f"{root}{DESCRIPTION}")
    description = None
    if beside is not None and beside.file_size <= MAX_PICKLE_BYTES:
        description = archive.read(beside)
    return Saved(read_pickle(archive.read(pickles[0])), numbers, description)


def _members(archive: zipfile.ZipFile, stream: IO[bytes]) -> dict[str, zipfile.ZipInfo]:
    """The archive's members by name, each as its own header has it too."""
    infos = archive.infolist()
    members = {info.filename: info for info in infos}
    require(len(members) == len(infos), "holds two members of one name")
    stored = all(info.compress_type == zipfile.ZIP_STORED for info in infos)
    require(stored, "holds compressed members, which torch.save never writes")
    limit = min(MAX_BYTES, os.fstat(stream.fileno()).st_size)
    total = sum(info.file_size for info in infos)
    require(total <= limit, f"claims {total} bytes, at most {limit} fit")
    for info in infos:
        require(not info.flag_bits & ENCRYPTED, f"{info.filename!r:.200} is encrypted")
        _check_header(info, stream)
    return members


def _check_header(info: zipfile.ZipInfo, stream: IO[bytes]) -> None:
    """Reject a member whose own header says something else than the archive's directory."""
    stream.seek(info.header_offset)
    head = stream.read(LOCAL_HEADER.size)
    name = f"{info.filename!r:.200}"
    require(len(head) == LOCAL_HEADER.size, f"{name}: the file is truncated")
    magic, _, flags, method, _, _, crc, packed, size, _, _ = LOCAL_HEADER.unpack(head)
    same = magic == b"PK\x03\x04" and (flags, method) == (info.flag_bits, info.compress_type)
    require(same, f"{name}: its header contradicts the archive's directory")
    own = (crc, packed, size)
    later = bool(flags & DESCRIPTOR) and own == (0, 0, 0)
    sizes = own == (info.CRC, info.compress_size, info.file_size)
    require(sizes or later, f"{name}: its sizes contradict the archive's directory")


def _dtype(mark: str, storage: Storage) -> np.dtype[Any]:
    """How a storage's numbers are stored; bfloat16's as integers."""
    return np.dtype(mark + ("u2" if storage.dtype == "bf16" else storage.dtype))


def read_old(stream: IO[bytes]) -> Saved:
    """Read a file that torch.save wrote before PyTorch 1.6: pickles, then the storages.

    Parameters
    ----------
    stream : binary file
        At its start.

    Returns
    -------
    Saved

    Raises
    ------
    ValueError
        If the file is truncated, of another version or holds code.
    """
    size = os.fstat(stream.fileno()).st_size
    require(size <= MAX_BYTES, f"{size} bytes, more than {MAX_BYTES}")
    data = stream.read()
    pickles = BytesIO(data[:MAX_PICKLE_BYTES])
    known = [read_pickle(pickles), read_pickle(pickles)] == [OLD_MAGIC, OLD_PROTOCOL]
    require(known, "a PyTorch file of an unknown version: save it again with torch.save")
    system = read_pickle(pickles)
    big = isinstance(system, dict) and system.get("little_endian") is False
    storages: dict[str, Storage] = {}
    content, keys = read_pickle(pickles, storages), read_pickle(pickles)
    found = _placed(storages, keys, data, pickles.tell(), ">" if big else "<")
    return Saved(content, lambda storage: found[storage.key])


def _placed(
    storages: dict[str, Storage], keys: Any, data: bytes, place: int, mark: str
) -> dict[str, Stored]:
    """The numbers of storages that follow each other, each behind how many it has."""
    known = isinstance(keys, list) and set(map(short, keys)) == set(map(short, storages))
    require(known, "its list of storages is not that of its tensors")
    found: dict[str, Stored] = {}
    for key in keys:
        storage, dtype = storages[key], _dtype(mark, storages[key])
        count = int.from_bytes(data[place : place + 8], "little", signed=True)
        what = f"storage {key!r:.80}"
        require(count == storage.length, f"{what} has {count} numbers, not {storage.length}")
        there = place + 8 + count * dtype.itemsize <= len(data)
        require(there, f"truncated: {what} is not all there")
        found[key] = np.frombuffer(data, dtype, count, place + 8)
        place += 8 + count * dtype.itemsize
    return found
