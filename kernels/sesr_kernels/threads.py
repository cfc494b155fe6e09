"""Threads for independent jobs, without a threading layer.

Compiled code releases the interpreter's lock, so plain threads do.  They live for one call only:
there is no pool that a fork could break, and no layer that refuses nested or concurrent use.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import operator
import os
import threading
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


def _processor() -> int:
    """Where the calling thread runs; -1 if this system does not say."""
    if not hasattr(os, "sched_setaffinity"):
        return -1
    try:
        return int(_library().sched_getcpu())
    except (OSError, AttributeError):
        return -1


@lru_cache(maxsize=1)
def _library() -> Any:
    return ctypes.CDLL(None)


def _move(here: int, number: int) -> None:
    """Carry the calling thread to the processor `number` behind `here`, from where it may move on.

    A thread that has just waited for the interpreter's lock is often woken beside the one that
    held it, and systems take up to 10 ms to notice that another processor is idle.
    """
    with contextlib.suppress(OSError, ValueError, AttributeError):  # not on this system
        allowed = os.sched_getaffinity(0)
        order = sorted(allowed)
        place = (order.index(here) + number) % len(order)
        os.sched_setaffinity(0, {order[place]})
        os.sched_setaffinity(0, allowed)


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

    def help_out(number: int) -> None:
        _move(here, number)
        run()

    here, many = _processor(), min(threads.count, jobs)
    helpers = [threading.Thread(target=help_out, args=(i,)) for i in range(1, many)]
    for helper in helpers:
        helper.start()
    run()
    for helper in helpers:
        helper.join()
    if failures:
        raise failures[0]
