"""Threads for independent jobs, without a threading layer.

Compiled code releases the interpreter's lock, so plain threads do.  They live for one call only:
there is no pool that a fork could break, and no layer that refuses nested or concurrent use.
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import itertools
import operator
import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any


def available() -> int:
    """Threads to use: the processors of this process, at most ``NUMBA_NUM_THREADS`` if set."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        count = os.cpu_count() or 1
    limit = os.environ.get("NUMBA_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS") or ""
    return min(count, int(limit)) if limit.isdecimal() and int(limit) else count


class Threads:
    """How many threads one choice of kernels uses; no result's bits depend on it.

    Parameters
    ----------
    count : int, optional
        `available` unless given.

    Raises
    ------
    ValueError
        If it is no integer or below 1.
    """

    def __init__(self, count: int | None = None) -> None:
        self.count = available()
        if count is not None:
            self.set(count)

    def set(self, count: int) -> None:
        """Use `count` threads from now on."""
        try:
            number = operator.index(count)
        except TypeError:
            number = 0
        if number < 1 or isinstance(count, bool):
            raise ValueError(f"threads must be an integer from 1 on, got {count!r:.200}")
        self.count = number


@lru_cache(maxsize=1)
def _library() -> Any:
    """The system's; its functions return at once, so that the interpreter's lock is kept."""
    library = ctypes.PyDLL(None)
    word = ctypes.c_ulong
    library.pthread_setaffinity_np.argtypes = word, ctypes.c_size_t, ctypes.POINTER(word)
    return library


def _processors() -> list[int]:
    """What the calling thread may use, its own first; none if the system does not say."""
    try:
        allowed = sorted(os.sched_getaffinity(0))
        here = allowed.index(_library().sched_getcpu())
    except (OSError, ValueError, AttributeError):
        return []
    return allowed[here:] + allowed[:here]


@lru_cache(maxsize=256)
def _mask(processor: int) -> Any:
    """A set of one processor, as the system's functions take it."""
    bits = 8 * ctypes.sizeof(ctypes.c_ulong)
    mask = (ctypes.c_ulong * (processor // bits + 1))()
    mask[-1] = 1 << processor % bits
    return mask


def share(jobs: int, worker: Callable[[Callable[[], int]], None], threads: Threads) -> None:
    """Let threads take the jobs 0 to jobs - 1, each as soon as it is free.

    Parameters
    ----------
    jobs : int
        How many there are.
    worker : callable
        Run once in each thread with a function that gives the next job's number, or -1 when none
        is left.
    threads : Threads
        The caller's own included.

    Raises
    ------
    Exception
        The first that a worker raised; the other threads stop at their next job.
    """
    counter, failures = itertools.count(), list[BaseException]()

    def following() -> int:
        job = next(counter)
        return -1 if failures or job >= jobs else job

    def run() -> None:
        try:
            worker(following)
        except BaseException as error:
            failures.append(error)

    helpers = [_Helper(run) for _ in range(1, min(threads.count, jobs))]
    processors = _processors() if helpers else []
    for number, helper in enumerate(helpers, 1):
        helper.start(processors, number)
    steps = [run, *(helper.join for helper in helpers)]  # each may be called again
    while steps:
        try:
            while steps:
                steps[0]()
                steps.pop(0)
        except KeyboardInterrupt as error:
            failures.append(error)  # which stops the helpers: none outlives the call
    if failures:
        raise failures[0]


class _Helper:
    """A thread that the caller need not wait for when it starts it.

    `threading.Thread.start` waits until the thread runs, which takes as long as ten rows of a small
    image: a new thread first needs the interpreter's lock, which the caller holds.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self.work, self.placed, self.ended = work, _thread.allocate_lock(), _thread.allocate_lock()

    def start(self, processors: list[int], number: int) -> None:
        """Begin to work, if the system has a thread, on a processor that is not the caller's."""
        # systems often begin a thread, or wake one that waited for the interpreter's lock, beside
        # the one that is to compute meanwhile, and take up to 10 ms to notice an idle processor
        with self.placed:
            self.ended.acquire()
            try:
                thread = _thread.start_new_thread(self._run, (processors,))
            except RuntimeError:  # those there are share the work
                self.ended.release()
                return
            if processors:
                mask = _mask(processors[number % len(processors)])
                _library().pthread_setaffinity_np(thread, ctypes.sizeof(mask), mask)

    def _run(self, processors: list[int]) -> None:
        try:
            with self.placed:  # not before: a thread that has ended cannot be placed
                pass
            if processors:
                with contextlib.suppress(OSError):  # the system has taken some away meanwhile
                    os.sched_setaffinity(0, processors)  # from where it is it may move on
            self.work()
        finally:
            self.ended.release()

    def join(self) -> None:
        """Wait until it has ended."""
        with self.ended:
            pass
