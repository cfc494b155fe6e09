"""The machine's peak rate of fused multiply-adds, as a reference for other figures."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from sesr_kernels.machine.compiled import compiled
from sesr_kernels.machine.emit import LANES, VECTOR_BYTES, Emitter, Value, kernel
from sesr_kernels.machine.threads import Threads, share

CHAINS = 12
"""Independent sums: enough to hide the latency, few enough to fit the registers."""


def _chains(e: Emitter, **a: Value) -> None:
    half, one = e.constant(0.5), e.constant(1.0)
    start = [e.load(a["sums"], VECTOR_BYTES * i) for i in range(CHAINS)]

    def step(_: Value, *sums: Value) -> list[Value]:
        return [e.fma(s, half, one) for s in sums]

    for i, total in enumerate(e.repeat(a["count"], start, step)):
        e.store(total, a["sums"], VECTOR_BYTES * i)


chains = kernel("sums count", _chains)


@compiled
def _spin(sums: Any, count: int) -> None:
    chains(sums.ctypes.data, count)


def peak_gflops(threads: int, count: int = 2_000_000, repeats: int = 60) -> float:
    """Peak of multiplications and additions in 10**9 per second, without loads and stores."""
    sums = np.zeros((threads, CHAINS * LANES), np.float32)

    def worker(following: Callable[[], int]) -> None:
        while (i := following()) >= 0:
            _spin(sums[i], count)

    share(threads, worker, Threads(threads))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        share(threads, worker, Threads(threads))
        times.append(time.perf_counter() - start)
    return 2 * CHAINS * LANES * count * threads / min(times) / 1e9
