"""``--jobs`` and ``--cluster``: where a command's independent jobs are done."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sesr_ref.commands.console import notice, one_line, progress
from sesr_ref.limits import check
from sesr_ref.workers import Cluster, Here, Place, Processes, processors
from sesr_ref.workers.processes import MAX_PROCESSES

ADDRESS = "DASK_SCHEDULER_ADDRESS"
"""Variable of the environment that names a cluster, as for Dask's own programs."""


def add_workers_options(parser: argparse.ArgumentParser, default: str = "the processors") -> None:
    """``--jobs`` and ``--cluster``.

    Parameters
    ----------
    parser : ArgumentParser
        Of the command.
    default : str
        What `place_for` will take if there is neither, in words.
    """
    parser.add_argument(
        "-j",
        "--jobs",
        type=int,
        metavar="N",
        help=f"processes that share the work (default: {default})",
    )
    parser.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help=f"Dask scheduler whose workers do the work (default: ${ADDRESS})",
    )


def place_for(args: argparse.Namespace, count: int, default: int | None = None) -> Place:
    """Where to do the jobs that the options ask for.

    Parameters
    ----------
    args : Namespace
        With `jobs` and `cluster`.
    count : int
        Jobs that there are.
    default : int, optional
        Processes unless any are asked for; by default, one for each processor, which are started
        once the jobs have taken as long as their start.

    Returns
    -------
    Place

    Raises
    ------
    ValueError
        If both options are given, or `jobs` is below 1.
    """
    jobs = args.jobs
    check(jobs is None or 1 <= jobs <= MAX_PROCESSES, "--jobs", f"1 to {MAX_PROCESSES}", jobs)
    if jobs is not None and args.cluster:
        raise ValueError("--jobs is for processes here, --cluster for workers elsewhere: not both")
    address = args.cluster or ("" if jobs is not None else os.environ.get(ADDRESS, ""))
    if address:
        return Cluster(address, notice)
    wanted = min(jobs or default or processors(), count)
    return Processes(wanted, short=default is None) if wanted > 1 else Here()


def explained(error: Exception, source: Path, place: Place) -> Exception:
    """The error of a job that reads `source`, or what it means if the file is here all the same."""
    if isinstance(place, Cluster) and isinstance(error, FileNotFoundError) and source.exists():
        return FileNotFoundError(
            f"{one_line(error)}: the file is here, but {place.address}'s workers do not see it"
        )
    return error


class Shares:
    """How far all jobs are together: one that is being done counts by its part."""

    def __init__(self, total: int, show: Callable[[int, str], None]) -> None:
        self.total, self._show = total, show
        self.ended, self._parts, self._name = 0, dict[Any, float](), ""

    def part(self, job: Any, part: float, name: str) -> None:
        """Note which part of a job is done, and its name."""
        self._parts[job], self._name = part, name
        self._update()

    def end(self, job: Any = None) -> None:
        """Note that a job has ended."""
        self._parts.pop(job, None)
        self.ended += 1
        self._update()

    def _update(self) -> None:
        done = (self.ended + sum(self._parts.values())) / self.total
        number = min(self.ended + 1, self.total)
        self._show(int(100 * done), f"{number} of {self.total}: {self._name}")


@contextmanager
def shared_progress(total: int, label: str) -> Iterator[Shares]:
    """Show the progress of so many jobs in percent."""
    with progress(100, label) as show:
        yield Shares(total, show)
