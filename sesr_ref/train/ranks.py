"""Processes that train one network together: who has which images of a batch.

Each rank draws its own images of a batch and computes the gradients of their parts; all get all
parts' sums, add them in one order and change their own copies of the weights by them.  So each has
the bits that one process would have, for any number of ranks and threads.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np

from sesr_ref.extras import need
from sesr_ref.ops.arrays import Array
from sesr_ref.ops.table import Ops

Value = TypeVar("Value")

LOOK_SECONDS = 0.002
"""Interval at which a rank that waits for a long time looks whether it may go on."""


class Ranks(Protocol):
    """The processes of one training, of which this is the one of `rank`; 0 leads and writes."""

    @property
    def rank(self) -> int:
        """The number of this process, from 0 on."""

    @property
    def size(self) -> int:
        """How many there are."""

    def sharing(self, ops: Ops, batch: int) -> Ops:
        """Operations whose gradients are those of a batch that the ranks share."""

    def images(self, ops: Ops, batch: int) -> slice:
        """The images of a batch that are this rank's."""

    def any(self, flag: bool) -> bool:
        """Whether a flag is set on any rank."""

    def first(self, value: Value) -> Value:
        """The value that rank 0 has; the others wait for it."""

    def same(self, what: str, value: str) -> None:
        """Raise ValueError on all ranks unless they have the same value."""

    def wait(self) -> None:
        """Wait, perhaps long, until all ranks do."""

    def threads(self) -> int | None:
        """Its share of the threads of its machine; None if it has all."""


class Alone:
    """One process: nothing is shared."""

    rank, size = 0, 1

    def sharing(self, ops: Ops, batch: int) -> Ops:
        return ops

    def images(self, ops: Ops, batch: int) -> slice:
        return slice(None)

    def any(self, flag: bool) -> bool:
        return flag

    def first(self, value: Value) -> Value:
        return value

    def same(self, what: str, value: str) -> None: ...

    def wait(self) -> None: ...

    def threads(self) -> int | None:
        return None


class Mpi:
    """The processes that mpiexec has started (extra ``mpi``).

    Raises
    ------
    ImportError
        If mpi4py is not installed, or finds no MPI library.
    """

    def __init__(self) -> None:
        try:
            self.mpi = need("mpi4py.MPI", "mpi", "trainings on several processes")
        except RuntimeError as error:
            raise ImportError(
                f"mpi4py finds no MPI library: pip install 'sesr-ref[mpi]' brings one ({error})"
            ) from error
        self.world = self.mpi.COMM_WORLD
        self.rank: int = self.world.Get_rank()
        self.size: int = self.world.Get_size()

    def sharing(self, ops: Ops, batch: int) -> Ops:
        """Operations whose gradients are those of a batch that the ranks share.

        Parameters
        ----------
        ops : Ops
            The kernels.
        batch : int
            Images of a batch.

        Returns
        -------
        Ops

        Raises
        ------
        ValueError
            If the operations cannot compute a part of a batch, or it has too few parts.
        """
        if ops.gradients is None or ops.own_images is None:
            raise ValueError(
                f"ranks need the kernels (--engine fast), which add the parts of a batch in one "
                f"order; the engine is {ops.name}"
            )
        busy = [r for r in range(self.size) if np.diff(ops.own_images(batch, r, self.size))[0]]
        if len(busy) < self.size:
            raise ValueError(
                f"a batch of {batch} images has parts for {len(busy)} ranks at most, not for "
                f"{self.size}"
            )
        return replace(ops, gradients=partial(self._gradients, ops.gradients, batch))

    def _gradients(self, gradients: Any, batch: int, net: Any, *rest: Any) -> Any:
        found = gradients(net, *rest, batch=batch, group=self)
        if found is None:
            raise ValueError(f"ranks need the kernels, which do not train {net.name}")
        return found

    def images(self, ops: Ops, batch: int) -> slice:
        assert ops.own_images is not None
        return slice(*ops.own_images(batch, self.rank, self.size))

    def gather(self, array: Array, ends: Sequence[int]) -> None:
        """Fill an array, of which the rank r has written the rows `ends[r]` to `ends[r + 1]`."""
        places = np.array(ends) * (array.size // len(array))
        kind = self.mpi.DOUBLE if array.dtype == np.float64 else self.mpi.FLOAT
        message = [array, np.diff(places), places[:-1], kind]
        self.world.Allgatherv(self.mpi.IN_PLACE, message)

    def swap(self, array: Array, partner: int) -> Array:
        """Send an array to a rank that sends one alike; the one that it has sent."""
        received = np.empty_like(array)
        self.world.Sendrecv(array, partner, recvbuf=received, source=partner)
        return received

    def any(self, flag: bool) -> bool:
        return bool(self.world.allreduce(flag, self.mpi.LOR))

    def first(self, value: Value) -> Value:
        self.wait()
        result: Value = self.world.bcast(value)
        return result

    def same(self, what: str, value: str) -> None:
        values = self.world.allgather(value)
        if others := [rank for rank, got in enumerate(values) if got != values[0]]:
            raise ValueError(f"rank {others[0]} of {self.size} has other {what} than rank 0")

    def wait(self) -> None:
        request = self.world.Ibarrier()
        while not request.Test():  # MPI's own waiting would take a processor from those who work
            time.sleep(LOOK_SECONDS)

    def threads(self) -> int | None:
        here = self.world.Split_type(self.mpi.COMM_TYPE_SHARED)
        sets = here.allgather(_processors())
        here.Free()
        fair = len(set().union(*sets)) // len(sets)
        return max(1, min(len(_processors()), fair))

    def end(self, code: int) -> None:
        """End all ranks at once."""
        self.world.Abort(code)


def _processors() -> set[int]:
    """Numbers of the processors that this process may use."""
    try:
        return set(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return set(range(os.cpu_count() or 1))
