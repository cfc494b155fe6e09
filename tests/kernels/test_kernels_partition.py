"""How images are cut into jobs for threads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks import need_kernels

need_kernels()

from sesr_kernels.inference.partition import Needs, grid, jobs  # noqa: E402
from sesr_kernels.machine.emit import LANES  # noqa: E402

M5 = Needs(strip=574, halo=9, rows=6.0, step=4)


@given(
    strip=st.integers(32, 2000),
    halo=st.integers(0, 40),
    step=st.sampled_from([1, 4]),
    n=st.integers(1, 3),
    height=st.integers(1, 3000),
    width=st.integers(1, 3000),
    threads=st.integers(1, 9),
)
def test_jobs_cover_every_pixel_once(
    strip: int, halo: int, step: int, n: int, height: int, width: int, threads: int
) -> None:
    found = jobs(Needs(strip, halo, 1.5 * halo, step), n, height, width, threads)
    assert sum((j.bottom - j.top) * (j.right - j.left) for j in found) == n * height * width
    for job in found:
        assert 0 <= job.top < job.bottom <= height
        assert 0 <= job.left < job.right <= width
        assert job.top % step == 0  # where the rings were rehearsed
    edges = {(j.image, j.top, j.left) for j in found}
    assert len(edges) == len(found)


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("size", [(540, 960), (1080, 1920), (4320, 7680)])
def test_every_thread_has_as_much_to_do(size: tuple[int, int], threads: int) -> None:
    found = jobs(M5, 1, *size, threads)
    assert len(found) % threads == 0
    areas = [(j.bottom - j.top) * (j.right - j.left) for j in found]
    assert max(areas) < 1.15 * min(areas)


def test_strips_are_about_as_wide_as_the_caches_like() -> None:
    for width in (960, 1920, 3840, 7680):
        strips, _ = grid(M5, 1, 2160, width, 2)
        assert M5.strip / 1.5 < width / strips < 1.25 * M5.strip


def test_strips_with_their_halo_are_whole_vectors() -> None:
    inner = [j for j in jobs(M5, 1, 2160, 3840, 1) if j.right < 3840]
    assert len(inner) > 2
    for job in inner:
        assert (job.right - job.left + M5.halo * (1 if job.left == 0 else 2)) % LANES == 0


def test_a_thread_that_would_only_make_halo_gets_nothing() -> None:
    assert grid(M5, 1, 20, 40, 8) == (1, 1)
    assert grid(M5, 8, 20, 40, 8) == (1, 1)  # there are images enough
