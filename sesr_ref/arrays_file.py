"""Arrays in .npy and .npz files that may hold anything: checked before memory is taken for them.

NumPy's own readers trust a file's claims, look for pickles and raise whatever their parser meets.
Here a header is parsed as data, sizes are compared with what is needed before a byte is inflated,
and whatever is wrong is one ValueError.
"""

from __future__ import annotations

import ast
import math
import os
import shutil
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sesr_ref.files import check_regular

MAX_HEADER_BYTES = 10_000
MAX_AXES = 32
MAX_BYTES = 1 << 33
"""Largest array that is read without a narrower limit."""
MAGIC = b"\x93NUMPY"
LENGTH_BYTES = {1: 2, 2: 4, 3: 4}
"""Bytes of the header's length by major version of the format."""

Stored = npt.NDArray[Any]

_DAMAGE = (
    zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, OverflowError,
    UnicodeDecodeError, ValueError, IndexError, KeyError,
)  # fmt: skip
"""What zipfile raises for archives that are damaged, encrypted or something else."""


class Header(NamedTuple):
    """What the head of a .npy file states: an array's shape, dtype and order, and its place."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    offset: int

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(stream: IO[bytes]) -> Header:
    """Read the head of .npy data.

    Parameters
    ----------
    stream : binary file
        At the start of the data; afterwards at the values.

    Returns
    -------
    Header
        Of an array of numbers (or of two raw bytes each, as bfloat16 is stored).

    Raises
    ------
    ValueError
        For anything else, pickles included, in one line.
    """
    start = stream.read(8)
    if len(start) < 8 or not start.startswith(MAGIC) or start[6] not in LENGTH_BYTES:
        raise ValueError("not a .npy file of numbers (its first bytes are others)")
    size = LENGTH_BYTES[start[6]]
    length = int.from_bytes(stream.read(size), "little")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"not a .npy file of numbers (a header of {length} bytes)")
    text = stream.read(length)
    try:
        shape, dtype, fortran = _stated(text.decode("latin-1"))
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"not a .npy file of numbers ({reason:.100})") from None
    return Header(shape, dtype, fortran, 8 + size + length)


def _stated(text: str) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    with warnings.catch_warnings():  # Python's parser warns of odd literals
        warnings.simplefilter("ignore")
        stated = ast.literal_eval(text.strip())
    if not isinstance(stated, dict) or set(stated) != {"descr", "fortran_order", "shape"}:
        raise ValueError("its header lacks a field or has another")
    descr, shape, fortran = stated["descr"], stated["shape"], stated["fortran_order"]
    if not isinstance(descr, str) or not isinstance(fortran, bool):
        raise ValueError(f"descr {descr!r:.40}, fortran_order {fortran!r:.40}")
    dtype = np.dtype(descr)
    if dtype.kind not in "fiubc" and dtype != np.dtype("V2"):
        raise ValueError(f"an array of {dtype}: a pickle?")
    numbers = isinstance(shape, tuple) and all(type(n) is int and 0 <= n < 1 << 40 for n in shape)
    if not numbers or len(shape) > MAX_AXES or math.prod(shape) >= 1 << 48:
        raise ValueError(f"shape {shape!r:.60}")
    return shape, dtype, fortran


def read_array(stream: IO[bytes], limit: int = MAX_BYTES, held: int | None = None) -> Stored:
    """Read .npy data.

    Parameters
    ----------
    stream : binary file
        At the start of the data.
    limit : int
        Bytes of the values at most; more is rejected before any of them is read.
    held : int, optional
        Bytes that the stream holds in all, where that is known ahead.

    Returns
    -------
    array
        In the machine's byte order.

    Raises
    ------
    ValueError
        As `read_header`; if it claims more than `limit` or more than there is.
    """
    header = read_header(stream)
    if header.nbytes > limit:
        raise ValueError(
            f"claims {header.nbytes} bytes ({header.shape} of {header.dtype}), at most {limit} fit"
        )
    if held is not None and held < header.offset + header.nbytes:
        raise ValueError(f"truncated: {held - header.offset} bytes of {header.nbytes}")
    data = stream.read(header.nbytes)
    if len(data) != header.nbytes:
        raise ValueError(f"truncated: {len(data)} bytes of {header.nbytes}")
    array = np.frombuffer(data, header.dtype).astype(header.dtype.newbyteorder("="))
    return array.reshape(header.shape, order="F" if header.fortran else "C")


def map_npy(path: Path, label: str = "") -> Stored:
    """Map a file's array into memory, read-only.

    Parameters
    ----------
    path : Path
        Of a .npy file.
    label : str
        What errors call it; its path unless given.

    Returns
    -------
    array

    Raises
    ------
    ValueError
        If it is no .npy file of numbers, or shorter than it claims, or no regular file.
    OSError
        If it cannot be read.
    """
    check_regular(path)
    with path.open("rb") as stream:
        try:
            header = read_header(stream)
            if (held := os.fstat(stream.fileno()).st_size) < header.offset + header.nbytes:
                raise ValueError(f"truncated: {held - header.offset} bytes of {header.nbytes}")
        except ValueError as error:
            raise ValueError(f"{label or path}: {error}") from None
    if not header.nbytes:  # nothing to map
        return np.zeros(header.shape, header.dtype)
    order = "F" if header.fortran else "C"
    return np.memmap(path, header.dtype, "r", header.offset, header.shape, order)  # type: ignore[call-overload, no-any-return]


def read_npy(path: Path, limit: int = MAX_BYTES) -> Stored:
    """Read a file's array.

    Parameters
    ----------
    path : Path
        Of a .npy file.
    limit : int
        Bytes of its values at most.

    Returns
    -------
    array

    Raises
    ------
    ValueError
        As `read_array`, with the path, or if it is no regular file.
    OSError
        If it cannot be read.
    """
    check_regular(path)
    with path.open("rb") as stream:
        try:
            return read_array(stream, limit, os.fstat(stream.fileno()).st_size)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


class Archive:
    """The members of an open .npz by name; each is read when it is asked for."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._members: dict[str, zipfile.ZipInfo] = {}
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name in self._members:
                raise ValueError(f"holds {name!r:.80} twice")
            self._members[name] = info

    @property
    def names(self) -> list[str]:
        """Members in the file's order, without the suffix."""
        return list(self._members)

    def size(self, name: str) -> int:
        """Bytes that a member claims to hold, header and values."""
        return self._members[name].file_size

    def read(
        self,
        name: str,
        shape: tuple[int, ...] | None = None,
        dtypes: Sequence[str] = (),
        limit: int = MAX_BYTES,
    ) -> Stored:
        """Read a member.

        Parameters
        ----------
        name : str
            One of `names`.
        shape : tuple of int, optional
            What it must have.
        dtypes : sequence of str
            Names of dtypes of which it must have one; any of numbers unless given.
        limit : int
            Bytes of its values at most.

        Returns
        -------
        array

        Raises
        ------
        ValueError
            Naming the member: if it is something else, encrypted, or compressed as NumPy does not.
        """
        with self._opened(name) as stream:
            _check_stated(read_header(stream), shape, dtypes)
        with self._opened(name) as stream:
            return read_array(stream, limit, self.size(name))

    def unpack(self, name: str, path: Path, limit: int) -> None:
        """Write a member of at most `limit` bytes to a file, from where it can be mapped."""
        if self.size(name) > limit:
            raise ValueError(f"{name!r:.80} claims {self.size(name)} bytes, at most {limit} fit")
        with self._opened(name) as stream, path.open("wb") as out:
            shutil.copyfileobj(stream, out)

    @contextmanager
    def _opened(self, name: str) -> Iterator[IO[bytes]]:
        """Open a member; whatever is wrong with it is one ValueError that names it."""
        info = self._members[name]
        known = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        if info.flag_bits & 1 or info.compress_type not in known:
            raise ValueError(f"{name!r:.80} is encrypted, or compressed as NumPy does not")
        try:
            with self._archive.open(info) as stream:
                yield stream
        except _DAMAGE as error:
            raise ValueError(f"{name:.80}: {_in_words(error)}") from None


def _check_stated(header: Header, shape: tuple[int, ...] | None, dtypes: Sequence[str]) -> None:
    if dtypes and header.dtype.name not in dtypes:
        raise ValueError(f"an array of {header.dtype} instead of {' or '.join(dtypes)}")
    if shape is not None and header.shape != shape:
        raise ValueError(f"must have shape {shape}, got {header.shape}")


def _in_words(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]


@contextmanager
def open_npz(source: Path | IO[bytes]) -> Iterator[Archive]:
    """Open an .npz whose content is not trusted.

    Parameters
    ----------
    source : path or binary file
        Of the archive.

    Yields
    ------
    Archive

    Raises
    ------
    ValueError
        If it is no archive, holds a name twice or is damaged, in one line without the path.
    OSError
        If it cannot be read.
    """
    if isinstance(source, Path):
        check_regular(source)
    try:
        archive = zipfile.ZipFile(source)
    except _DAMAGE as error:
        raise ValueError(f"not an .npz file ({_in_words(error)})") from None
    with archive:
        yield Archive(archive)
