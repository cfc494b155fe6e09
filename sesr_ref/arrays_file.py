"""Arrays in untrusted .npy and .npz files: checked before memory is allocated for them.

NumPy's own readers trust a file's claims, accept pickles and raise errors of many kinds.  Here a
header is parsed as data, sizes are compared with what is needed before a byte is decompressed, and
every defect is one ValueError.
"""

from __future__ import annotations

import ast
import errno
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
from sesr_ref.limits import check, in_one_line, naming, shown

MAX_HEADER_BYTES = 10_000
MAX_AXES = 32
MAX_BYTES = 1 << 33
"""Largest array that is read unless the caller states a limit."""
MAGIC = b"\x93NUMPY"
LENGTH_BYTES = {1: 2, 2: 4, 3: 4}
"""Size in bytes of the field with the header's length, by major version of the format."""

Stored = npt.NDArray[Any]

_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    RuntimeError,
    NotImplementedError,
    OverflowError,
    UnicodeDecodeError,
    ValueError,
    IndexError,
    KeyError,
)
"""What zipfile raises for archives that are damaged or encrypted, and for other files."""
_NOT_LITERAL = (SyntaxError, ValueError, TypeError, RecursionError, MemoryError)
"""What Python's parser of literals raises."""


class Header(NamedTuple):
    """What the head of .npy data states: an array's shape, dtype and order, and its offset."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    offset: int

    @property
    def nbytes(self) -> int:
        """Size of the values in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def check_held(self, held: int) -> None:
        """Raise ValueError unless `held` bytes, header included, hold the values."""
        if held < self.offset + self.nbytes:
            raise ValueError(f"truncated: {held - self.offset} bytes of {self.nbytes}")


def read_header(stream: IO[bytes]) -> Header:
    """Read the head of .npy data.

    Parameters
    ----------
    stream : binary file
        Positioned at the start of the data; afterwards at the values.

    Returns
    -------
    Header
        Describes an array of numbers, or of raw pairs of bytes, as bfloat16 is stored.

    Raises
    ------
    ValueError
        For anything else, pickles included, in one line.
    """
    with naming("not a .npy file of numbers", _NOT_LITERAL):
        start = stream.read(8)
        version = start[6] if len(start) == 8 and start.startswith(MAGIC) else None
        check(version in LENGTH_BYTES, "its first bytes", f"{MAGIC!r} and a known version", start)
        size = LENGTH_BYTES[start[6]]
        length = int.from_bytes(stream.read(size), "little")
        check(length <= MAX_HEADER_BYTES, "its header's length", f"<= {MAX_HEADER_BYTES}", length)
        shape, dtype, fortran = _stated(stream.read(length).decode("latin-1"))
    return Header(shape, dtype, fortran, 8 + size + length)


def _stated(text: str) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    with warnings.catch_warnings():  # Python's parser warns of odd literals
        warnings.simplefilter("ignore")
        stated = ast.literal_eval(text.strip())
    fields = {"descr", "fortran_order", "shape"}
    valid = isinstance(stated, dict) and set(stated) == fields
    check(valid, "its header", f"a dict of {', '.join(sorted(fields))}", stated)
    descr, shape, fortran = stated["descr"], stated["shape"], stated["fortran_order"]
    check(isinstance(descr, str), "descr", "a string", descr)
    check(isinstance(fortran, bool), "fortran_order", "true or false", fortran)
    dtype = np.dtype(descr)
    numbers = dtype.kind in "fiubc" or dtype == np.dtype("V2")
    check(numbers, "its values", "numbers, not objects that need a pickle", dtype)
    sizes = isinstance(shape, tuple) and all(type(n) is int and 0 <= n < 1 << 40 for n in shape)
    small = sizes and len(shape) <= MAX_AXES and math.prod(shape) < 1 << 48
    check(small, "its shape", f"at most {MAX_AXES} sizes of less than 2**48 values", shape)
    return shape, dtype, fortran


