"""Numba kernels of sesr_ref (extra ``fast``); this package never imports the engine.

docs/kernels.md says how a network becomes machine code, ``python -m sesr_kernels.explain MODEL``
shows it.
"""

from __future__ import annotations

from functools import partial
from typing import Any


def kernels(winograd: bool | None = None, threads: int | None = None) -> dict[str, Any]:
    """Fields of `sesr_ref.Ops` that the kernels replace.

    Parameters
    ----------
    winograd : bool, optional
        Whether 3 x 3 and 5 x 5 convolutions use Winograd's algorithm; None takes what is faster.
    threads : int, optional
        How many to use; None takes all processors of this process.

    Returns
    -------
    dict
        Operations, which answer None for what they do not take, and what `Ops` says of the others.
    """
    from sesr_kernels.blocks.optimiser import adam
    from sesr_kernels.inference.run import margin, network
    from sesr_kernels.integers.run import integers
    from sesr_kernels.machine.compiled import cache_folder
    from sesr_kernels.machine.threads import Threads
    from sesr_kernels.operations import operations
    from sesr_kernels.training.parts import own_images
    from sesr_kernels.training.run import gradients

    count = Threads(threads)
    return operations(count) | {
        "set_threads": count.set,
        "cache_folder": cache_folder,
        "network": partial(network, threads=count, winograd=winograd),
        "margin": partial(margin, winograd=winograd),
        "integers": partial(integers, threads=count),
        "adam": adam,
        "own_images": own_images,
        "gradients": partial(gradients, threads=count, winograd=winograd),
    }
