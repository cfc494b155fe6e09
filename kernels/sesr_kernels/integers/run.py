"""Networks of integers in one pass over the image, depth first.

Integers add up to the same in any order, so that no cut of the image, and no number of threads,
changes a bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from sesr_kernels.description.integers import Array, IntegerNetwork
from sesr_kernels.description.layers import Unsupported
from sesr_kernels.integers import bands
from sesr_kernels.integers.plan import IntegerPlan
from sesr_kernels.machine.threads import Threads, share


@lru_cache(maxsize=8)
def _plan(net: IntegerNetwork, outputs: tuple[str, ...]) -> IntegerPlan | str:
    try:
        return IntegerPlan(net, outputs)
    except Unsupported as error:
        return str(error)


def integers(
    net: IntegerNetwork,
    x: Array,
    outputs: Sequence[str] | None = None,
    threads: Threads | None = None,
) -> dict[str, Array]:
    """Run a network of integers.

    Parameters
    ----------
    net : IntegerNetwork
        As `description.integers` reads it.
    x : (n, height, width, channels) int8 array
        Codes on the input's grid.
    outputs : sequence of str, optional
        The tensors to return: the network's output unless given.
    threads : Threads, optional
        How many share the bands; the result's bits do not depend on it.

    Returns
    -------
    dict of int8 arrays
        By name; they share their memory.

    Raises
    ------
    NotImplementedError
        Saying what of the network these kernels do not have.
    """
    plan = _plan(net, tuple(outputs or (net.output,)))
    if isinstance(plan, str):
        raise NotImplementedError(plan)
    n, height, width, _ = x.shape
    shapes = [(n, *shape) for shape in plan.shapes(height, width)]
    ends = np.cumsum([0, *(np.prod(shape) for shape in shapes)])
    result = np.empty(int(ends[-1]), np.int8)
    if x.size:
        _run(plan, np.require(x, np.int8, ["C", "A", "W", "E"]), ends, shapes, result, threads)
    return {
        name: result[start : start + np.prod(shape)].reshape(shape)
        for name, start, shape in zip(plan.outputs, ends, shapes, strict=False)
    }


def _run(
    plan: IntegerPlan,
    x: Array,
    ends: Array,
    shapes: Sequence[tuple[int, ...]],
    result: Array,
    threads: Threads | None,
) -> None:
    threads = threads or Threads()
    n, height, width, _ = x.shape
    jobs = plan.jobs(n, height, width, threads.count)
    widest = min(max(job.right - job.left for job in jobs) + 2 * plan.halo, width)
    sizes = np.array([np.prod(shape[1:]) for shape in shapes], np.int64)
    columns = np.array([shape[2] for shape in shapes], np.int64)

    def worker(following: Callable[[], int]) -> None:
        space = plan.workspace()
        while (i := following()) >= 0:
            job = jobs[i]
            first, last = max(job.left - plan.halo, 0), min(job.right + plan.halo, width)
            rings = plan.rings(job.top, job.bottom, last - first, height, widest)
            words, bytes_ = space.work(rings)
            bands.run_band(
                plan.tables,
                rings.table,
                space.done,
                plan.constants.ctypes.data,
                space.addresses,
                words,
                bytes_,
                space.sums.ctypes.data,
                x[job.image],
                first,
                job.left - first,
                job.right - first,
                ends[:-1] + job.image * sizes,
                columns,
                result,
            )
        plan.workspaces.append(space)

    share(len(jobs), worker, threads)
