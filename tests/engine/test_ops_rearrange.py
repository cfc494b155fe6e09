"""Depth-to-space and the resize layer against their definitions; their gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import naive
from checks import assert_equals_definition, assert_rejects_bad_images, assert_vjp
from sesr_ref.ops import rearrange

MODES = ["nearest", "bilinear", "bicubic", "bicubic75"]


SMALL = st.integers(1, 4)


@given(st.integers(0, 2), SMALL, SMALL, SMALL, SMALL)
def test_depth_to_space_is_its_definition_and_its_gradient_the_inverse(
    n: int, height: int, width: int, block: int, channels: int
) -> None:
    shape = (n, height, width, block**2 * channels)
    x = np.arange(math.prod(shape), dtype=np.float64).reshape(shape)
    for mode in ("DCR", "CRD"):
        y = rearrange.depth_to_space(x, block, mode)
        assert_equals_definition(y, naive.depth_to_space(x, block, mode), x)
        np.testing.assert_array_equal(rearrange.depth_to_space_vjp(y, block, mode), x)


def test_depth_to_space_orders_channels_as_tensorflow_and_pytorch_do() -> None:
    x: Any = np.arange(8).reshape(1, 1, 1, 8)
    dcr, crd = (rearrange.depth_to_space(x, 2, mode)[0] for mode in ("DCR", "CRD"))
    np.testing.assert_array_equal(dcr, [[[0, 1], [2, 3]], [[4, 5], [6, 7]]])
    np.testing.assert_array_equal(crd, [[[0, 4], [1, 5]], [[2, 6], [3, 7]]])


def test_two_shuffles_by_2_are_not_one_by_4() -> None:
    x: Any = np.arange(16).reshape(1, 1, 1, 16)
    twice = rearrange.depth_to_space(rearrange.depth_to_space(x, 2), 2)
    assert twice.shape == (1, 4, 4, 1)
    assert (twice != rearrange.depth_to_space(x, 4)).any()
    np.testing.assert_array_equal(twice[0, 0, :, 0], [0, 1, 4, 5])


def test_depth_to_space_keeps_any_dtype_and_any_memory_layout() -> None:
    for dtype in (np.uint8, np.int16, np.float32, np.float64):
        x: Any = np.arange(48).astype(dtype).reshape(1, 2, 3, 8)
        assert rearrange.depth_to_space(x, 2).dtype == dtype
    backwards = x[:, ::-1, ::-1, ::-1]
    np.testing.assert_array_equal(
        rearrange.depth_to_space(backwards, 2), naive.depth_to_space(backwards, 2, "DCR")
    )


def test_depth_to_space_rejects_mismatches() -> None:
    x = np.ones((1, 3, 4, 6))
    with pytest.raises(ValueError, match=r"channels must be a multiple of 2\*\*2, got 6"):
        rearrange.depth_to_space(x, 2)
    with pytest.raises(ValueError, match="mode must be one of DCR, CRD, got 'dcr'"):
        rearrange.depth_to_space(x, 1, "dcr")
    for bad, block in ((x, 0), (x, -1), (x[0], 1)):
        needed = "block must be 1 or more" if block < 1 else "the shape of x must be"
        with pytest.raises(ValueError, match=needed):
            rearrange.depth_to_space(bad, block)
        with pytest.raises(ValueError, match=needed):
            rearrange.depth_to_space_vjp(bad, block)
    with pytest.raises(ValueError, match=r"must be multiples of 2, got \(3, 4\)"):
        rearrange.depth_to_space_vjp(x, 2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("upscale", [1, 2, 3, 4])
def test_resize_is_its_definition(
    rng: np.random.Generator, dtype: Any, mode: str, upscale: int
) -> None:
    for size in ((5, 3), (1, 2), (4, 1)):
        x = rng.standard_normal((2, *size, 3)).astype(dtype)
        y = rearrange.resize(x, upscale, mode)
        assert_equals_definition(y, naive.resize(x, upscale, mode), x)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("upscale", [1, 2, 3])
def test_resize_vjp_is_the_adjoint(rng: np.random.Generator, mode: str, upscale: int) -> None:
    for size in ((5, 3), (1, 2)):
        assert_vjp(
            lambda x: rearrange.resize(x, upscale, mode),
            lambda dy, x: [rearrange.resize_vjp(dy, x, upscale, mode)],
            rng.standard_normal((2, *size, 3)),
        )


@pytest.mark.parametrize("mode", MODES)
def test_resize_keeps_constants_and_nothing_changes_at_factor_1(mode: str) -> None:
    x = np.random.default_rng(0).random((1, 4, 5, 2))
    np.testing.assert_allclose(rearrange.resize(x, 1, mode), x, atol=1e-15)
    flat = np.full((1, 4, 5, 2), 0.7)
    np.testing.assert_allclose(rearrange.resize(flat, 3, mode), 0.7, atol=1e-15)


def test_resize_rejects_invalid_arguments() -> None:
    assert_rejects_bad_images(lambda x: rearrange.resize(x, 2))
    x = np.ones((1, 3, 4, 2))
    for upscale, mode in ((2, "lanczos"), (0, "bicubic"), (-2, "bicubic")):
        with pytest.raises(ValueError, match=r"mode must be one of|factor must be positive"):
            rearrange.resize(x, upscale, mode)
    with pytest.raises(ValueError, match=r"dy must be float64 of shape \(1, 6, 8, 2\)"):
        rearrange.resize_vjp(x, x, 2)
    with pytest.raises(ValueError, match="the number of samples must be 1 or more, got 0"):
        rearrange.resize(x[:, :0], 2)
