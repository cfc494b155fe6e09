"""PSNR and SSIM against figures that others computed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import sesr_ref as sr
from sesr_ref.images import from_float, luma_of, modcrop


@pytest.mark.parametrize("upscale", [2, 4])
def test_scores_of_bicubic_equal_those_that_matlab_printed(shared: Path, upscale: int) -> None:
    golden = shared / "golden" / "matlab"
    psnrs, ssims = (_csv(golden / f"Set5_x{upscale}_{kind}.csv") for kind in ("PSNR", "SSIM"))
    assert len(psnrs) == len(ssims) == 5
    for name in psnrs:
        high = modcrop(sr.read_image(shared / f"data/eval/Set5/HR/{name}.png").pixels, upscale)
        low = sr.read_image(golden / f"Set5_LRx{upscale}_clamped" / f"{name}.png").pixels
        reference, image = (
            from_float(luma_of(x), np.uint8) for x in (high, sr.imresize(low, upscale))
        )
        assert sr.psnr(reference, image, upscale) == pytest.approx(psnrs[name], abs=1e-4)
        assert sr.ssim(reference, image, upscale) == pytest.approx(ssims[name], abs=1e-5)


def _csv(path: Path) -> dict[str, float]:
    lines = path.read_text().split()[1:]
    return {name: float(value) for name, value in (line.split(",") for line in lines)}


def test_psnr_of_a_known_error_is_known() -> None:
    reference = np.full((6, 7), 100, np.uint8)
    assert sr.psnr(reference, reference + 1) == pytest.approx(20 * math.log10(255))
    assert sr.psnr(reference / 255, reference / 255 + 0.1) == pytest.approx(20.0)
    assert sr.psnr(reference, reference + 1, peak=1.0) == pytest.approx(0.0)
    assert sr.psnr(*np.array([[[0]], [[65535]]], np.uint16)) == pytest.approx(0.0)


def test_unsigned_differences_do_not_wrap() -> None:
    black, white = np.zeros((12, 12), np.uint8), np.full((12, 12), 255, np.uint8)
    assert sr.psnr(black, white) == sr.psnr(white, black) == 0.0


def test_equal_images_score_infinity_and_one(rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (13, 17, 3), np.uint8)
    assert sr.psnr(image, image) == math.inf
    assert sr.ssim(image, image) == pytest.approx(1.0, abs=1e-15)


def test_what_lies_in_the_border_does_not_count(rng: np.random.Generator) -> None:
    a, b = rng.random((2, 21, 18))
    inner = a[3:-3, 3:-3], b[3:-3, 3:-3]
    assert sr.psnr(a, b, border=3) == sr.psnr(*inner)
    assert sr.ssim(a, b, border=3) == sr.ssim(*inner)


def test_ssim_equals_scikit_images_with_the_authors_settings(rng: np.random.Generator) -> None:
    # Its mean over the map without the half-window border is the authors' "valid" region.
    metrics = pytest.importorskip("skimage.metrics")
    a = rng.integers(0, 256, (31, 26, 3), np.uint8)
    b = np.clip(a + rng.normal(0, 20, a.shape), 0, 255).astype(np.uint8)
    expected = metrics.structural_similarity(
        a,
        b,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        truncate=3.5,
        use_sample_covariance=False,
        data_range=255,
    )
    assert sr.ssim(a, b) == pytest.approx(expected, abs=1e-12)


def test_ssim_equals_its_definition_at_one_window(rng: np.random.Generator) -> None:
    a, b = rng.random((2, 11, 11))
    offsets = np.arange(11) - 5
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / 4.5)
    window /= window.sum()
    mean_a, mean_b = (window * a).sum(), (window * b).sum()
    var_a, var_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
    covariance = (window * (a - mean_a) * (b - mean_b)).sum()
    expected = (2 * mean_a * mean_b + 1e-4) * (2 * covariance + 9e-4)
    expected /= (mean_a**2 + mean_b**2 + 1e-4) * (var_a + var_b + 9e-4)
    assert sr.ssim(a, b) == pytest.approx(expected, abs=1e-12)


IMAGE = np.zeros((12, 14), np.uint8)


@pytest.mark.parametrize("metric", [sr.psnr, sr.ssim])
@pytest.mark.parametrize(
    ("reference", "image", "border", "message"),
    [
        (IMAGE, IMAGE[1:], 0, r"one shape and dtype, got \(uint8 array of shape \(12, 14\), uint8"),
        (IMAGE, IMAGE / 255, 0, "uint8 array .* float64 array"),
        (IMAGE, IMAGE, 6, "that leaves some of 12 x 14 pixels, got 6"),
        (IMAGE, IMAGE, -1, "the border must be .*, got -1"),
        (IMAGE, IMAGE, 1.5, "the border must be an integer .*, got 1.5"),
        (IMAGE.tolist(), IMAGE, 0, "must be a NumPy array, got list"),
        (IMAGE, None, 0, "must be a NumPy array, got NoneType"),
        (IMAGE * np.nan, IMAGE * np.nan, 0, "NaN or infinite values in the images"),
        (IMAGE.astype(int), IMAGE.astype(int), 0, "int64"),
        (IMAGE[0], IMAGE[0], 0, "height, width"),
    ],
)
def test_pairs_that_cannot_be_compared_are_rejected(  # type: ignore[no-untyped-def]
    metric, reference: np.ndarray, image: np.ndarray, border: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        metric(reference, image, border)


def test_ssim_rejects_images_smaller_than_its_window() -> None:
    with pytest.raises(ValueError, match=r"at least 11 x 11 for SSIM, got \(10, 12\)"):
        sr.ssim(IMAGE, IMAGE, border=1)
