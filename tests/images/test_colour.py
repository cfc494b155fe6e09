"""BT.601 with studio swing."""

from __future__ import annotations

import numpy as np
import pytest

import sesr_ref as sr
from sesr_ref.images import from_float, rgb_to_luma, to_float

# (R, G, B) and the codes (Y, Cb, Cr) that the recommendation states for 100 % colour bars.
BARS = {
    (255, 255, 255): (235, 128, 128),
    (255, 255, 0): (210, 16, 146),
    (0, 255, 255): (170, 166, 16),
    (0, 255, 0): (145, 54, 34),
    (255, 0, 255): (106, 202, 222),
    (255, 0, 0): (81, 90, 240),
    (0, 0, 255): (41, 240, 110),
    (0, 0, 0): (16, 128, 128),
}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_colour_bars_have_the_codes_of_the_recommendation(dtype: type) -> None:
    rgb = np.array([list(BARS)]) / 255
    image = from_float(rgb, dtype)
    codes = sr.rgb_to_ycbcr(image) * 255
    np.testing.assert_array_equal(np.round(codes[0]), list(BARS.values()))
    assert codes.dtype == (np.float64 if dtype == np.float64 else np.float32)


def test_every_eight_bit_colour_survives_the_way_there_and_back() -> None:
    levels = np.arange(0, 256, 5, dtype=np.uint8)
    rgb = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(len(levels), -1, 3)
    back = from_float(sr.ycbcr_to_rgb(sr.rgb_to_ycbcr(rgb)), np.uint8)
    np.testing.assert_array_equal(back, rgb)


def test_sixteen_bit_colours_survive_in_float64(rng: np.random.Generator) -> None:
    rgb = rng.integers(0, 65536, (30, 40, 3), np.uint16)
    back = from_float(sr.ycbcr_to_rgb(sr.rgb_to_ycbcr(rgb / 65535)), np.uint16)
    np.testing.assert_array_equal(back, rgb)


def test_luma_alone_equals_the_first_of_three(rng: np.random.Generator) -> None:
    rgb = rng.random((5, 7, 3))
    np.testing.assert_array_equal(rgb_to_luma(rgb), sr.rgb_to_ycbcr(rgb)[..., 0])


def test_bits_do_not_depend_on_the_size_of_the_image(rng: np.random.Generator) -> None:
    rgb = rng.random((33, 47, 3)).astype(np.float32)
    whole = sr.rgb_to_ycbcr(rgb)
    np.testing.assert_array_equal(sr.rgb_to_ycbcr(rgb[5:18, 3:40]), whole[5:18, 3:40])


def test_integers_survive_float_and_are_rounded_half_up() -> None:
    levels = np.arange(65536, dtype=np.uint16)
    np.testing.assert_array_equal(from_float(to_float(levels), np.uint16), levels)
    np.testing.assert_array_equal(
        from_float(to_float(np.array([0, 255], np.uint8)), np.uint8), [0, 255]
    )
    halves = np.array([-0.1, 0.5 / 255, 1.5 / 255, 1.1])
    np.testing.assert_array_equal(from_float(halves, np.uint8), [0, 1, 2, 255])


@pytest.mark.parametrize(
    ("function", "image", "message"),
    [
        (sr.rgb_to_ycbcr, np.zeros((4, 4), np.uint8), r"\(height, width, 3\), got \(4, 4\)"),
        (sr.rgb_to_ycbcr, np.zeros((4, 4, 4), np.uint8), r"got \(4, 4, 4\)"),
        (sr.rgb_to_ycbcr, np.zeros((4, 4, 3), np.int64), "int64"),
        (sr.rgb_to_ycbcr, np.full((1, 1, 3), np.nan), "NaN or infinite values in the image"),
        (sr.ycbcr_to_rgb, np.zeros((4, 4, 3), np.uint8), "floats in .* got uint8"),
        (sr.ycbcr_to_rgb, np.zeros((4, 4, 2)), "the shape of ycbcr must be"),
    ],
)
def test_invalid_colour_arrays_are_rejected(function, image: np.ndarray, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        function(image)
