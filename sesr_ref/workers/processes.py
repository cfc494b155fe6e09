"""Processes of this machine: each has a connection of its own, so that a lost one is known."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any

from sesr_ref.limits import whole_number
from sesr_ref.workers.pool import Pool, Shown, Work, WorkerLost, attempt
from sesr_ref.workers.serve import Crashed, Ended, Part, serve

TRIES = 3
"""Workers that a job may end before it is given up."""
START_SECONDS = 1.0
"""What starting workers takes, about: work that is done sooner is done without them."""
MAX_PROCESSES = 1024
THREADS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
"""Variables of the environment that limit a process's threads, of BLAS and of the kernels."""


def processors() -> int:
    """Processors of this process, at most as many as the environment grants threads."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        count = os.cpu_count() or 1
    limits = [int(text) for key in THREADS if (text := os.environ.get(key, "")).isdecimal()]
    return max(1, min(count, *limits)) if limits else count


@dataclass(frozen=True)
class Processes:
    """Processes of this machine, which share its processors.

    Parameters
    ----------
    count : int
        How many at most.
    short : bool
        Whether a job may take less time than a process's start: jobs are done here then, until
        they have taken `START_SECONDS` and processes are there.

    Raises
    ------
    ValueError
        If `count` is not an integer from 1 on.
    """

    count: int
    short: bool = False

    def __post_init__(self) -> None:
        whole_number("the number of processes", self.count, high=MAX_PROCESSES)

    def pool(self, work: Work, shown: Shown) -> Pool:
        """Make a pool for one kind of work."""
        return ProcessPool(work, shown, self.count, START_SECONDS if self.short else 0.0)


@dataclass(eq=False)
class Worker:
    """A process, its connection, and the number of the job that it has."""

    process: multiprocessing.process.BaseProcess
    connection: Connection
    ready: bool = False
    number: int | None = None


class ProcessPool:
    """Gives jobs to processes; one that is lost is replaced, and its job is tried again."""

    def __init__(self, work: Work, shown: Shown, count: int, patience: float) -> None:
        self.work, self.shown, self.count, self.patience = work, shown, count, patience
        self.width = count + 1  # the next job is there when a process asks for it
        self.workers: list[Worker] = []
        self.jobs: dict[int, Any] = {}
        self.waiting: deque[int] = deque()
        self.lost: Counter[int | None] = Counter()
        self.done_here, self.seconds_here = 0, 0.0

    def submit(self, number: int, job: Any) -> None:
        self.jobs[number] = job
        self.waiting.append(number)

    def ended(self) -> tuple[int, Any]:
        while True:
            self._start_workers()
            self._give()
            here = self._better_here()
            for worker in self._with_messages(0.0 if here else None):
                if (found := self._receive(worker)) is not None:
                    del self.jobs[found[0]]
                    return found
            if here and not any(worker.ready for worker in self.workers):
                return self._do_here()

    def _start_workers(self) -> None:
        """Start as many as there is work for, once it is known to be worth it."""
        if self.patience and (self.seconds_here < self.patience or len(self.jobs) < 2):
            return
        while len(self.workers) < min(self.count, len(self.jobs)):
            self.workers.append(start(self.work, max(1, processors() // self.count)))

    def _better_here(self) -> bool:
        """Whether short jobs wait, and no process that could do them is there yet."""
        there = any(worker.ready for worker in self.workers)
        sooner = not self.workers or self.seconds_here < START_SECONDS * self.done_here
        return self.patience > 0 and bool(self.waiting) and not there and sooner

    def _do_here(self) -> tuple[int, Any]:
        number, begun = self.waiting.popleft(), time.monotonic()
        job = self.jobs.pop(number)
        result = attempt(self.work, job, lambda part: self.shown(number, part))
        self.seconds_here += time.monotonic() - begun
        self.done_here += 1
        return number, result

    def _with_messages(self, timeout: float | None) -> list[Worker]:
        ready = wait([worker.connection for worker in self.workers], timeout)
        return [worker for worker in self.workers if worker.connection in ready]

    def _receive(self, worker: Worker) -> tuple[int, Any] | None:
        """Take one message; a result or error with its job's number, if it is one."""
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):  # it has ended, perhaps in the middle of a message
            return self._replace(worker)
        if isinstance(message, Crashed):
            raise message.error from RuntimeError(f"in a worker:\n{message.trace}")
        if isinstance(message, Part):
            if worker.number is not None:
                self.shown(worker.number, message.part)
            return None
        number, worker.ready, worker.number = worker.number, True, None
        self._give()  # at once: what the caller does with the result may take a while
        return (
            (number, message.result) if isinstance(message, Ended) and number is not None else None
        )

    def _give(self) -> None:
        """Give jobs that wait to processes that do."""
        idle = [worker for worker in self.workers if worker.ready and worker.number is None]
        for worker in idle[: len(self.waiting)]:
            worker.number = self.waiting.popleft()
            with contextlib.suppress(OSError):  # it has just ended: its connection says so next
                worker.connection.send(self.jobs[worker.number])

    def _replace(self, worker: Worker) -> tuple[int, Any] | None:
        """Forget a process that has ended; its job is tried again, or given up."""
        self.workers.remove(worker)
        worker.process.join()
        number, how = worker.number, _ending(worker.process.exitcode)
        self.lost[number] += 1
        if self.lost[number] < TRIES:
            if number is not None:
                self.waiting.append(number)  # the others first
            return None
        if number is None:
            raise ChildProcessError(f"{TRIES} worker processes ended before they began: {how}")
        text = f"given up: {TRIES} worker processes ended while they did it, the last by {how}"
        return number, WorkerLost(text)

    def __enter__(self) -> ProcessPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self.workers:
            if kind is not None or not worker.ready:
                worker.process.terminate()
            worker.connection.close()
        try:
            _join(self.workers)
        except KeyboardInterrupt:  # again: they need not tidy up
            for worker in self.workers:
                worker.process.kill()
            _join(self.workers)
            raise
        finally:
            self.workers.clear()


def start(work: Work, threads: int) -> Worker:
    """Start a process that will do one kind of work, with so many threads."""
    context = multiprocessing.get_context("spawn")  # a fork would copy locks that threads hold
    connection, its_own = context.Pipe()
    process = context.Process(target=serve, args=(its_own,), daemon=True)
    with _environment(threads), _without_interrupts():
        process.start()
    its_own.close()
    with contextlib.suppress(OSError):  # it has ended already: its connection says so
        connection.send(work)
    return Worker(process, connection)


@contextlib.contextmanager
def _environment(threads: int) -> Iterator[None]:
    """While the block starts a process, limit the threads that it will use."""
    before = {key: os.environ.get(key) for key in THREADS}
    os.environ.update(dict.fromkeys(THREADS, str(threads)))
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Ctrl-C reaches all processes of a terminal: one that is started must not be torn by it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _join(workers: Sequence[Worker]) -> None:
    for worker in workers:
        worker.process.join()


def _ending(code: int | None) -> str:
    """What an exit code says, for people."""
    if code is None or code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
    return f"{name} (is there enough memory?)" if name == "SIGKILL" else name
