"""`results`: jobs go to a place, results come back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from sesr_ref.workers.pool import Place, Show

Job = TypeVar("Job")


def _nowhere(job: Any, part: float) -> None:
    """Show nothing."""


def results(
    work: Callable[[Job, Show], Any],
    jobs: Iterable[Job | None],
    place: Place,
    show: Callable[[Job, float], None] = _nowhere,
) -> Iterator[tuple[Job, Any]]:
    """Do independent jobs; yield each with its result, as they end.

    Parameters
    ----------
    work : function (job, show) -> result
        Of a module that workers can import (not ``__main__``), as must be what jobs and results
        are made of: they are sent.  Large data, such as weights, are named and loaded there.  A job
        may be done twice, if its worker is lost: it must not matter.
    jobs : iterable
        Taken one at a time, when a worker will soon be free.  A generator may look at earlier
        results, and yield None where nothing can be begun before another job has ended.
    place : Place
        `Here`, `Processes` or `Cluster`.
    show : function (job, part)
        Told how much of a job is done, where that is known.

    Yields
    ------
    job, result
        In any order.  A result is an exception if the job raised ValueError, OSError, MemoryError
        or FloatingPointError, or a `WorkerLost`.

    Raises
    ------
    Exception
        Any other that a job raised: the jobs that are being done are stopped (on a cluster: end by
        themselves), and those that are waiting are not begun.  So it is with KeyboardInterrupt, and
        when the caller stops asking.
    OSError
        If a cluster cannot be reached, or is lost.
    """
    waiting, running, count = iter(jobs), dict[int, Job](), 0
    with place.pool(work, lambda number, part: show(running[number], part)) as pool:
        while True:
            while len(running) < pool.width:
                job = next(waiting, None)
                if job is None:
                    break
                running[count] = job
                pool.submit(count, job)
                count += 1
            if not running:
                return
            number, result = pool.ended()
            yield running.pop(number), result
