"""Inference: a whole network in one pass over the image, depth first.

The image is cut into bands of rows and strips of columns, each with its exact halo.  Every
output's sum has one order, so that no cut, and no number of threads, changes a bit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_kernels.description.layers import Network, Unsupported
from sesr_kernels.inference import bands
from sesr_kernels.inference.plan import InferencePlan
from sesr_kernels.machine.compiled import plain
from sesr_kernels.machine.threads import Threads, share

Array = npt.NDArray[Any]
Params = dict[str, Array]

WINOGRAD = True
"""The default: 1.3 (AVX-512) to 1.5 times (AVX2) as fast.  Its error is about twice the direct
kernels' in one layer and about the same in whole networks."""


@lru_cache(maxsize=8)
def _plan(net: Network, winograd: bool) -> InferencePlan | None:
    try:
        return InferencePlan(net, winograd)
    except Unsupported:
        return None


def network(
    net: Network,
    params: Params,
    x: Array,
    threads: Threads | None = None,
    winograd: bool | None = None,
) -> Array | None:
    """Run a network without linear blocks on images, depth first.

    Parameters
    ----------
    net : Network
        As `description.layers` reads it.
    params : dict of float32 arrays
        Its parameters.
    x : (n, height, width, channels) float32 array
        The images.
    threads : Threads, optional
        How many share the bands; the result's bits do not depend on it.
    winograd : bool, optional
        Whether 3 x 3 and 5 x 5 convolutions use Winograd's algorithm; `WINOGRAD` unless given.

    Returns
    -------
    (n, upscale * height, upscale * width, channels) float32 array or None
        None for a network or dtype that these kernels do not take.
    """
    if any(array.dtype != np.float32 for array in (x, *params.values())):
        return None
    plan = _plan(net, WINOGRAD if winograd is None else winograd)
    if plan is None:
        return None
    n, height, width, _ = x.shape
    y = np.empty((n, *plan.shape(height, width)), np.float32)
    if y.size:
        _run(plan, params, plain(x), y, threads or Threads())
    return y


def margin(net: Network, winograd: bool | None = None) -> tuple[int, int] | None:
    """How far tiles must overlap so that each has the bits of the whole image.

    Parameters
    ----------
    net : Network
        Without linear blocks.
    winograd : bool, optional
        As given to `network`.

    Returns
    -------
    (int, int) or None
        Pixels of halo on each side, and the multiple of pixels at which a tile begins; None for a
        network that `network` does not take.
    """
    plan = _plan(net, WINOGRAD if winograd is None else winograd)
    return (plan.margin, plan.step) if plan else None


def _run(plan: InferencePlan, params: Params, x: Array, y: Array, threads: Threads) -> None:
    packed = plan.constants(params)
    n, height, width, _ = x.shape
    jobs = plan.jobs(n, height, width, threads.count)
    widest = min(max(job.right - job.left for job in jobs) + 2 * plan.halo, width)

    def worker(following: Callable[[], int]) -> None:
        space = plan.workspace()
        while (i := following()) >= 0:
            job = jobs[i]
            first, last = max(job.left - plan.halo, 0), min(job.right + plan.halo, width)
            rings = plan.rings(job.top, job.bottom, last - first, height, widest)
            bands.run_band(
                plan.tables,
                rings.table,
                space.done,
                packed.ctypes.data,
                space.addresses,
                space.work(rings),
                space.scratch,
                x[job.image],
                first,
                job.left - first,
                job.right - first,
                plan.step,
                y[job.image],
            )
        plan.workspaces.append(space)

    share(len(jobs), worker, threads)