def read_array(stream: IO[bytes], limit: int = MAX_BYTES, held: int | None = None) -> Stored:
    """Read .npy data.

    Parameters
    ----------
    stream : binary file
        Positioned at the start of the data.
    limit : int
        Largest size of the values in bytes; more is rejected before any of them is read.
    held : int, optional
        Bytes that the stream holds in all, if known.

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
    _check_claim(f"{header.shape} of {header.dtype}", header.nbytes, limit)
    if held is not None:
        header.check_held(held)
    data = stream.read(header.nbytes)
    header.check_held(header.offset + len(data))
    array = np.frombuffer(data, header.dtype).astype(header.dtype.newbyteorder("="))
    return array.reshape(header.shape, order="F" if header.fortran else "C")


def _check_claim(what: str, claimed: int, limit: int) -> None:
    if claimed > limit:
        raise ValueError(f"{what} takes {claimed} bytes, more than the limit of {limit}")


def map_npy(path: Path, label: str = "") -> Stored:
    """Map a file's array into memory, read-only.

    Parameters
    ----------
    path : Path
        A .npy file.
    label : str
        Its name in error messages; the path by default.

    Returns
    -------
    array

    Raises
    ------
    ValueError
        If it is not a regular .npy file of numbers, or shorter than it claims.
    OSError
        If it cannot be read.
    """
    check_regular(path)
    with path.open("rb") as stream, naming(label or path):
        header = read_header(stream)
        header.check_held(os.fstat(stream.fileno()).st_size)
    if not header.nbytes:  # a mapping must not be empty
        return np.zeros(header.shape, header.dtype)
    order = "F" if header.fortran else "C"
    return np.memmap(path, header.dtype, "r", header.offset, header.shape, order)  # type: ignore[call-overload, no-any-return]


def read_npy(path: Path, limit: int = MAX_BYTES) -> Stored:
    """Read a file's array.

    Parameters
    ----------
    path : Path
        A .npy file.
    limit : int
        Largest size of its values in bytes.

    Returns
    -------
    array

    Raises
    ------
    ValueError
        As `read_array`, with the path, or if it is not a regular file.
    OSError
        If it cannot be read.
    """
    check_regular(path)
    with path.open("rb") as stream, naming(path):
        return read_array(stream, limit, os.fstat(stream.fileno()).st_size)


@contextmanager
def inside_the_file() -> Iterator[None]:
    """Raise BadZipFile if the block seeks to a negative offset, as damaged archives state them."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise zipfile.BadZipFile("an offset is outside the file") from None


class Archive:
    """The members of an open .npz by name; each is read on request."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._members: dict[str, zipfile.ZipInfo] = {}
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name in self._members:
                raise ValueError(f"{shown(name, 80)} is there twice")
            self._members[name] = info

    @property
    def names(self) -> list[str]:
        """Names of the members in the file's order, without the suffix."""
        return list(self._members)

    def size(self, name: str) -> int:
        """Size in bytes that the archive states for a member, header included."""
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
            The shape that it must have.
        dtypes : sequence of str
            Names of the dtypes that it may have; by default any dtype of numbers.
        limit : int
            Largest size of its values in bytes.

        Returns
        -------
        array

        Raises
        ------
        ValueError
            Naming the member, if it is something else, encrypted, or compressed by another method
            than NumPy's.
        """
        with self._opened(name) as stream:
            _check_stated(read_header(stream), shape, dtypes)
        with self._opened(name) as stream:
            return read_array(stream, limit, self.size(name))

    def unpack(self, name: str, path: Path, limit: int) -> None:
        """Write a member of at most `limit` bytes to a file, so that it can be mapped."""
        _check_claim(shown(name, 80), self.size(name), limit)
        with self._opened(name) as stream, path.open("wb") as out:
            shutil.copyfileobj(stream, out)

    @contextmanager
    def _opened(self, name: str) -> Iterator[IO[bytes]]:
        """Open a member; every defect is one ValueError that names it."""
        info = self._members[name]
        known = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        with naming(f"{name:.80}", _DAMAGE):
            if info.flag_bits & 1 or info.compress_type not in known:
                raise ValueError("encrypted, or compressed by another method than NumPy's")
            with inside_the_file(), self._archive.open(info) as stream:
                yield stream


def _check_stated(header: Header, shape: tuple[int, ...] | None, dtypes: Sequence[str]) -> None:
    known = not dtypes or header.dtype.name in dtypes
    check(known, "its dtype", " or ".join(dtypes), header.dtype)
    check(shape is None or header.shape == shape, "its shape", f"{shape}", header.shape)


@contextmanager
def open_npz(source: Path | IO[bytes]) -> Iterator[Archive]:
    """Open an untrusted .npz.

    Parameters
    ----------
    source : path or binary file
        The archive.

    Yields
    ------
    Archive

    Raises
    ------
    ValueError
        If it is not an archive, has a name twice or is damaged, in one line without the path.
    OSError
        If it cannot be read.
    """
    if isinstance(source, Path):
        check_regular(source)
    try:
        with inside_the_file():
            archive = zipfile.ZipFile(source)
    except _DAMAGE as error:
        raise ValueError(f"not an .npz file ({in_one_line(error)})") from None
    with archive:
        yield Archive(archive)
