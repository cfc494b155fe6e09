"""Sums over parts of a batch: one order, however many processes share it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sesr_kernels.training import parts

Array = npt.NDArray[Any]


class Simulated:
    """One of several threads that act as the processes of a group."""

    def __init__(self, rank: int, shared: dict[str, Any], turn: threading.Barrier) -> None:
        self.rank, self.size = rank, turn.parties
        self._shared, self._turn = shared, turn
        self.sent = 0

    def gather(self, array: Array, ends: Sequence[int]) -> None:
        own = array[ends[self.rank] : ends[self.rank + 1]].copy()
        array[: ends[self.rank]], array[ends[self.rank + 1] :] = np.nan, np.nan  # others' own
        for rank, rows in enumerate(self._all(own)):
            array[ends[rank] : ends[rank + 1]] = rows
        self.sent += own.size

    def swap(self, array: Array, partner: int) -> Array:
        found: Array = self._all(array.copy())[partner]
        self.sent += array.size
        return found

    def _all(self, value: Any) -> list[Any]:
        self._shared[f"{self.rank}"] = value
        self._turn.wait()
        found = [self._shared[f"{rank}"] for rank in range(self.size)]
        self._turn.wait()
        return found


def shared_sums(batch: int, size: int, losses: Array, rows: Array) -> tuple[list[Any], int]:
    """What each of `size` processes comes to, and the most that one has sent."""
    turn, shared = threading.Barrier(size), dict[str, Any]()
    groups = [Simulated(rank, shared, turn) for rank in range(size)]

    def one(group: Simulated) -> tuple[Array, Array]:
        first, last = parts.own_images(batch, group.rank, size)
        ends = parts.part_ends(batch, size)
        own = rows[ends[group.rank] : ends[group.rank + 1]]
        return parts.summed(losses[first:last], own, batch, group)

    with ThreadPoolExecutor(size) as pool:
        found = list(pool.map(one, groups))
    return found, max(group.sent for group in groups)


def random_rows(batch: int, width: int = 5) -> tuple[Array, Array]:
    rng = np.random.default_rng(batch)
    count = parts.part_ends(batch, 1)[-1]
    rows = rng.normal(size=(count, width)) * 10.0 ** rng.integers(-3, 4, (count, width))
    return rng.random(batch), rows.astype(np.float32)


@pytest.mark.parametrize("batch", [1, 7, 16, 17, 31, 32, 33, 143, 144, 255, 256, 263, 500, 1024])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8])
def test_any_number_of_processes_comes_to_the_same_bits(batch: int, size: int) -> None:
    if size > parts.part_ends(batch, 1)[-1]:
        pytest.skip("more processes than parts are refused")
    losses, rows = random_rows(batch)
    expected_losses, expected = parts.summed(losses, rows, batch, None)
    for found_losses, found in shared_sums(batch, size, losses, rows)[0]:
        assert found_losses.tobytes() == expected_losses.tobytes()
        assert found.tobytes() == expected.tobytes()


def test_few_parts_are_added_one_after_the_other() -> None:
    losses, rows = random_rows(32)
    total = np.zeros_like(rows[0])
    for row in rows:
        total = total + row
    assert parts.summed(losses, rows, 32, None)[1].tobytes() == total.tobytes()


def test_many_parts_are_added_as_a_tree() -> None:
    losses, rows = random_rows(8 * 33)

    def tree(low: int, high: int) -> Array:
        if high - low == 1:
            found: Array = rows[low]
            return found
        half = 1 << ((high - low - 1).bit_length() - 1)
        return tree(low, low + half) + tree(low + half, high)

    assert parts.summed(losses, rows, 8 * 33, None)[1].tobytes() == tree(0, 33).tobytes()


@pytest.mark.parametrize("batch", [*range(1, 70), 112, 128, 143])
def test_batches_of_before_have_the_parts_of_before(batch: int) -> None:
    assert parts.images_each(batch) == max(1, batch // 16)


@pytest.mark.parametrize("batch", [1, 5, 16, 33, 144, 2048, 2051])
@pytest.mark.parametrize("size", [1, 3, 16, 64])
def test_each_image_is_one_process_s_and_parts_are_whole(batch: int, size: int) -> None:
    ends = [parts.own_images(batch, rank, size) for rank in range(size)]
    assert [i for first, last in ends for i in range(first, last)] == list(range(batch))
    each = parts.images_each(batch)
    assert all(first % each == 0 or first == batch for first, _ in ends)


def test_a_process_sends_the_logarithm_of_a_large_batch() -> None:
    losses, rows = random_rows(1024, width=1000)
    _, sent = shared_sums(1024, 8, losses, rows)
    assert sent == 1024 // 8 + 3 * 1000
