"""Work that tests give to workers, which import it from here."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from sesr_ref.workers import Show


def process_of(job: object, show: Show) -> tuple[object, int]:
    """The job and the process that does it; takes a moment."""
    time.sleep(0.02)
    return job, os.getpid()


def threads_of(job: object, show: Show) -> dict[str, str | None]:
    return {key: os.environ.get(key) for key in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")}


def raises(kind: type[Exception], show: Show) -> None:
    if issubclass(kind, OSError):
        raise kind(28, "No space left", "a.png")
    raise kind("what went wrong")


class Odd(ValueError):
    """An error that cannot be made again from what is sent of it."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


def raises_oddly(job: object, show: Show) -> None:
    raise Odd("this", "that")


def kills(job: Path, show: Show) -> str:
    """End the process, as often as the file's name says; a line in the file for each time."""
    with job.open("a") as stream:
        stream.write("x\n")
    if len(job.read_text()) // 2 <= int(job.stem):
        os.kill(os.getpid(), signal.SIGKILL)
    return job.read_text()


def shows(job: float, show: Show) -> float:
    show(job)
    time.sleep(0.2)
    return job


def waits(job: Path, show: Show) -> None:
    """Write the process's number to a file; tidy up when it is asked to end."""
    job.write_text(str(os.getpid()))
    try:
        time.sleep(60)
    finally:
        job.with_suffix(".tidy").touch()


def command(folder: str) -> None:
    """Two processes that wait, for tests that end this one."""
    from sesr_ref.workers import Processes, results

    jobs = [Path(folder) / name for name in ("a.pid", "b.pid")]
    for _ in results(waits, jobs, Processes(2)):
        raise AssertionError("nothing ends by itself")


if __name__ == "__main__":
    command(sys.argv[1])
