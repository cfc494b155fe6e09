"""Resampling weights, for the resize layer and imresize alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import naive
from checks import assert_vjp
from sesr_ref.ops.resampling import MODES, resample_matrix

FACTORS = st.sampled_from([1, 2, 3, 4, 1.5, 0.5, 1 / 3, 0.25, 0.7, 2.3])


@given(st.integers(1, 40), FACTORS, st.sampled_from(sorted(MODES)))
def test_weights_add_up_to_1_and_taps_stay_inside(size: int, factor: float, mode: str) -> None:
    resampling = resample_matrix(size, factor, mode)
    assert resampling.taps.shape == resampling.weights.shape
    assert len(resampling.taps) == int(np.ceil(size * factor))
    assert resampling.taps.min() >= 0
    assert resampling.taps.max() < size
    np.testing.assert_allclose(resampling.weights.sum(1), 1, atol=1e-14)


@given(st.integers(1, 30), FACTORS, st.sampled_from(sorted(MODES)))
def test_weights_are_symmetric(size: int, factor: float, mode: str) -> None:
    if size * factor % 1 or (mode == "nearest" and factor % 1):  # off centre; a tie has a side
        return
    line = np.random.default_rng(size).random(size)
    resampling = resample_matrix(size, factor, mode)
    forth, back = resampling.apply(line, 0), resampling.apply(line[::-1], 0)
    np.testing.assert_allclose(forth, back[::-1], atol=1e-13)


def test_enlarging_takes_matlabs_weights() -> None:
    """The four weights of imresize at factor 2, known in closed form (a = -0.5, t = 0.25)."""
    resampling = resample_matrix(6, 2)
    expected = np.array([-3, 29, 111, -9]) / 128
    np.testing.assert_allclose(resampling.weights[5], expected[::-1], atol=1e-15)
    np.testing.assert_allclose(resampling.weights[6], expected, atol=1e-15)
    np.testing.assert_array_equal(resampling.taps[5], [1, 2, 3, 4])
    np.testing.assert_array_equal(resampling.taps[0], [1, 0, 0, 1])  # mirrored with the edge


def test_shrinking_stretches_the_kernel() -> None:
    """Factor 1/2 reads eight samples: the kernel at quarters and odd eighths, halved."""
    resampling = resample_matrix(20, 0.5)
    expected = [naive.cubic(t / 4, -0.5) / 2 for t in (-7, -5, -3, -1, 1, 3, 5, 7)]
    np.testing.assert_allclose(resampling.weights[5], expected, atol=1e-15)
    np.testing.assert_array_equal(resampling.taps[5], np.arange(7, 15))


def test_mirroring_goes_on_where_the_line_is_shorter_than_the_kernel() -> None:
    for size in (1, 2, 3):
        line = np.arange(1.0, size + 1)
        for shrink in (2, 5, 8):
            resampling = resample_matrix(size, 1 / shrink)
            centre = (0 + 0.5) * shrink - 0.5
            taps = range(-60, 60)
            weights = [naive.cubic((centre - i) / shrink, -0.5) for i in taps]
            values = [line[naive.mirrored(i, size)] for i in taps]
            expected = np.dot(weights, values) / sum(weights)
            np.testing.assert_allclose(resampling.apply(line, 0)[0], expected, atol=1e-14)


def test_applying_works_along_any_axis_and_keeps_float32() -> None:
    x = np.random.default_rng(3).random((3, 5, 2, 4))
    for axis in range(4):
        resampling = resample_matrix(x.shape[axis], 2, "bicubic75")
        lines = np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1)
        expected = np.stack([resampling.apply(line, 0) for line in lines.T], axis=1)
        got = np.moveaxis(resampling.apply(x, axis), axis, 0)
        np.testing.assert_allclose(got.reshape(expected.shape), expected, atol=1e-15)
        assert resampling.apply(x.astype(np.float32), axis).dtype == np.float32
        assert resampling.apply((x * 255).astype(np.uint8), axis).dtype == np.float64
        assert_vjp(
            lambda a, r=resampling, axis=axis: r.apply(a, axis),
            lambda dy, a, r=resampling, axis=axis: [r.apply_transposed(dy, axis)],
            x,
        )


def test_the_output_length_can_be_stated() -> None:
    assert len(resample_matrix(5, 0.5).taps) == 3
    assert len(resample_matrix(5, 0.5, length=2).taps) == 2


@pytest.mark.parametrize(
    ("size", "factor", "mode"),
    [
        (0, 2, "bicubic"),
        (-1, 2, "bicubic"),
        (4, 0, "bicubic"),
        (4, -1.0, "bicubic"),
        (4, float("nan"), "bicubic"),
        (4, float("inf"), "bicubic"),
        (4, 2, "spline"),
    ],
)
def test_invalid_arguments_are_rejected(size: int, factor: float, mode: str) -> None:
    with pytest.raises(ValueError, match=r"^(the number of samples|factor|mode) must be .*, got"):
        resample_matrix(size, factor, mode)
