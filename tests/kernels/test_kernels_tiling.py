"""Rows cut into the register blocks' tiles, for every instruction set."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from checks import need_kernels

need_kernels()

from sesr_kernels.description.packing import round_up  # noqa: E402
from sesr_kernels.machine import tiling  # noqa: E402
from sesr_kernels.machine.host import HOSTS, Host  # noqa: E402


@pytest.fixture(params=list(HOSTS.values()), ids=list(HOSTS))
def host(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Every instruction set in turn, in the place of this machine's."""
    found: Host = request.param
    for name, value in (
        ("VECTORS", found.vectors),
        ("NARROW", found.narrow),
        ("LANES", found.lanes),
        ("TILE", found.tile),
    ):
        monkeypatch.setattr(tiling, name, value)
    return found


def starts(columns: int) -> list[int]:
    """First column of every tile, and where the last one ends."""
    tile_start = getattr(tiling.tile_start, "py_func", tiling.tile_start)
    whole, tiles = tiling.cut(columns)
    assert 0 <= whole <= tiles
    return [tile_start(tile, whole) for tile in range(tiles + 1)]


def test_tiles_follow_each_other_and_reach_the_end(host: Host) -> None:
    for columns in range(200):
        edges = starts(columns)
        sizes = {b - a for a, b in itertools.pairwise(edges)}
        assert sizes <= {host.tile, host.narrow * host.lanes}
        assert columns <= edges[-1] <= round_up(columns, host.tile)


def test_little_is_left_over(host: Host) -> None:
    enough = host.vectors * host.narrow * host.lanes  # from there on both kinds can add up to it
    for columns in range(enough, enough + 200):
        assert starts(columns)[-1] == round_up(columns, host.lanes)
    assert starts(1)[-1] == host.narrow * host.lanes
