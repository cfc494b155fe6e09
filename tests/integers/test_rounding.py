"""Each rounding against its definition in Python's integers, at ties and ends above all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import plain_integers as plain
from sesr_ref.integers.arithmetic import TFLITE
from sesr_ref.integers.grid import Grid
from sesr_ref.integers.rounding import (
    HALVED,
    fixed_point,
    once_rounded,
    sixteen_bits,
    twice_rounded,
    twice_rounded_up,
)

SUMS = st.integers(-(1 << 28), 1 << 28)
FACTORS = st.floats(1e-7, 0.99)


def integers(*values: int) -> Any:
    return np.array(values, np.int64)


@given(st.floats(1e-12, 1e4), st.sampled_from([16, 31]))
def test_a_multiplier_and_its_shift_are_tflites(factor: float, bits: int) -> None:
    multiplier, shift = fixed_point(np.array(factor), bits)
    assert (int(multiplier), int(shift)) == plain.quantize_multiplier(factor, bits)


@given(SUMS, FACTORS)
def test_two_roundings_are_gemmlowps(x: int, factor: float) -> None:
    multiplier, shift = plain.quantize_multiplier(factor)
    got = twice_rounded(integers(x), integers(multiplier), integers(shift))
    assert got[0] == plain.twice_rounded(x, multiplier, shift)


@given(SUMS, FACTORS)
def test_one_rounding_is_half_up(x: int, factor: float) -> None:
    multiplier, shift = plain.quantize_multiplier(factor)
    got = once_rounded(integers(x), integers(multiplier), integers(shift))
    assert got[0] == plain.once_rounded(x, multiplier, shift)


@given(SUMS, st.floats(1e-6, 0.49))
def test_tosas_two_rescales_are_tflites(x: int, factor: float) -> None:
    multiplier, shift = plain.quantize_multiplier(factor)
    right = 31 - shift
    double = twice_rounded(integers(x), integers(multiplier), integers(shift))
    assert double[0] == plain.tosa_rescale(x, multiplier, right, double=True)
    single = once_rounded(integers(x), integers(multiplier), integers(shift))
    assert single[0] == plain.tosa_rescale(x, multiplier, right, double=False)


@pytest.mark.parametrize("shift", [0, -1, -4])
def test_ties_tell_the_roundings_apart(shift: int) -> None:
    multiplier = 1 << 30  # half
    xs = integers(-7, -5, -3, -1, 1, 3, 5, 7) << -shift
    twice = twice_rounded(xs, integers(multiplier), integers(shift))
    up = twice_rounded_up(xs, integers(multiplier), integers(shift))
    once = once_rounded(xs, integers(multiplier), integers(shift))
    assert twice.tolist() == [plain.twice_rounded(int(x), multiplier, shift) for x in xs]
    assert once.tolist() == [plain.once_rounded(int(x), multiplier, shift) for x in xs]
    assert (up >= twice).all()
    if shift == 0:  # the first rounding is half up in all of them
        assert up.tolist() == once.tolist() == twice.tolist()
    else:
        assert len({tuple(made.tolist()) for made in (twice, up, once)}) > 1


@pytest.mark.parametrize("mode", HALVED)
@given(x=st.integers(-(1 << 40), 1 << 40), shift=st.integers(0, 30))
def test_a_shift_rounds_as_its_name_says(mode: str, x: int, shift: int) -> None:
    assert HALVED[mode](integers(x), integers(shift))[0] == plain.shifted(x, shift, mode)


@given(SUMS, FACTORS)
def test_sixteen_bits_of_multiplier_are_within_a_step(x: int, factor: float) -> None:
    got = sixteen_bits(integers(x), *fixed_point(np.array([factor]), 16))[0]
    assert abs(int(got) - x * factor) <= 0.5 + abs(x * factor) * 2.0**-16


CODES = st.integers(-128, 127)
SCALES = st.floats(1e-4, 0.1).map(lambda s: float(np.float32(s)))


@given(CODES, CODES, st.tuples(SCALES, SCALES, SCALES), st.tuples(CODES, CODES, CODES))
def test_addition_is_the_reference_kernels(
    a: int, b: int, scales: tuple[float, float, float], zeros: tuple[int, int, int]
) -> None:
    grids = [Grid(s, z) for s, z in zip(scales, zeros, strict=True)]
    got = TFLITE.add([(integers(a), grids[0]), (integers(b), grids[1])], grids[2])
    assert got[0] == plain.add_tflite(a, b, scales, zeros)


@given(CODES, st.integers(-127, 127), st.tuples(SCALES, SCALES, SCALES), st.tuples(CODES, CODES))
def test_prelu_is_the_reference_kernels(
    x: int, slope: int, scales: tuple[float, float, float], zeros: tuple[int, int]
) -> None:
    source, alpha, target = Grid(scales[0], zeros[0]), Grid(scales[1]), Grid(scales[2], zeros[1])
    got = TFLITE.prelu(integers(x), source, (integers(slope), alpha), target)
    assert got[0] == plain.prelu_tflite(x, slope, scales, zeros)
