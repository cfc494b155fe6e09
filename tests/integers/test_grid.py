"""Grids: what integers stand for, ends, JSON both ways, and what is rejected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sesr_ref.integers.grid import Grid, Quantization, grid_of_range, symmetric_grid


def test_zero_is_exactly_on_every_grid_of_a_range() -> None:
    for low, high in ((-1.0, 2.0), (0.0, 0.7), (-3.0, 0.0), (0.25, 1.0), (0.0, 0.0)):
        grid = grid_of_range(low, high)
        assert grid.to_reals(np.array([grid.zero_point]))[0] == 0.0
        assert grid.to_integers(np.array([0.0]))[0] == grid.zero_point


@given(st.floats(-10, 0), st.floats(0, 10), st.floats(-12, 12))
def test_rounding_errs_by_half_a_step_inside_and_clips_outside(
    low: float, high: float, x: float
) -> None:
    grid = grid_of_range(low, high)
    code = grid.to_integers(np.array([x]))
    assert grid.low <= code[0] <= grid.high
    ends = grid.to_reals(np.array([grid.low, grid.high]))
    if ends[0] <= x <= ends[1]:
        assert abs(grid.to_reals(code)[0] - x) <= float(grid.scales) / 2 * (1 + 1e-9)


def test_scales_are_float32_numbers_and_lie_along_their_axis() -> None:
    grid = Grid((0.1, 0.2, 0.4), axis=3)
    assert grid.scale == tuple(float(np.float32(s)) for s in (0.1, 0.2, 0.4))
    reals = grid.to_reals(np.ones((1, 1, 2, 3), np.int8))
    np.testing.assert_array_equal(reals[0, 0, 0], grid.scales.astype(np.float64))
    np.testing.assert_array_equal(grid.to_integers(reals), 1)


def test_a_symmetric_grid_leaves_the_most_negative_integer_out() -> None:
    grid = symmetric_grid(np.array([0.5, 0.0, 2.0]), axis=3)
    assert (grid.low, grid.high, grid.zero_point) == (-127, 127, 0)
    assert grid.scales[1] == 1  # a dead channel
    powers = symmetric_grid(np.array([0.3, 1.1]), axis=3, power_of_two=True).scales
    assert (np.log2(powers) % 1 == 0).all()
    assert (powers * 127 >= [0.3, 1.1]).all()


def test_json_loses_nothing() -> None:
    tensors = {"input": Grid(1 / 255, -128), "a": Grid(0.5, 3, 16), "b": Grid((1.0, 2.0), 0, 32, 3)}
    q = Quantization(tensors, {"a.weight": Grid((0.1, 0.7), 0, 4, 3, narrow=True)})
    assert Quantization.from_json(q.to_json()) == q


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scale": 0.0}, "scale must be positive"),
        ({"scale": float("inf")}, "scale must be positive"),
        ({"scale": "1"}, "scale must be positive"),
        ({"scale": (1.0, -1.0), "axis": 3}, "scale must be positive"),
        ({"scale": 1.0, "bits": 7}, "bits must be one of"),
        ({"scale": 1.0, "zero_point": 128}, "zero_point must be -128 to 127"),
        ({"scale": 1.0, "zero_point": 0.5}, "zero_point must be"),
        ({"scale": (1.0, 2.0)}, "several scales need an axis"),
        ({"scale": 1.0, "axis": 3}, "several scales need an axis"),
    ],
)
def test_what_is_no_grid_is_rejected(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Grid(**fields)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        '{"tensors": {}}',
        '{"tensors": {"a": 3}, "params": {}}',
        "[" * 3000,
        '{"tensors": {"a": {"scale": 1, "other": 2}}, "params": {}}',
        '{"tensors": {"a": {"scale": [], "axis": 3}}, "params": {}}',
        '{"tensors": {"a": {"scale": 1e400}}, "params": {}}',
    ],
)
def test_what_is_no_quantization_is_rejected_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        Quantization.from_json(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
