"""Transposed convolutions against their definition; their gradients as adjoints."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import signal

import naive
from checks import assert_equals_definition, assert_rejects_bad_images, assert_vjp
from sesr_ref.ops.conv import conv2d
from sesr_ref.ops.conv_transpose import conv_transpose2d, conv_transpose2d_vjp

Array = npt.NDArray[Any]
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def random(rng: np.random.Generator, *shape: int, dtype: Any = np.float64) -> Array:
    return rng.standard_normal(shape).astype(dtype)


TRANSPOSED = [
    (9, 2, None),
    (9, 3, 3),
    (9, 4, None),
    (4, 2, 1),
    (4, 2, 0),
    (4, 2, 3),
    (3, 3, 2),
    (2, 2, None),
    (5, 1, 2),
    (5, 1, 0),
    (1, 1, None),
    (3, 2, None),
    (3, 2, 0),
    (6, 4, 5),
]


@DTYPES
@pytest.mark.parametrize(("k", "stride", "padding"), TRANSPOSED)
def test_conv_transpose2d_is_its_definition(
    rng: np.random.Generator, dtype: Any, k: int, stride: int, padding: int | None
) -> None:
    x = random(rng, 2, 3, 5, 3, dtype=dtype)
    weight, bias = random(rng, k, k, 3, 2, dtype=dtype) / k, random(rng, 2, dtype=dtype)
    crop = (k - stride + 1) // 2 if padding is None else padding
    for b in (None, bias):
        expected = naive.conv_transpose2d(x, weight, b, stride, crop)
        got = conv_transpose2d(x, weight, b, stride=stride, padding=padding)
        assert_equals_definition(got, expected, x)


@pytest.mark.parametrize(("k", "stride", "padding"), TRANSPOSED)
def test_conv_transpose2d_vjp_is_the_adjoint(
    rng: np.random.Generator, k: int, stride: int, padding: int | None
) -> None:
    def forward(x: Array, weight: Array, bias: Array | None = None) -> Array:
        return conv_transpose2d(x, weight, bias, stride, padding)

    def vjp(dy: Array, x: Array, weight: Array, bias: Array | None = None) -> list[Array]:
        grads = conv_transpose2d_vjp(dy, x, weight, bias, stride, padding)
        return [g for g in grads if g is not None]

    x, weight = random(rng, 2, 4, 3, 2), random(rng, k, k, 2, 3)
    assert_vjp(forward, vjp, x, weight)
    assert_vjp(forward, vjp, x, weight, random(rng, 3))


def test_conv_transpose2d_of_stride_1_is_a_convolution_with_the_kernel_reversed(
    rng: np.random.Generator,
) -> None:
    x, weight = random(rng, 2, 5, 6, 3), random(rng, 5, 5, 3, 2)
    np.testing.assert_allclose(
        conv_transpose2d(x, weight, stride=1), conv2d(x, weight[::-1, ::-1]), atol=1e-13
    )


def test_conv_transpose2d_is_the_adjoint_of_a_strided_convolution(rng: np.random.Generator) -> None:
    x, weight = random(rng, 1, 4, 3, 1), random(rng, 4, 4, 1, 1)
    stuffed = np.zeros((8, 6))
    stuffed[::2, ::2] = x[0, :, :, 0]
    full = signal.convolve2d(stuffed, weight[:, :, 0, 0])[1:9, 1:7]
    got = conv_transpose2d(x, weight, stride=2, padding=1)[0, :, :, 0]
    np.testing.assert_allclose(got, full, atol=1e-13)


def test_operands_are_not_changed_and_do_not_set_the_dtype(rng: np.random.Generator) -> None:
    weight, bias = random(rng, 4, 4, 3, 2), random(rng, 2)
    before = weight.copy()
    for dtype in (np.float32, np.float64):
        x = random(rng, 2, 4, 5, 3, dtype=dtype)
        for a in (x, weight, bias):
            a.flags.writeable = False
        y = conv_transpose2d(x, weight, bias)
        grads = conv_transpose2d_vjp(y, x, weight, bias)
        assert {a.dtype for a in (y, *grads) if a is not None} == {np.dtype(dtype)}
    np.testing.assert_array_equal(weight, before)


@pytest.mark.parametrize("shape", [(0, 4, 5, 2), (2, 0, 5, 2), (2, 4, 0, 2)])
def test_empty_batches_and_images_stay_empty(shape: tuple[int, ...]) -> None:
    x, weight = np.zeros(shape, np.float32), np.ones((3, 3, 2, 4), np.float32)
    y = conv_transpose2d(x, weight)
    assert y.shape == (shape[0], 2 * shape[1], 2 * shape[2], 4)
    dx, dweight, _ = conv_transpose2d_vjp(y, x, weight)
    assert dx.shape == shape
    assert not dweight.any()


# --- what is rejected ---


def test_images_are_four_dimensional_floats() -> None:
    assert_rejects_bad_images(lambda x: conv_transpose2d(x, np.ones((3, 3, 4, 2))))


@pytest.mark.parametrize(
    ("weight", "stride", "padding", "message"),
    [
        ((3, 3, 3, 2), 2, None, r"must be \(k, k, 2, out\)"),
        ((3, 4, 2, 2), 2, None, "must be"),
        ((3, 3), 2, None, "must be"),
        ((3, 3, 2, 2), 4, None, "stride must be 1 to k = 3, got 4"),
        ((3, 3, 2, 2), 0, None, "stride"),
        ((3, 3, 2, 2), 2, 3, r"padding must be in \[0, 3\), got 3"),
        ((3, 3, 2, 2), 2, -1, "padding"),
    ],
)
def test_conv_transpose2d_rejects_mismatches(
    weight: tuple[int, ...], stride: int, padding: int | None, message: str
) -> None:
    x = np.ones((1, 4, 5, 2))
    with pytest.raises(ValueError, match=message):
        conv_transpose2d(x, np.ones(weight), None, stride, padding)
    with pytest.raises(ValueError, match="bias must have shape"):
        conv_transpose2d(x, np.ones((3, 3, 2, 4)), np.ones(3), 2)


def test_gradients_have_the_results_shape_and_dtype() -> None:
    x, weight = np.ones((1, 4, 5, 2), np.float32), np.ones((3, 3, 2, 3), np.float32)
    for dy in (np.ones((1, 4, 5, 3), np.float32), np.ones((1, 8, 10, 3))):
        with pytest.raises(ValueError, match=r"dy must be float32 of shape \(1, 8, 10, 3\)"):
            conv_transpose2d_vjp(dy, x, weight)
