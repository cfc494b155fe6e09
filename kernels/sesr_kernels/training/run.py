"""Training: a network and an image size compiled into a program of kernels, and its run.

The program is made once for a network and a size (`TrainingPlan`), then run image by image.  The
gradients of a few images, whose number depends on the batch's size alone, go to a row of their own,
and the rows are added up in order: the result does not depend on which thread took which images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_kernels.description.layers import Network, Unsupported
from sesr_kernels.description.single import Conv, Single
from sesr_kernels.machine.compiled import plain
from sesr_kernels.machine.threads import Threads, share
from sesr_kernels.training import step
from sesr_kernels.training.parts import Group, images_each, summed
from sesr_kernels.training.plan import Gradients, TrainingPlan
from sesr_kernels.training.program import Program
from sesr_kernels.training.rules import write, write_weights

Array = npt.NDArray[Any]
Params = Mapping[str, Array]

WINOGRAD = True
"""The default: 1.2 to 1.35 times as fast, its gradients' error the same (M5, M11, XL, FSRCNN: up to
4e-6 of the largest gradient either way, but where rounding crosses a kink of PReLU or of l1)."""

L1 = (1.0, 0.0, 0.0, 0.0, 0.0)
"""Terms of the mean absolute error, as `gradients` takes them."""


@lru_cache(maxsize=8)
def _plan(net: Network, height: int, width: int, winograd: bool = True) -> TrainingPlan | None:
    plan = TrainingPlan(net, height, width, winograd)
    try:
        write(Program(plan))
    except Unsupported:
        return None
    return plan


def gradients(
    net: Network,
    params: Params,
    x: Array,
    target: Array,
    terms: tuple[float, ...] = L1,
    threads: Threads | None = None,
    winograd: bool | None = None,
    batch: int | None = None,
    group: Group | None = None,
) -> tuple[float, Gradients] | None:
    """Loss of a network without linear blocks, and the gradients of its parameters.

    Parameters
    ----------
    net : Network
        As `description.layers` reads it.
    params : dict of float32 arrays
        Its parameters.
    x : (n, height, width, channels) float32 array
        Low-resolution images.
    target : (n, upscale * height, upscale * width, channels) float32 array
        High-resolution images.
    terms : (absolute, epsilon, square, log_mse, floor)
        The loss is ``absolute * mean(sqrt(error**2 + epsilon**2)) + square * mean(error**2)
        + log_mse * mean over images of log(mean(error**2) + floor)``.
    threads : Threads, optional
        How many share the images; the result's bits do not depend on it.
    winograd : bool, optional
        Whether convolutions of 3 x 3 and 5 x 5 and their gradients use Winograd's algorithm;
        `WINOGRAD` unless given.
    batch : int, optional
        Images of the whole batch, if a group of processes shares it.
    group : Group, optional
        The processes, which call this together, each with its `parts.own_images`.

    Returns
    -------
    (float, dict of arrays) or None
        Of the whole batch; None for a network, dtype or size that these kernels do not take.
    """
    arrays = (x, target, *params.values())
    if any(array.dtype != np.float32 for array in arrays) or not x.size:
        return None
    plan = _plan(net, x.shape[1], x.shape[2], WINOGRAD if winograd is None else winograd)
    if plan is None:
        return None
    batch = batch or len(x)
    own = _run(plan, plan.packed(params), x, target, threads or Threads(), batch, terms)
    losses, total = summed(*own, batch, group)
    result: Gradients = {}
    for slot in plan.slots:
        for name, value in slot.unpack(total[slot.start : slot.start + slot.size]).items():
            result[name] = result[name] + value if name in result else value
    loss = float(losses.sum() / (target[0].size * batch))
    return loss, {
        name: np.ascontiguousarray(result[name]) if name in result else np.zeros_like(value)
        for name, value in params.items()  # zero for what the output does not depend on
    }


def weight_gradients(x: Array, dy: Array, size: int, threads: Threads) -> tuple[Array, Array]:
    """Gradients of a convolution's weight and bias.

    Parameters
    ----------
    x : (n, height, width, in) float32 array
        What it read.
    dy : (n, height, width, out) float32 array
        Gradient of its result.
    size : int
        Of its kernel.
    threads : Threads
        How many share the images.

    Returns
    -------
    dweight : (size, size, in, out) float32 array
    dbias : (out,) float32 array
    """
    layer = Conv(dy.shape[3], size, groups=1, bias=True)
    plan = _weight_plan(Single(layer, x.shape[3]), x.shape[1], x.shape[2])
    own = _run(plan, np.zeros(1, np.float32), x, dy, threads, len(x))
    found = plan.slots[0].unpack(summed(*own, len(x), None)[1])
    return found["layer.weight"], found["layer.bias"]


@lru_cache(maxsize=8)
def _weight_plan(net: Single, height: int, width: int) -> TrainingPlan:
    plan = TrainingPlan(net, height, width)
    write_weights(Program(plan))
    return plan


def _run(
    plan: TrainingPlan,
    packed: Array,
    x: Array,
    target: Array,
    threads: Threads,
    batch: int,
    terms: tuple[float, ...] = L1,
) -> tuple[Array, Array]:
    """Losses of the images, and a row of gradients for each part of them."""
    x, target = plain(x), plain(target)
    each = images_each(batch)
    jobs = -(-len(x) // each)
    losses, rows = np.zeros(len(x)), np.empty((jobs, plan.sums_size), np.float32)
    dloss, loss_terms = np.float32(1 / (target[0].size * batch)), np.array(terms)

    def worker(following: Callable[[], int]) -> None:
        work, scratch, sums = plan.workspace()
        while (i := following()) >= 0:
            some = slice(i * each, (i + 1) * each)
            step.train_images(
                plan.tables,
                plan.shift_table,
                plan.geometry,
                x[some],
                target[some],
                losses[some],
                plan.places,
                work,
                scratch,
                sums,
                rows[i],
                packed.ctypes.data,
                plan.upscale,
                dloss,
                loss_terms,
            )
        plan.workspaces.append((work, scratch, sums))

    share(jobs, worker, threads)
    return losses, rows
