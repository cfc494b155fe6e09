"""The parts of `run_speed.py`: the cases of each part, and how one case is measured.

A measurement is a row: a dict for JSON with one value for each candidate.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from sesr_ref.ops.arrays import Array
from speed import training_peers
from speed.cases import SCALES, Case, gflop, loaded, pixels, written
from speed.measure import alternate, peak_megabytes
from speed.worker import Worker

Row = dict[str, Any]
OURS = "sesr_ref fast"
TOLERANCE = 1e-5
"""Largest difference of two float32 outputs, relative to the largest value."""
IN_A_ROW = 8_000_000
"""Smallest number of pixels that one measurement of `scaling` processes."""
TRAINED = Case("m5-x2", "32 of 64 x 64", 0)


class Part(NamedTuple):
    """The cases that the arguments select, and how one is measured."""

    cases: Callable[[argparse.Namespace], Iterator[Case]]
    measure: Callable[[argparse.Namespace, Case], Row]


def every_case(args: argparse.Namespace) -> Iterator[Case]:
    """Each network at each size with each number of threads."""
    return itertools.starmap(Case, itertools.product(args.networks, args.sizes, args.threads))


def largest_case(args: argparse.Namespace) -> Iterator[Case]:
    """The first network at the last size with the last number of threads."""
    yield Case(args.networks[0], args.sizes[-1], args.threads[-1])


def scaling_cases(args: argparse.Namespace) -> Iterator[Case]:
    """The first network at increasing sizes."""
    for threads in args.threads:
        yield from (Case(args.networks[0], size, threads) for size in SCALES)


def training_cases(args: argparse.Namespace) -> Iterator[Case]:
    """A step of M5 with each number of threads."""
    yield from (TRAINED._replace(threads=threads) for threads in args.threads)


def inference(args: argparse.Namespace, case: Case) -> Row:
    """Measure every candidate on one image; AssertionError if outputs differ."""
    names = [name for name in args.candidates if _takes(args, name, case)]
    error = largest_difference({name: args.workers[name].result for name in names})
    return timings(args, _single(args, names)) | {"error": error, "gflop": gflop(case)}


def _takes(args: argparse.Namespace, name: str, case: Case) -> bool:
    """Let a worker load the case; a runtime that rejects it (XNNPACK a large one) is skipped."""
    try:
        args.workers[name].hold(loaded, name, case, written(name, case))
    except RuntimeError as error:
        if name.startswith("sesr_ref"):
            raise
        print(f"{case.network} {case.size}: {name} rejects it: {error}", file=sys.stderr)
        return False
    return True


def _single(args: argparse.Namespace, names: Iterable[str]) -> dict[str, Callable[[], float]]:
    return {name: args.workers[name].seconds for name in names}


def timings(args: argparse.Namespace, runs: Mapping[str, Callable[[], float]]) -> Row:
    """Median and fastest milliseconds, and the number of runs."""
    times = alternate(runs, args.repeats, args.least, args.seconds)
    return {
        "ms": {name: round(1e3 * statistics.median(t), 2) for name, t in times.items()},
        "fastest_ms": {name: round(1e3 * min(t), 2) for name, t in times.items()},
        "runs": {name: len(t) for name, t in times.items()},
    }


def largest_difference(runs: Mapping[str, Callable[[], Array]]) -> float:
    """Largest relative difference from the first output; AssertionError if too large.  Warms up."""
    first, *others = runs
    want, worst = np.array(runs[first]()), 0.0
    for name in others:
        error = float(abs(runs[name]() - want).max() / abs(want).max())
        if not error < TOLERANCE:
            raise AssertionError(
                f"{name} must be within {TOLERANCE} of {first}, got a difference of {error:.1e}"
            )
        worst = max(worst, error)
    return worst


def training(args: argparse.Namespace, case: Case) -> Row:
    """Measure a step with and without the collapse and in PyTorch; losses must be equal."""
    names = _steps(args)
    for name in names:
        args.workers[name].hold(training_step, name, case.threads)
    losses = {name: args.workers[name].result() for name in names}
    if not max(losses.values()) - min(losses.values()) < TOLERANCE:
        raise AssertionError(f"the losses of a training step differ: {losses}")
    return timings(args, _single(args, names))


def training_step(name: str, threads: int) -> training_peers.Step:
    """Build a candidate's training step."""
    return training_peers.installed()[name](training_peers.problem(), threads)


def _steps(args: argparse.Namespace) -> list[str]:
    quick = ("sesr_ref fast", "PyTorch")
    return [name for name in training_peers.installed() if name in quick or not args.quick]


def memory(args: argparse.Namespace, case: Case) -> Row:
    """Peak memory of one process per candidate: start, load the network, enlarge one image."""
    written_for = {name: written(name, case) for name in args.candidates}
    return {
        "megabytes": {
            name: _in_own_process(loaded, name, case, model) for name, model in written_for.items()
        }
    }


def training_memory(args: argparse.Namespace, case: Case) -> Row:
    """Peak memory of one process per candidate that takes one training step."""
    return {
        "megabytes": {
            name: _in_own_process(training_step, name, case.threads) for name in _steps(args)
        }
    }


def _in_own_process(build: Callable[..., Callable[[], Any]], *args: Any) -> int:
    with Worker({}) as worker:
        return round(worker.call(_megabytes, build, *args))


def _megabytes(build: Callable[..., Callable[[], Any]], *args: Any) -> float:
    build(*args)()
    return peak_megabytes()


def scaling(args: argparse.Namespace, case: Case) -> Row:
    """Time this engine at one size: call after call, and one call after a pause."""
    key = case._replace(size="")
    if key not in args.scaled:
        args.scaled[key] = _every_size(args, case)
    row: Row = args.scaled[key][case.size]
    return row


def _every_size(args: argparse.Namespace, case: Case) -> dict[str, Row]:
    """Measure all sizes in turns, so that a slower machine affects all of them."""
    cases = {size: case._replace(size=size) for size in SCALES}
    calls = {size: math.ceil(IN_A_ROW / math.prod(pixels(one))) for size, one in cases.items()}
    for size, one in cases.items():
        args.workers[size].hold(loaded, OURS, one, written(OURS, one))
        args.workers[size].seconds_in_a_row(calls[size])  # warms up

    def a_pixel(size: str, seconds: Callable[[], float]) -> Callable[[], float]:
        return lambda: seconds() / math.prod(pixels(cases[size]))

    def in_a_row(size: str) -> Callable[[], float]:
        return lambda: args.workers[size].seconds_in_a_row(calls[size])

    limit = args.seconds * len(SCALES)
    row = _nanoseconds({s: a_pixel(s, in_a_row(s)) for s in SCALES}, args, limit)
    alone = _nanoseconds({s: a_pixel(s, args.workers[s].seconds) for s in SCALES}, args, limit)
    return {
        size: {
            "calls": calls[size],
            "megapixels": math.prod(pixels(one)) / 1e6,
            "ns_per_pixel": row[size],
            "ns_per_pixel_alone": alone[size],
        }
        for size, one in cases.items()
    }


def _nanoseconds(
    runs: Mapping[str, Callable[[], float]], args: argparse.Namespace, limit: float
) -> dict[str, float]:
    times = alternate(runs, args.repeats, args.least, limit)
    return {name: round(1e9 * statistics.median(t), 2) for name, t in times.items()}


PARTS: dict[str, Part] = {
    "inference": Part(every_case, inference),
    "training": Part(training_cases, training),
    "memory": Part(largest_case, memory),
    "training_memory": Part(training_cases, training_memory),
    "scaling": Part(scaling_cases, scaling),
}
