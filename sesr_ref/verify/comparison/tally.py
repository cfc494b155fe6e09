"""The statistics of one tensor that a comparison accumulates piece by piece."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

from sesr_ref.ops.arrays import Array
from sesr_ref.verify.bounds.arithmetic import Format, rounded, spacing

CHECKS = ("guaranteed", "statistical", "end to end")
"""Bounds given the tensor's own inputs: guaranteed, statistical; and end to end: statistical."""
ULP_LIMITS = (0, 1, 2, 4, 8, 16, 64, 256, 1024, 65536)

Index = tuple[int, ...]


class Allowed(NamedTuple):
    """Values within `deviation` of the exact ones, those with rounded parameters, or in between."""

    exact: Array
    stored: Array
    deviation: Array

    @property
    def bound(self) -> Array:
        """The largest deviation from the exact values."""
        bound: Array = self.deviation + np.abs(self.stored - self.exact)
        return bound


@dataclass
class Worst:
    """The element that uses the largest share of its bound, in one check."""

    used: float = 0.0
    at: Index | None = None
    candidate: float = math.nan
    reference: float = math.nan
    bound: float = math.nan


@dataclass
class TensorReport:
    """Comparison of one tensor of a candidate with the exact one.

    Attributes
    ----------
    name : str
        Name of the layer.
    verdict : str
        "agrees"; "differs": by more than the bounds allow, given its own inputs; "follows": right
        given its inputs, which are wrong; "drifts": each layer passes, but the whole does not.
    worst : dict
        Check ("guaranteed", "statistical", "end to end") to the element that uses its bound most.
    error : float
        Largest deviation from the exact network: an absolute tolerance that would pass.
    tolerance : float
        Largest end-to-end bound of an element: a tolerance that is justified.
    ulps : dict
        "<= limit" to the number of elements that differ by at most so many units in the last place
        (and by more than the previous limit); ">" counts the rest.
    elements : int
        Number of elements compared.
    """

    name: str
    verdict: str = "agrees"
    worst: dict[str, Worst] = field(default_factory=lambda: {check: Worst() for check in CHECKS})
    error: float = 0.0
    tolerance: float = 0.0
    ulps: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_labels(), 0))
    elements: int = 0

    @property
    def used(self) -> float:
        """Largest share of any bound; above 1 the tensor is wrong."""
        return max(worst.used for worst in self.worst.values())

    @property
    def check(self) -> str:
        """The check whose bound is used most; of equals, a local one."""
        return max(CHECKS, key=lambda check: self.worst[check].used)

    @property
    def locally_used(self) -> float:
        """Largest share used of the bounds given the tensor's own inputs."""
        return max(self.worst[check].used for check in CHECKS[:2])

    @property
    def locally_wrong(self) -> bool:
        """Whether the tensor is wrong given its own inputs."""
        return self.locally_used > 1

    def ulp_quantile(self, share: float) -> str:
        """The smallest bin of `ulps` up to which this share of the elements lies."""
        seen = 0
        for label, count in self.ulps.items():
            seen += count
            if seen >= share * self.elements:
                return label
        return label

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "used": self.used, "check": self.check}


def _labels() -> list[str]:
    return [*(f"<= {limit}" for limit in ULP_LIMITS), f"> {ULP_LIMITS[-1]}"]


def add_piece(
    report: TensorReport,
    piece: Array,
    exact: Array,
    allowed: dict[str, Allowed],
    start: Index,
    fmt: Format,
) -> None:
    """Add one piece of a tensor to its report.

    Parameters
    ----------
    report : TensorReport
        Changed in place.
    piece : (n, h, w, c) float array
        Part of the candidate.
    exact : float array
        The same part of the exact tensor.
    allowed : dict
        Check to the values that the piece may have.
    start : tuple of int
        Index of the piece's first element in the tensor.
    fmt : Format
        The format in whose last place errors are counted.
    """
    for check, values in allowed.items():
        _take_worst(report.worst[check], piece, values, start)
    error = np.abs(piece - exact)
    report.error = max(report.error, float(error.max(initial=0.0)))
    report.tolerance = max(report.tolerance, float(allowed[CHECKS[2]].bound.max(initial=0.0)))
    target = rounded(exact, fmt)
    ulps = np.abs(piece - target) / spacing(target, fmt)
    bins = np.searchsorted(ULP_LIMITS, ulps.ravel(), side="left")
    counts = np.bincount(bins, minlength=len(report.ulps))
    for label, count in zip(report.ulps, counts, strict=True):
        report.ulps[label] += int(count)
    report.elements += piece.size


def _take_worst(worst: Worst, piece: Array, allowed: Allowed, start: Index) -> None:
    low = np.minimum(allowed.exact, allowed.stored)
    high = np.maximum(allowed.exact, allowed.stored)
    outside = np.maximum(np.maximum(low - piece, piece - high), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        used = np.where(outside == 0, 0.0, outside / allowed.deviation)
    if not used.size or (largest := float(used.max())) < worst.used:
        return
    if largest == worst.used and worst.at is not None:
        return
    index = tuple(int(i) for i in np.unravel_index(int(used.argmax()), used.shape))
    worst.used, worst.at = largest, tuple(i + s for i, s in zip(index, start, strict=True))
    worst.candidate, worst.reference = float(piece[index]), float(allowed.exact[index])
    worst.bound = float(allowed.bound[index])
