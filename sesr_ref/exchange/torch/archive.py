"""The files that torch.save writes: a zip archive, before PyTorch 1.6 a row of pickles."""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Callable
from io import BytesIO
from typing import IO, Any, NamedTuple

import numpy as np

from sesr_ref.exchange.torch.pickle import MAX_PICKLE_BYTES, Storage, read_pickle, short
from sesr_ref.params import DESCRIPTION

MAX_BYTES = 1 << 30
"""Largest file."""
OLD_MAGIC = 0x1950A86A20F9469CFC6C
OLD_PROTOCOL = 1001
LOCAL_HEADER = struct.Struct("<4s5H3I2H")
DESCRIPTOR, ENCRYPTED = 8, 1
"""Flags of a zip's member: its sizes follow behind it, and its bytes are scrambled."""

Stored = np.ndarray[Any, np.dtype[Any]]


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
    if len(pickles) != 1:
        raise ValueError(f"a PyTorch file has one data.pkl, this has {len(pickles)}")
    root = pickles[0].removesuffix("data.pkl")
    if members[pickles[0]].file_size > MAX_PICKLE_BYTES:
        raise ValueError(f"its pickle is larger than {MAX_PICKLE_BYTES} bytes")
    order = archive.read(f"{root}byteorder") if f"{root}byteorder" in members else b"little"
    if order not in (b"little", b"big"):
        raise ValueError(f"byte order {order[:20]!r} is neither little nor big")
    mark = "<" if order == b"little" else ">"

    def numbers(storage: Storage) -> Stored:
        member = f"{root}data/{storage.key}"
        if member not in members:
            raise ValueError(f"the archive has no {member!r:.200}")
        dtype = _dtype(mark, storage)
        if (held := members[member].file_size) != storage.length * dtype.itemsize:
            raise ValueError(f"{member!r:.200} has {held} bytes, not {storage.length} numbers")
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
    if len(members) != len(infos):
        raise ValueError("holds two members of one name")
    size = os.fstat(stream.fileno()).st_size
    total = sum(info.file_size for info in infos)
    if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
        raise ValueError("holds compressed members, which torch.save never writes")
    if total > min(MAX_BYTES, size):
        raise ValueError(f"claims {total} bytes, at most {min(MAX_BYTES, size)} fit")
    for info in infos:
        if info.flag_bits & ENCRYPTED:
            raise ValueError(f"{info.filename!r:.200} is encrypted")
        _check_header(info, stream)
    return members


def _check_header(info: zipfile.ZipInfo, stream: IO[bytes]) -> None:
    """Reject a member whose own header says something else than the archive's directory."""
    stream.seek(info.header_offset)
    head = stream.read(LOCAL_HEADER.size)
    if len(head) < LOCAL_HEADER.size:
        raise ValueError(f"{info.filename!r:.200}: the file is truncated")
    magic, _, flags, method, _, _, crc, packed, size, _, _ = LOCAL_HEADER.unpack(head)
    own = (crc, packed, size)
    listed = (info.CRC, info.compress_size, info.file_size)
    later = bool(flags & DESCRIPTOR) and own == (0, 0, 0)
    if magic != b"PK\x03\x04" or (flags, method) != (info.flag_bits, info.compress_type):
        raise ValueError(f"{info.filename!r:.200}: its header contradicts the archive's directory")
    if own != listed and not later:
        raise ValueError(f"{info.filename!r:.200}: its sizes contradict the archive's directory")


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
    if size > MAX_BYTES:
        raise ValueError(f"{size} bytes, more than {MAX_BYTES}")
    data = stream.read()
    pickles = BytesIO(data[:MAX_PICKLE_BYTES])
    if [read_pickle(pickles), read_pickle(pickles)] != [OLD_MAGIC, OLD_PROTOCOL]:
        raise ValueError("a PyTorch file of an unknown version: save it again with torch.save")
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
    if not isinstance(keys, list) or set(map(short, keys)) != set(map(short, storages)):
        raise ValueError("its list of storages is not that of its tensors")
    found: dict[str, Stored] = {}
    for key in keys:
        storage, dtype = storages[key], _dtype(mark, storages[key])
        count = int.from_bytes(data[place : place + 8], "little", signed=True)
        if count != storage.length:
            raise ValueError(f"storage {key!r:.80} has {count} numbers, not {storage.length}")
        if place + 8 + count * dtype.itemsize > len(data):
            raise ValueError(f"truncated: storage {key!r:.80} is not all there")
        found[key] = np.frombuffer(data, dtype, count, place + 8)
        place += 8 + count * dtype.itemsize
    return found
