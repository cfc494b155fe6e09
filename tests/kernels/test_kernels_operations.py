"""Single operations on the kernels against the reference's, over awkward sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sesr_ref as sr
from checks import need_kernels
from sesr_ref.ops.arrays import Array

need_kernels()

FAST = sr.fast()
KERNEL_SIZES = (1, 3, 5, 9)
CASES = [
    (1 + i % 3, 1 + 4 * i % 9, 1 + 27 * i % 70, 1 + 5 * i % 33, 1 + 7 * i % 33, KERNEL_SIZES[i % 4])
    for i in range(70)
]
"""Images, height, width, channels in and out, kernel: every value of each range at least once."""


def random(rng: np.random.Generator, *shape: int) -> Array:
    """Normal values in float32."""
    return rng.standard_normal(shape).astype(np.float32)


def close(got: Any, want: Any) -> None:
    """Equal to float32's rounding of sums of some thousand terms."""
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-6 * max(1.0, abs(want).max()))


def wide(array: Array | None) -> Array | None:
    """As float64."""
    return None if array is None else array.astype(np.float64)


def test_the_cases_cover_every_value() -> None:
    _, heights, widths, channels, features, kernels = map(set, zip(*CASES, strict=True))
    assert heights == set(range(1, 10))
    assert widths == set(range(1, 71))
    assert channels == features == set(range(1, 34))
    assert {(c % 4, k) for _, _, _, _, c, k in CASES} >= {(c, k) for c in range(4) for k in kernels}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_convolutions_and_their_gradients(case: Any, rng: np.random.Generator) -> None:
    n, height, width, channels, features, k = case
    x, dy = random(rng, n, height, width, channels), random(rng, n, height, width, features)
    weight = random(rng, k, k, channels, features) / np.float32(k * np.sqrt(channels))
    bias = random(rng, features) if k != 5 else None
    close(FAST.conv2d(x, weight, bias), sr.REFERENCE.conv2d(wide(x), wide(weight), wide(bias)))
    got = FAST.conv2d_vjp(dy, x, weight, bias)
    want = sr.REFERENCE.conv2d_vjp(wide(dy), wide(x), wide(weight), wide(bias))
    for g, w in zip(got, want, strict=True):
        assert (g is None) == (w is None)
        if g is not None and w is not None:
            assert g.shape == w.shape
            close(g, w)


@pytest.mark.parametrize(
    ("k", "stride", "padding"),
    [(9, 2, None), (9, 4, 0), (4, 3, 1), (2, 2, 0), (1, 1, 0), (3, 1, 2), (5, 3, 4), (9, 9, 8)],
)
@pytest.mark.parametrize(
    "shape", [(2, 5, 7, 6, 2), (1, 1, 1, 33, 1), (1, 9, 70, 1, 5), (3, 2, 23, 12, 33)], ids=str
)
def test_transposed_convolutions_and_their_gradients(
    shape: tuple[int, ...], k: int, stride: int, padding: int | None, rng: np.random.Generator
) -> None:
    n, height, width, channels, features = shape
    x, bias = random(rng, n, height, width, channels), random(rng, features)
    weight = random(rng, k, k, channels, features) / np.float32(k * np.sqrt(channels))
    dy = random(rng, n, height * stride, width * stride, features)
    want = sr.REFERENCE.conv_transpose2d(wide(x), wide(weight), wide(bias), stride, padding)
    close(FAST.conv_transpose2d(x, weight, bias, stride, padding), want)
    got = FAST.conv_transpose2d_vjp(dy, x, weight, bias, stride, padding)
    args = (wide(dy), wide(x), wide(weight), wide(bias), stride, padding)
    for g, w in zip(got, sr.REFERENCE.conv_transpose2d_vjp(*args), strict=True):
        close(g, w)


def test_grouped_convolutions(rng: np.random.Generator) -> None:
    x, dy = random(rng, 2, 6, 11, 6), random(rng, 2, 6, 11, 9)
    weight, bias = random(rng, 3, 3, 2, 9), random(rng, 9)
    close(FAST.conv2d(x, weight, bias, 3), sr.REFERENCE.conv2d(x, weight, bias, 3))
    want = sr.REFERENCE.conv2d_vjp(dy, x, weight, bias, 3)
    for g, w in zip(FAST.conv2d_vjp(dy, x, weight, bias, 3), want, strict=True):
        close(g, w)


