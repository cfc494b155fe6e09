"""What values each tensor takes over some images: ends and a histogram."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_ref.execute import forward
from sesr_ref.integers.grid import Grid, grid_of_range
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.ops.table import REFERENCE, Ops

Range = tuple[float, float]
BINS = 4096
"""Of a histogram, on either side of 0."""


class Observed:
    """Ends and a histogram of one tensor's values."""

    def __init__(self, reach: float) -> None:
        self.low = self.high = 0.0
        self.reach = reach
        self.counts = np.zeros(2 * BINS, np.int64)

    def add(self, x: Array) -> None:
        """Take in some values, none beyond the reach."""
        self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))
        self.counts += np.histogram(x, 2 * BINS, (-self.reach, self.reach))[0]

    @property
    def centres(self) -> npt.NDArray[np.float64]:
        """Middles of the histogram's bins."""
        bins = np.arange(2 * BINS, dtype=np.float64) + 0.5
        return bins * (self.reach / BINS) - self.reach


def observe(
    net: Network, params: Params, images: Sequence[Array], ops: Ops = REFERENCE
) -> dict[str, Observed]:
    """Run a network of primitives over images, twice: for the ends, then for the histograms.

    Parameters
    ----------
    net, params
        Collapsed.
    images : sequence of (n, height, width, channels) float arrays
        In [0, 1].
    ops : Ops
        The implementation.

    Returns
    -------
    dict of Observed
        "input" and every layer's name.
    """
    reach: dict[str, float] = {}
    for x in images:
        for name, tensor in forward(net, params, x, ops).items():
            reach[name] = max(reach.get(name, 0.0), float(np.abs(tensor).max(initial=0.0)))
    found = {name: Observed(largest * 1.0001 + 1e-9) for name, largest in reach.items()}
    for x in images:
        for name, tensor in forward(net, params, x, ops).items():
            found[name].add(tensor)
    return found


def minmax(seen: Observed, bits: int) -> Range:
    """The ends as they are."""
    return seen.low, seen.high


def percentile(seen: Observed, bits: int, share: float = 0.9999) -> Range:
    """Ends that leave out a ten-thousandth of the values on either side."""
    below = np.cumsum(seen.counts) / max(1, seen.counts.sum())
    last = len(below) - 1
    low = seen.centres[min(int(np.searchsorted(below, 1 - share)), last)]
    high = seen.centres[min(int(np.searchsorted(below, share)), last)]
    return max(min(float(low), 0.0), seen.low), min(max(float(high), 0.0), seen.high)


FRACTIONS = np.linspace(1.0, 0.2, 81)
"""Of the ends, that are tried."""
ROUNDS = 3


def least_squares(seen: Observed, bits: int) -> Range:
    """Ends with the smallest sum of squared errors, found by moving one at a time."""
    live = seen.counts > 0
    centres, counts = seen.centres[live], seen.counts[live]

    def error(low: float, high: float) -> float:
        grid = grid_of_range(low, high, bits)
        return float((counts * _squared_errors(centres, grid)).sum())

    low, high = seen.low, seen.high
    for _ in range(ROUNDS):
        if seen.low < 0:
            low = min((error(seen.low * f, high), seen.low * f) for f in FRACTIONS)[1]
        if seen.high > 0:
            high = min((error(low, seen.high * f), seen.high * f) for f in FRACTIONS)[1]
    return low, high


def _squared_errors(x: npt.NDArray[np.float64], grid: Grid) -> npt.NDArray[np.float64]:
    """Inside the range a uniform rounding error; beyond it the distance, where that is more."""
    codes = grid.to_integers(x)
    inside = float(grid.scales) ** 2 / 12
    clipped = (codes == grid.low) | (codes == grid.high)
    errors: npt.NDArray[np.float64] = (grid.to_reals(codes) - x) ** 2
    return np.where(clipped, np.maximum(errors, inside), inside)


def entropy(seen: Observed, bits: int) -> Range:
    """Ends whose rounded histogram tells least from the original (Kullback and Leibler)."""
    tried = [(_divergence(seen, f, bits), -f) for f in FRACTIONS]
    fraction = -min(tried)[1]
    return seen.low * fraction, seen.high * fraction


def _divergence(seen: Observed, fraction: float, bits: int) -> float:
    """Of the clipped histogram from its rounded one, to which what was clipped is unknown."""
    low, high = seen.low * fraction, seen.high * fraction
    grid, centres = grid_of_range(low, high, bits), seen.centres
    inside = (centres >= low) & (centres <= high)
    if not inside.any():
        return np.inf
    kept = seen.counts[inside].astype(np.float64)
    reference = kept.copy()
    reference[0] += seen.counts[centres < low].sum()
    reference[-1] += seen.counts[centres > high].sum()
    index = grid.to_integers(centres[inside]) - grid.low
    live = (kept > 0).astype(np.float64)
    share = np.bincount(index, kept) / np.maximum(np.bincount(index, live), 1)
    rounded = np.where(live > 0, share[index], 0.0)
    p = reference / reference.sum()
    q = np.maximum(rounded / max(rounded.sum(), 1.0), 1e-12)
    some = p > 0
    return float((p[some] * np.log(p[some] / q[some])).sum())


METHODS: dict[str, Callable[[Observed, int], Range]] = {
    "minmax": minmax,
    "percentile": percentile,
    "mse": least_squares,
    "entropy": entropy,
}
"""How the ends of a grid are chosen, by name."""

FLAT_LEVELS = (0.0, 16 / 255, 235 / 255, 1.0)
FLAT_SIDE = 16


def with_flats(images: Iterable[Array], channels: int) -> list[Any]:
    """Images and flat fields of black and white, whose tensors photographs seldom reach."""
    flats = [np.full((1, FLAT_SIDE, FLAT_SIDE, channels), v, np.float32) for v in FLAT_LEVELS]
    return [*images, *flats]
