"""Fair timings and peak memory."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


def alternate(
    runs: Mapping[str, Callable[[], object]], repeats: int, seconds: float = 20.0
) -> dict[str, float]:
    """Median seconds of each function; they take turns, so that all see the same machine.

    Parameters
    ----------
    runs : mapping of functions
        Each is called once beforehand to warm up.
    repeats : int
        Turns of each.
    seconds : float
        Stop after this long, but not before three turns.

    Returns
    -------
    dict of float
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    begun = time.perf_counter()
    for turn in range(repeats):
        if turn >= 3 and time.perf_counter() - begun > seconds:
            break
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(t) for name, t in times.items()}


def peak_megabytes() -> float:
    """Most memory this process has held so far, shared libraries included."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise OSError("this system does not say how much memory a process held")


def in_own_process(arguments: Sequence[str]) -> dict[str, float]:
    """Run this benchmark's `--alone` with `arguments` and read the JSON it prints."""
    script = Path(__file__).with_name("run_speed.py")
    command = [sys.executable, str(script), "--alone", *arguments]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found
