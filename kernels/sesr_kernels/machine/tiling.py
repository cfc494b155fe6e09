"""How a row of pixels is cut into the register blocks' tiles."""

from __future__ import annotations

from sesr_kernels.machine.compiled import compiled
from sesr_kernels.machine.emit import LANES
from sesr_kernels.machine.host import HOST

VECTORS, NARROW = HOST.vectors, HOST.narrow
TILE = VECTORS * LANES
"""Columns of a whole tile; narrow ones have NARROW vectors."""


def cut(columns: int) -> tuple[int, int]:
    """Whole tiles of a row, and all of its tiles: narrow ones follow, so that less is left over."""
    # together they have `columns`, rounded up to vectors if both can add up to that
    vectors = (columns + LANES - 1) // LANES
    tiles = (vectors + VECTORS - 1) // VECTORS
    narrow = min((tiles * VECTORS - vectors) // (VECTORS - NARROW), tiles)
    return tiles - narrow, tiles


def cut_by(columns: int, most: int) -> tuple[int, int]:
    """As `cut` for whole tiles of `most` vectors and narrow ones of one less."""
    vectors = (columns + LANES - 1) // LANES
    tiles = (vectors + most - 1) // most
    narrow = min(tiles * most - vectors, tiles)
    return tiles - narrow, tiles


tiling, tiling_by = compiled(cut), compiled(cut_by)


@compiled
def tile_vectors(tile: int, whole: int) -> int:
    """Vectors of a tile."""
    return VECTORS if tile < whole else NARROW


@compiled
def tile_start(tile: int, whole: int) -> int:
    """First column of a tile."""
    # each narrow tile ahead of this one took so many columns less
    return tile * TILE - max(tile - whole, 0) * (VECTORS - NARROW) * LANES
