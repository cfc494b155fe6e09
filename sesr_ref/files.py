"""Files: written atomically, so that no reader sees half of one, and checked before reading."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

TEMPORARY = ".tmp"
OPEN_FILES = Path("/proc/self/fd")
"""Where Linux shows a process its open files, even those without a name."""


@contextmanager
def atomic_write(path: Path, overwrite: bool = True) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path` that takes its name when the block succeeds.

    Parameters
    ----------
    path : Path
        The file to write; its folder must exist.
    overwrite : bool
        Whether to replace an existing file.

    Yields
    ------
    binary file
        Flushed to disk, then renamed; removed if the block raises (a full disk, Ctrl-C).

    Raises
    ------
    FileExistsError
        If `path` exists, before or after the block, and `overwrite` is false.
    IsADirectoryError
        If `path` is a folder.
    OSError
        If it cannot be written (a full disk, a missing folder); names `path`.
    """
    check_free(path, overwrite)
    try:
        with _temporary_beside(path, overwrite) as stream:
            yield stream
    except OSError as error:
        # name the file that the user knows instead of the temporary one
        if error.errno is not None and str(error.filename or TEMPORARY).endswith(TEMPORARY):
            error.filename = str(path)
        raise


def check_free(path: Path, overwrite: bool, hint: str = "") -> None:
    """Raise unless a file may be written to `path`.

    Parameters
    ----------
    path : Path
        The file to write.
    overwrite : bool
        Whether an existing file may be replaced.
    hint : str
        How to replace it, for the message.

    Raises
    ------
    FileExistsError
        If `path` exists and `overwrite` is false.
    IsADirectoryError
        If `path` is a folder.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder")
    if not overwrite and os.path.lexists(path):
        raise FileExistsError(f"{path} exists already{hint}")


@contextmanager
def _temporary_beside(path: Path, overwrite: bool) -> Iterator[IO[bytes]]:
    if (handle := _unnamed_in(path.parent)) is not None:
        with os.fdopen(handle, "w+b") as stream:
            yield stream
            _flush(stream)
            if not _linked(stream, path, overwrite):
                with _named_beside(path, overwrite) as copy:
                    stream.seek(0)
                    shutil.copyfileobj(stream, copy)
        return
    with _named_beside(path, overwrite) as stream:
        yield stream


def _unnamed_in(folder: Path) -> int | None:
    """Open a file that has no name, and so is gone with a process that is killed; None without."""
    if not hasattr(os, "O_TMPFILE") or not OPEN_FILES.is_dir():
        return None
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o666)
    except OSError:  # the file system has no such files, or no file at all can be written there
        return None


def _linked(stream: IO[bytes], path: Path, overwrite: bool) -> bool:
    """Give a file without a name that of `path`; whether that was possible."""
    opened = f"{OPEN_FILES}/{stream.fileno()}"
    try:
        os.link(opened, path, src_dir_fd=stream.fileno())  # any: it makes this follow the link
        return True
    except FileExistsError:
        if not overwrite:
            raise FileExistsError(f"{path} exists already") from None
    except OSError:
        return False
    beside = path.with_name(f".{path.name[:32]}.{secrets.token_hex(8)}{TEMPORARY}")
    os.link(opened, beside, src_dir_fd=stream.fileno())
    try:
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return True


@contextmanager
def _named_beside(path: Path, overwrite: bool) -> Iterator[IO[bytes]]:
    # only part of the name: the file system limits the length of the temporary one too
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:32]}.", suffix=TEMPORARY, dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            _flush(stream)
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        _rename(temporary, path, overwrite)
    finally:
        temporary.unlink(missing_ok=True)


def _flush(stream: IO[bytes]) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def _rename(temporary: Path, path: Path, overwrite: bool) -> None:
    if overwrite:
        temporary.replace(path)
        return
    try:
        os.link(temporary, path)  # unlike a rename, this fails if `path` has appeared meanwhile
    except FileExistsError:
        raise FileExistsError(f"{path} exists already") from None
    except OSError:  # a file system without hard links
        temporary.replace(path)


def check_regular(path: Path) -> None:
    """Raise before `path` is opened unless it is a regular file: opening a pipe may wait forever.

    Raises
    ------
    FileNotFoundError
        If there is none; says where a link leads that leads nowhere.
    IsADirectoryError
        For a folder.
    ValueError
        For a pipe, a device or a socket.
    """
    if broken := broken_link(path):
        raise FileNotFoundError(broken)
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{path} is a folder")
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path} is not a regular file")


def broken_link(path: Path) -> str:
    """For a link that leads to no file, a message with both paths; "" for any other path."""
    if path.is_symlink() and not path.exists():
        return f"{path} is a link to {path.readlink()}, which does not exist"
    return ""


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of the content of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
