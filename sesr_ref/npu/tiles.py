"""Choose tiles for an image, and estimate their time and traffic.

A tile is computed with its exact halo, so the output equals that of the whole image; `run` executes
the plan that `plan_tiles` returns.  If an image is not a whole number of tiles, the last ones count
as much as the largest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from sesr_ref.collapse import collapsed
from sesr_ref.limits import image_size, tile_shape, whole_number
from sesr_ref.network import Network
from sesr_ref.npu.depth_first import DepthFirst, depth_first
from sesr_ref.npu.estimator import MODELS, Estimate, estimate
from sesr_ref.npu.hardware import Npu, check_npu
from sesr_ref.receptive import halo

MAX_CUTS = 24
"""Largest number of tiles along one side to try."""


@dataclass(frozen=True)
class TileEstimate:
    """An image cut into tiles of one size.

    Parameters
    ----------
    tile : (int, int)
        Rows and columns of the input that a tile covers without its halo.
    window : (int, int)
        Rows and columns that the largest tile reads: with its halo, cut at the image's edges.
    count : int
        Number of tiles.
    estimates : dict of Estimate
        The largest tile's estimate by each model.
    """

    tile: tuple[int, int]
    window: tuple[int, int]
    count: int
    estimates: dict[str, Estimate]

    def latency_ms(self, model: str) -> float:
        """Time for the image."""
        return self.count * self.estimates[model].latency_ms

    def frames_per_second(self, model: str) -> float:
        """Images per second."""
        return 1e3 / self.latency_ms(model)

    def dram_bytes(self, model: str) -> int:
        """DRAM bytes of the image."""
        return self.count * self.estimates[model].dram_bytes


@dataclass(frozen=True)
class TilePlan:
    """Result of `plan_tiles`; ``run(..., tile=plan)`` executes it.

    Parameters
    ----------
    network : str
        Name of the network.
    height, width : int
        Pixels of the input.
    npu : Npu
        The NPU that runs it.
    halo : int
        Pixels of the input that a tile reads beyond its own on each side.
    model : str
        The model that ranks the tiles.
    best : TileEstimate
        The fastest; it may be the whole image as a single tile.
    candidates : tuple of TileEstimate
        The fastest first.
    whole : TileEstimate or None
        The whole image as one tile; None if that does not fit the SRAM.
    depth_first : DepthFirst or None
        Line buffers instead of tiles; None if no strip fits.
    """

    network: str
    height: int
    width: int
    npu: Npu
    halo: int
    model: str
    best: TileEstimate
    candidates: tuple[TileEstimate, ...]
    whole: TileEstimate | None
    depth_first: DepthFirst | None

    @property
    def tile(self) -> tuple[int, int]:
        """Rows and columns of the recommended tile, for `run`."""
        return self.best.tile

    @property
    def latency_ms(self) -> float:
        """Time for the image in the recommended tiles."""
        return self.best.latency_ms(self.model)

    @property
    def frames_per_second(self) -> float:
        """Images per second in the recommended tiles."""
        return 1e3 / self.latency_ms

    @property
    def dram_bytes(self) -> int:
        """DRAM bytes of the image in the recommended tiles."""
        return self.best.dram_bytes(self.model)


def plan_tiles(
    net: Network,
    height: int,
    width: int,
    npu: Npu,
    model: str = "physical",
    bits: int = 8,
    tile: int | tuple[int, int] | None = None,
    candidates: int = 5,
) -> TilePlan:
    """Find the fastest shape of tiles.

    Parameters
    ----------
    net : Network
        Linear blocks are collapsed first.
    height, width : int
        Pixels of the input.
    npu : Npu
        The NPU that runs it.
    model : str
        The model that ranks the tiles; by default "physical", because by Arm's cascade estimate a
        tile that just fails to stay on chip looks almost free.
    bits : {8, 16}
        Of activations and weights.
    tile : int or (int, int), optional
        Rows and columns of a tile to use instead of searching.
    candidates : int
        How many of the fastest to keep.

    Returns
    -------
    TilePlan

    Raises
    ------
    ValueError
        If a size is not an integer from 1 to 2**15, the model is unknown, or no tile fits the SRAM.
    """
    height, width = image_size(height, width)
    candidates = whole_number("candidates", candidates)
    given = None if tile is None else {tile_shape(tile)}
    check_npu(npu)
    net = collapsed(net)
    search = _TileSearch(net, height, width, npu, model, bits)
    ranked = search.ranked(given or search.sizes())[:candidates]
    best, *others = (search.under_every_model(size) for size in ranked)
    return TilePlan(
        net.name,
        height,
        width,
        npu,
        search.halo,
        model,
        best,
        (best, *others),
        _unless_too_large(lambda: search.under_every_model((height, width))),
        _unless_too_large(lambda: depth_first(net, height, width, npu, bits)),
    )


T = TypeVar("T")


def _unless_too_large(attempt: Callable[[], T]) -> T | None:
    try:
        return attempt()
    except ValueError:
        return None


class _TileSearch:
    def __init__(
        self, net: Network, height: int, width: int, npu: Npu, model: str, bits: int
    ) -> None:
        self.net, self.height, self.width = net, height, width
        self.npu, self.model, self.bits = npu, model, bits
        self.halo = halo(net)

    def sizes(self) -> set[tuple[int, int]]:
        """Shapes that cut each side of the image into 1 to `MAX_CUTS` equal parts."""
        heights, widths = (
            {math.ceil(size / cuts) for cuts in range(1, min(MAX_CUTS, size) + 1)}
            for size in (self.height, self.width)
        )
        return {(h, w) for h in heights for w in widths}

    def window(self, tile: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns that the largest tile reads."""
        rows, columns = (
            min(part + self.halo * min(math.ceil(size / part) - 1, 2), size)
            for part, size in zip(tile, (self.height, self.width), strict=True)
        )
        return rows, columns

    def count(self, tile: tuple[int, int]) -> int:
        """Number of tiles."""
        return math.ceil(self.height / tile[0]) * math.ceil(self.width / tile[1])

    def one(self, tile: tuple[int, int], model: str) -> Estimate:
        """Estimate the largest tile."""
        return estimate(self.net, *self.window(tile), self.npu, model, self.bits)

    def ranked(self, sizes: set[tuple[int, int]]) -> list[tuple[int, int]]:
        """Shapes that fit this NPU, the fastest first; of equals, the one with fewest tiles."""
        times: dict[tuple[int, int], tuple[float, int, tuple[int, int]]] = {}
        problem = ValueError("no tile to try")
        for tile in sizes:
            count = self.count(tile)
            try:
                times[tile] = count * self.one(tile, self.model).latency_ms, count, tile
            except ValueError as error:
                problem = error
        if not times:
            raise problem
        return sorted(times, key=lambda tile: times[tile])

    def under_every_model(self, tile: tuple[int, int]) -> TileEstimate:
        """Estimate one shape by all models."""
        estimates = {model: self.one(tile, model) for model in MODELS}
        return TileEstimate(tile, self.window(tile), self.count(tile), estimates)
