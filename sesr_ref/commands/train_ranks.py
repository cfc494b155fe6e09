"""``sesr-ref train --mpi``: what the processes that mpiexec starts say, and how they end."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sesr_ref.commands.console import one_line
from sesr_ref.train.ranks import Alone, Mpi, Ranks

Result = TypeVar("Result")

SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS")
NUMBERS = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "MPI_LOCALRANKID")
"""Variables by which mpiexec (MPICH's and Intel's, Open MPI's) tells processes what they are."""
HEAD_START_SECONDS = 1.0
"""A mistake that all ranks make is told by rank 0: the others wait so long before they tell it."""


@contextmanager
def ranks_for(mpi: bool) -> Iterator[Ranks]:
    """The processes that train together.

    Parameters
    ----------
    mpi : bool
        Whether mpiexec's do.

    Yields
    ------
    Ranks
        In the block, rank 0 alone writes to standard output and error.  If it raises on one rank,
        that one says why, and all end.

    Raises
    ------
    ValueError
        If mpiexec has started several processes that know nothing of each other.
    """
    if not mpi:
        _check_one()
        yield Alone()
        return
    ranks = Mpi()
    said = sys.stderr
    if ranks.rank > 0:
        sys.stdout, sys.stderr = _Nothing(), _Nothing()
    try:
        yield ranks
    except BaseException as error:
        if ranks.size == 1:
            raise
        _end(ranks, error, lambda text: print(text, file=said, flush=True))


def _check_one() -> None:
    """Raise unless this process is the only one; of several, only the first says why."""
    count = max((_number(os.environ.get(key)) for key in SIZES), default=1)
    if count > 1:
        if any(_number(os.environ.get(key)) for key in NUMBERS):
            sys.exit(2)
        raise ValueError(
            f"mpiexec has started {count} processes, which would all do the same: --mpi makes "
            "them train one network together"
        )


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isdecimal() else 0


def one_before_the_others(ranks: Ranks, work: Callable[[], Result]) -> Result:
    """Do work on rank 0, then on all others, which find in a cache what it has left there."""
    if ranks.rank > 0:
        ranks.wait()
        return work()
    result = work()
    ranks.wait()
    return result


class _Nothing(io.TextIOBase):
    """A stream that discards what is written."""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        return len(text)


def _end(ranks: Mpi, error: BaseException, say: Callable[[str], None]) -> None:
    """Say why this rank ends, unless another one does, and end all of them."""
    if ranks.rank > 0:
        time.sleep(HEAD_START_SECONDS)  # in which rank 0 has ended this one, if it knows why
    where = "" if ranks.rank == 0 else f"rank {ranks.rank} of {ranks.size}: "
    if isinstance(error, KeyboardInterrupt):
        code, text = 130, "sesr-ref: interrupted"
    elif isinstance(error, SystemExit):
        # when rank 0 ends with an error, mpiexec ends the others by SIGTERM: its code is to count
        code, text = (_number(str(error.code)) if ranks.rank == 0 else 2), ""
    else:
        code, text = 2, f"sesr-ref train: {where}{one_line(error)}"
    if text:
        say(text)
    sys.stdout.flush()
    # MPI says on its own that it was asked to end
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    ranks.end(code)
