"""Arrays between pages that may not be touched: a kernel that leaves its array ends the process.

Run as a program it puts every array that the kernels work on there and runs networks; a test looks
at how it ends.  Needs POSIX's mmap and mprotect.
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
import sys
from typing import Any

import numpy as np

import sesr_ref as sr
from networks_for_kernels import RUNNABLE, images, random_params, targets
from networks_of_integers import NETWORKS, codes, random_integers
from sesr_ref.ops.arrays import Array

PAGE = mmap.PAGESIZE
LINE = 64
"""Bytes: where the kernels' own arrays begin a multiple of it, up to as many lie behind them."""


class Guarded:
    """Stands for NumPy in a module: its new arrays touch a forbidden page, before or behind them.

    Parameters
    ----------
    behind : bool
        Which of the two.
    """

    def __init__(self, behind: bool) -> None:
        self.behind, self.held = behind, list[mmap.mmap]()

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def zeros(self, shape: int | tuple[int, ...], dtype: Any = np.float64) -> Array:
        """As NumPy's."""
        shape = shape if isinstance(shape, tuple) else (int(shape),)
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if not size:
            return np.zeros(shape, dtype)
        pages = -(-size // PAGE)
        memory = mmap.mmap(-1, (pages + 2) * PAGE)
        self.held.append(memory)
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        for page in (start, start + (pages + 1) * PAGE):
            if _protect(ctypes.c_void_p(page), ctypes.c_size_t(PAGE), 0):
                raise OSError("mprotect failed")
        offset = (pages + 1) * PAGE - size if self.behind else PAGE
        return np.frombuffer(memory, dtype, int(np.prod(shape)), offset).reshape(shape)

    def empty(self, shape: int | tuple[int, ...], dtype: Any = np.float64) -> Array:
        """As NumPy's."""
        return self.zeros(shape, dtype)

    def copy(self, array: Array) -> Array:
        """Return the array's values between such pages."""
        result = self.zeros(array.shape, array.dtype)
        result[...] = array
        return result

    def aligned(self, size: int) -> Array:
        """As the kernels' own allocation: begins at a cache line."""
        return self.zeros(-(-size * 4 // LINE) * LINE // 4, np.float32)[:size]


_protect = ctypes.CDLL(None).mprotect


def run(behind: bool, small: int = 0) -> None:
    """Run networks and training steps; arrays that begin at cache lines are `small` floats short.

    Parameters
    ----------
    behind : bool
        Whether the forbidden page lies behind each array or before it.
    small : int
        Above 0 to see that the pages are watched.
    """
    from sesr_kernels.inference import plan as inference_plan
    from sesr_kernels.inference import run as inference
    from sesr_kernels.integers import plan as integer_plan
    from sesr_kernels.integers import run as integers
    from sesr_kernels.integers import tables as integer_tables
    from sesr_kernels.machine import records
    from sesr_kernels.training import plan as training_plan
    from sesr_kernels.training import run as training

    guard: Any = Guarded(behind)
    modules: list[Any] = [records, inference, inference_plan, training, training_plan]
    modules += [integers, integer_plan, integer_tables]
    for module in modules:
        module.np = guard
    shorter: list[Any] = [inference_plan, training_plan, integer_plan, integer_tables]
    for module in shorter:
        module.aligned = lambda size: guard.aligned(size - small)
    rng = np.random.default_rng(0)
    for net in RUNNABLE:
        for size in ((1, 1, 1), (2, 9, 30), (1, 21, 7)):
            params, x = random_params(net, rng), images(net, rng, *size)
            target = targets(net, rng, x)
            for winograd in (False, True):
                ops = sr.fast(winograd)
                y = sr.run(net, params, guard.copy(x), ops)
                np.testing.assert_array_equal(np.isfinite(y), True)
                sr.loss_and_grads(net, params, guard.copy(x), guard.copy(target), ops)
    for net, arithmetic in itertools.product(NETWORKS, ("tflite", "litert")):
        for size in ((1, 1, 1), (2, 9, 30), (1, 21, 7)):
            iparams, q = random_integers(net, rng)
            x = guard.copy(codes(net, rng, *size))
            got = sr.run_int(net, iparams, q, x, arithmetic, sr.fast())
            np.testing.assert_array_equal(got, sr.run_int(net, iparams, q, x, arithmetic))


if __name__ == "__main__":
    run(behind=sys.argv[1] == "behind", small=int(sys.argv[2]))