@pytest.mark.parametrize("case", CASES[:35], ids=str)
def test_prelu_and_its_gradients_are_the_references(case: Any, rng: np.random.Generator) -> None:
    n, height, width, _, channels, _ = case
    x, dy = (random(rng, n, height, width, channels) for _ in range(2))
    x.flat[::7], x.flat[::11], x.flat[::13], x.flat[::17] = np.nan, np.inf, 0, -np.inf
    slope = random(rng, channels)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(FAST.prelu(x, slope), sr.REFERENCE.prelu(x, slope))
    finite = np.nan_to_num(x, posinf=1, neginf=-1)
    got, want = (ops.prelu_vjp(dy, finite, slope) for ops in (FAST, sr.REFERENCE))
    np.testing.assert_array_equal(got[0], want[0])
    close(got[1], want[1])


def test_strided_views_are_read_as_they_are(rng: np.random.Generator) -> None:
    big, weight = random(rng, 4, 20, 30, 8), random(rng, 3, 3, 4, 5)
    view = big[::2, 3:17, ::-2, 1::2]
    want = FAST.conv2d(np.ascontiguousarray(view), weight)
    np.testing.assert_array_equal(FAST.conv2d(view, weight), want)


def test_threads_change_no_bit_of_an_operation(rng: np.random.Generator) -> None:
    x, dy = random(rng, 3, 8, 37, 6), random(rng, 3, 8, 37, 9)
    weight, up = random(rng, 3, 3, 6, 9), random(rng, 4, 4, 6, 9)
    large = random(rng, 3, 16, 74, 9)
    calls: list[Any] = [
        lambda ops: ops.conv2d(x, weight),
        lambda ops: ops.conv2d_vjp(dy, x, weight, weight[0, 0, 0]),
        lambda ops: ops.conv2d(x, weight[:, :, :2], None, 3),
        lambda ops: ops.conv_transpose2d(x, up),
        lambda ops: ops.conv_transpose2d_vjp(large, x, up),
    ]
    for call in calls:
        one, two, five = (call(sr.fast(threads=threads)) for threads in (1, 2, 5))
        results = (r if isinstance(r, tuple) else (r,) for r in (one, two, five))
        for a, b, c in zip(*results, strict=True):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(a, c)


@pytest.mark.parametrize("k", KERNEL_SIZES)
def test_a_part_of_an_image_has_the_bits_of_the_whole(k: int, rng: np.random.Generator) -> None:
    x, weight = random(rng, 1, 30, 61, 3), random(rng, k, k, 3, 5)
    whole, half = FAST.conv2d(x, weight), k // 2
    for top, left in ((0, 0), (3, 1), (11, 30)):
        part = FAST.conv2d(x[:, top : top + 15, left : left + 27], weight)
        inner = whole[:, top + half : top + 15 - half, left + half : left + 27 - half]
        np.testing.assert_array_equal(part[:, half : 15 - half, half : 27 - half], inner)


def test_mistakes_are_reported_as_by_the_reference(rng: np.random.Generator) -> None:
    x, weight = random(rng, 1, 5, 6, 3), random(rng, 3, 3, 4, 2)
    calls: list[Any] = [
        lambda ops: ops.conv2d(x, weight),
        lambda ops: ops.conv2d(x, weight[:2, :2, :3]),
        lambda ops: ops.conv2d(x[0], weight),
        lambda ops: ops.conv_transpose2d(x, weight[:, :, :3], None, 4),
        lambda ops: ops.prelu(x, np.zeros(2, np.float32)),
        lambda ops: ops.prelu_vjp(x[:, :2], x, np.zeros(3, np.float32)),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r".") as want:
            call(sr.REFERENCE)
        with pytest.raises(ValueError, match=r".") as got:
            call(FAST)
        assert str(got.value) == str(want.value)


def test_what_numpy_does_as_well_is_left_to_the_reference() -> None:
    from dataclasses import fields

    alike = {
        f.name for f in fields(sr.Ops) if getattr(FAST, f.name) is getattr(sr.REFERENCE, f.name)
    }
    assert alike == {"relu", "relu_vjp", "depth_to_space", "depth_to_space_vjp"}


def test_float64_gives_the_references_bits(rng: np.random.Generator) -> None:
    x, weight = rng.standard_normal((1, 5, 6, 3)), rng.standard_normal((3, 3, 3, 2))
    np.testing.assert_array_equal(FAST.conv2d(x, weight), sr.REFERENCE.conv2d(x, weight))
