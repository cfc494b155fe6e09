"""Fair timings and peak memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

PAUSE = 0.03
"""Seconds before each run: threads of runtimes spin for up to 20 ms after a call."""
CLOSE = 3.0
"""Candidates slower than this many times the fastest are measured less precisely."""


def alternate(
    runs: Mapping[str, Callable[[], float]], repeats: int, least: int = 3, seconds: float = 20.0
) -> dict[str, list[float]]:
    """Time candidates in turns, so that all are measured under the same load of the machine.

    Parameters
    ----------
    runs : mapping of functions
        Each runs a warmed-up candidate once and returns the seconds it took.
    repeats : int
        Runs of candidates that are within `CLOSE` of the fastest.
    least : int
        Runs of the other candidates, if that is fewer.
    seconds : float
        Stop after this long, but not before `least` runs.

    Returns
    -------
    dict of list of float
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    going, begun = list(runs), time.perf_counter()
    for turn in range(repeats):
        if turn == least:
            fastest = min(map(statistics.median, times.values()))
            going = [name for name in runs if statistics.median(times[name]) < CLOSE * fastest]
        if turn >= least and time.perf_counter() - begun > seconds:
            break
        for name in going:
            time.sleep(PAUSE)
            times[name].append(runs[name]())
    return times


def peak_megabytes() -> float:
    """Peak memory of this process so far, shared libraries included."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise OSError("this system does not report the peak memory of a process")
