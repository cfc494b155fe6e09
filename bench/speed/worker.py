"""A process for each candidate, so that none affects another's memory or threads."""

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
"""The first three make glibc keep freed memory.  Otherwise it returns tensors of more than 32 MB to
the system, which maps and clears them again at the next call: PyTorch then takes 2.2 times as long
at 1920 x 1080 (its tuning guide recommends another allocator), this engine the same time.  The last
makes NumPy's threads spin for 2**22 cycles after a call instead of 2**28 (a tenth of a second),
during which the next candidate would have to share the processors with them."""
_held: dict[str, Callable[[], Any]] = {}
"""In a worker's process: the function that it runs."""


class Worker(AbstractContextManager["Worker"]):
    """A fresh interpreter that holds one function at a time and times it.

    Functions that are sent to it, their arguments and results are pickled; the function to run is
    therefore built there.

    Parameters
    ----------
    environment : mapping of str
        Variables that its process gets in addition to this one's.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        before = dict(os.environ)
        os.environ.update(environment)  # an allocator reads it when its process starts
        try:
            self.call(os.getpid)
        finally:
            os.environ.clear()
            os.environ.update(before)

    def __exit__(self, *error: object) -> None:
        self.pool.shutdown()

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function of a module in the worker."""
        return self.pool.submit(function, *args, **kwargs).result()

    def hold(
        self, build: Callable[P, Callable[[], Any]], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Build the function that `result` and `seconds` run in the worker."""
        self.call(_hold, build, *args, **kwargs)

    def result(self) -> Any:
        """Run the function and return its result; this also warms it up."""
        return self.call(_result)

    def seconds(self) -> float:
        """Seconds of one run."""
        return self.call(_seconds)

    def processor_seconds(self) -> float:
        """Seconds that the processors computed for one run, whatever else they did meanwhile."""
        return self.call(_processor_seconds)

    def seconds_in_a_row(self, calls: int) -> float:
        """Mean seconds of consecutive runs, as for the frames of a film."""
        return self.call(_seconds_in_a_row, calls)


class Workers(dict[str, Worker], AbstractContextManager["Workers"]):
    """Workers by name, each from its first use to the end of the block."""

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


def _processor_seconds() -> float:
    run = _held["run"]
    start = time.process_time()
    run()
    return time.process_time() - start


def _seconds_in_a_row(calls: int) -> float:
    run = _held["run"]
    run()
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls
