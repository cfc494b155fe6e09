"""A process for each candidate, so that none disturbs another's memory or threads."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from multiprocessing import get_context
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
ENVIRONMENT = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_TOP_PAD_": str(1 << 26),
    "OPENBLAS_THREAD_TIMEOUT": "22",
}
"""The first three let glibc keep what is freed.  It gives tensors of more than 32 MB back to the
system else, and has them mapped and cleared again at the next call: PyTorch takes 2.2 times as long
at 1920 x 1080 (its guide to tuning recommends another allocator), this engine the same.  The last
lets NumPy's threads spin for 2**22 cycles behind a call, not for 2**28, a tenth of a second, which
the candidate after the reference would have to share the processors with."""
_held: dict[str, Callable[[], Any]] = {}
"""In the process of a worker: what it runs."""


class Worker(AbstractContextManager["Worker"]):
    """A fresh interpreter that holds one function at a time and times it.

    Functions that are sent to it, their arguments and results are pickled: what it shall run is
    therefore built there.

    Parameters
    ----------
    environment : mapping of str
        What its process begins with, besides this one's.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        before = dict(os.environ)
        os.environ.update(environment)  # an allocator reads it when its process begins
        try:
            self.call(os.getpid)
        finally:
            os.environ.clear()
            os.environ.update(before)

    def __exit__(self, *error: object) -> None:
        self.pool.shutdown()

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a module's function there."""
        return self.pool.submit(function, *args, **kwargs).result()

    def hold(
        self, build: Callable[P, Callable[[], Any]], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Build there what `result` and `seconds` run, instead of what was held."""
        self.call(_hold, build, *args, **kwargs)

    def result(self) -> Any:
        """What the function gives; this warms it up as well."""
        return self.call(_result)

    def seconds(self) -> float:
        """How long it takes once."""
        return self.call(_seconds)

    def seconds_in_a_row(self, calls: int) -> float:
        """How long one of so many calls takes, right after another: as for the frames of a film."""
        return self.call(_seconds_in_a_row, calls)


class Workers(dict[str, Worker], AbstractContextManager["Workers"]):
    """A worker for each name, from its first use to the end of the block."""

    def __missing__(self, name: str) -> Worker:
        self[name] = Worker(ENVIRONMENT)
        return self[name]

    def __exit__(self, *error: object) -> None:
        for worker in self.values():
            worker.__exit__(*error)


def _hold(build: Callable[..., Callable[[], Any]], *args: Any, **kwargs: Any) -> None:
    _held.clear()
    _held["run"] = build(*args, **kwargs)


def _result() -> Any:
    return _held["run"]()


def _seconds() -> float:
    run = _held["run"]
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _seconds_in_a_row(calls: int) -> float:
    run = _held["run"]
    run()
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls
