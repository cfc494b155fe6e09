"""What ranks draw of a batch, and what is refused; tests/train/test_mpi.py starts real ones."""

from __future__ import annotations

import numpy as np
import pytest

from sesr_ref.train.data import Pairs, turned


def pairs() -> Pairs:
    rng = np.random.default_rng(0)
    sizes = [(9, 31), (8, 8), (40, 17), (23, 9)]
    low = [rng.integers(0, 256, size, np.uint8) for size in sizes]
    return Pairs(2, low, [np.kron(image, np.ones((2, 2), np.uint8)) for image in low])


@pytest.mark.parametrize("seed", range(30))
def test_crops_are_those_that_a_call_for_each_number_draws(seed: int) -> None:
    own, count, crop = pairs(), 13, 8
    rng = np.random.default_rng([seed, 1])
    places = [(low.shape[0] - crop + 1) * (low.shape[1] - crop + 1) for low in own.low]
    expected = []
    for image in rng.choice(len(places), count, p=np.array(places) / sum(places)):
        low = own.low[image]
        top, left = (int(rng.integers(side - crop + 1)) for side in low.shape)
        turn = int(rng.integers(8))
        expected.append(turned(low[top : top + crop, left : left + crop], turn))
    found_rng = np.random.default_rng([seed, 1])
    x, target = own.batch(found_rng, count, crop)
    np.testing.assert_array_equal(x[..., 0], np.array(expected) * np.float32(1 / 255))
    np.testing.assert_array_equal(target[:, ::2, ::2], x)
    assert found_rng.integers(1 << 62) == rng.integers(1 << 62)


@pytest.mark.parametrize("some", [slice(0, 0), slice(0, 5), slice(5, 13), slice(None)])
def test_a_rank_draws_its_own_crops_of_the_batch(some: slice) -> None:
    whole = pairs().batch(np.random.default_rng(3), 13, 8)
    part = pairs().batch(np.random.default_rng(3), 13, 8, some)
    for one, other in zip(whole, part, strict=True):
        np.testing.assert_array_equal(one[some], other)
