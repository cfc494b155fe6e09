"""`compiled`: Numba's njit with a disk cache that notices every change of this package.

Numba stamps a cached function with the file that defines it, so an edit in an imported file would
go unnoticed.  Here the folder's name holds a hash of all source files, the version of Numba and the
register blocks.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
import numpy.typing as npt
from numba.core import caching
from numba.core.compiler_lock import global_compiler_lock

from sesr_kernels.machine.host import HOST

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Function = TypeVar("Function", bound=Callable[..., Any])
PACKAGE = Path(__file__).parents[1]


if hasattr(os, "register_at_fork"):
    # A child forked while another thread compiles would wait forever for that thread, which it
    # does not have: the fork waits for the compiler instead.
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )


def cache_folder() -> Path:
    """Where compiled code is kept: ``$SESR_CACHE_DIR``, or the user's cache folder."""
    home = os.environ.get("SESR_CACHE_DIR") or os.environ.get("NUMBA_CACHE_DIR")
    if home:
        return Path(home) / f"sesr-kernels-{stamp()}"
    base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(base) / "sesr-ref" / f"kernels-{stamp()}"


@lru_cache(maxsize=1)
def stamp() -> str:
    """Hash of this package's sources, the compiler's version and the register blocks."""
    # Numba tells instruction sets apart, but not a HOST that a test puts in the real one's place
    digest = hashlib.sha256(f"{numba.__version__} {HOST}".encode())
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


class _Locator(caching._CacheLocator):
    """Tells Numba the folder, and that it is as fresh as its name says."""

    def __init__(self, py_func: Callable[..., Any], py_file: str) -> None:
        self._line = py_func.__code__.co_firstlineno

    def get_cache_path(self) -> str:
        return str(cache_folder())

    def get_source_stamp(self) -> str:
        return stamp()

    def get_disambiguator(self) -> str:
        return str(self._line)

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _Locator:
        return cls(py_func, py_file)


class _Files(caching.CompileResultCacheImpl):
    _locator_classes = [_Locator]  # noqa: RUF012


class _Cache(caching.FunctionCache):
    """As Numba's, but a folder that cannot be written costs a warning, not the result."""

    _impl_class = _Files

    def save_overload(self, sig: Any, data: Any) -> None:
        parent: Any = super()
        try:
            try:
                parent.save_overload(sig, data)
            except (EOFError, ValueError, pickle.UnpicklingError):  # an index cut short
                parent.flush()
                parent.save_overload(sig, data)
        except OSError as error:
            _warn_once(str(error))

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            parent: Any = super()
            return parent.load_overload(sig, target_context)
        except Exception:  # a file cut short or of another build: compile afresh
            return None


@lru_cache(maxsize=1)
def _warn_once(reason: str) -> None:
    warnings.warn(
        f"compiled kernels are not kept ({reason}); set SESR_CACHE_DIR to a writable folder",
        RuntimeWarning,
        stacklevel=2,
    )


@lru_cache(maxsize=1)
def _writable() -> bool:
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError as error:
        _warn_once(str(error))
        return False


def plain(array: Array) -> Floats:
    """The same values as the one kind of array that kernels are compiled for."""
    # Numba would compile anew, for seconds, for what is strided, unaligned or read-only
    return np.require(array, np.float32, ["C", "A", "W", "E"])


def aligned(size: int) -> Floats:
    """Float32 zeros that start at a cache line."""
    work = np.zeros(size + 16, np.float32)
    skip = -work.ctypes.data % 64 // 4
    return work[skip : skip + size]


def compiled(function: Function) -> Function:
    """Compile on first use, without the interpreter's lock, cached on disk where possible."""
    dispatcher: Any = numba.njit(nogil=True, boundscheck=False, error_model="numpy")(function)
    if hasattr(dispatcher, "_cache") and _writable():  # absent under NUMBA_DISABLE_JIT
        kind: Any = _Cache
        dispatcher._cache = kind(function)
    result: Function = dispatcher
    return result
