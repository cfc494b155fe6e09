"""What the places have in common, and the simplest of them: the process that asks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

Show = Callable[[float], None]
"""Told which share of a job is done, from 0 to 1."""
Work = Callable[[Any, Show], Any]
"""``work(job, show)``.  A worker imports its module, so it is a function, or an instance of a
dataclass, of a module that the worker can import: not of ``__main__``."""
Shown = Callable[[int, float], None]
"""Told the number of a job and which share of it is done."""

EXPECTED = (ValueError, OSError, MemoryError, FloatingPointError)
"""Errors that one job's data may cause: they are its result.  Any other one is raised."""


class WorkerLost(OSError):
    """A job was given up, since it or the machine ended every worker that tried it."""


def unseen(part: float) -> None:
    """Show nothing."""


def attempt(work: Work, job: Any, show: Show = unseen) -> Any:
    """Do a job; return its result or the `EXPECTED` error that it raised."""
    try:
        return work(job, show)
    except EXPECTED as error:
        return error


class Pool(Protocol):
    """Jobs that are being done, known by their numbers."""

    @property
    def width(self) -> int:
        """How many jobs it takes at once."""

    def submit(self, number: int, job: Any) -> None:
        """Take a job."""

    def ended(self) -> tuple[int, Any]:
        """Wait for a job to end: its number, and its result or error."""

    def __enter__(self) -> Pool:
        """Start."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End: at once, if there is an error."""


class Place(Protocol):
    """Where jobs are done."""

    def pool(self, work: Work, shown: Shown) -> Pool:
        """Make a pool for one kind of work."""


@dataclass(frozen=True)
class Here:
    """One job after the other, in this process."""

    def pool(self, work: Work, shown: Shown) -> Pool:
        """Make a pool for one kind of work."""
        return HerePool(work, shown)


class HerePool:
    """Does a job when its result is asked for."""

    width = 1

    def __init__(self, work: Work, shown: Shown) -> None:
        self.work, self.shown = work, shown
        self.jobs: deque[tuple[int, Any]] = deque()

    def submit(self, number: int, job: Any) -> None:
        self.jobs.append((number, job))

    def ended(self) -> tuple[int, Any]:
        number, job = self.jobs.popleft()
        return number, attempt(self.work, job, lambda part: self.shown(number, part))

    def __enter__(self) -> HerePool:
        return self

    def __exit__(self, *error: object) -> None:
        self.jobs.clear()
