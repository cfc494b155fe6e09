"""PSNR and SSIM with explicit border and peak."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_ref.limits import check, integer
from sesr_ref.ops.arrays import check_array, check_finite

Pixels = npt.NDArray[Any]
Float64 = npt.NDArray[np.float64]

PEAKS = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0, "float64": 1.0}
WINDOW = 11
SIGMA = 1.5


def psnr(reference: Pixels, image: Pixels, border: int = 0, peak: float | None = None) -> float:
    """Peak signal-to-noise ratio in dB.

    ``10 log10(peak**2 / mean((reference - image)**2))`` over all samples inside the border.

    Parameters
    ----------
    reference, image : (height, width) or (height, width, channels) arrays
        Of one shape and dtype: uint8, uint16, float32 or float64; computed in float64.
    border : int
        Pixels to leave out on each side (published scores leave out the enlargement).
    peak : float, optional
        The largest sample; by default 255, 65535 or, for floats, 1.

    Returns
    -------
    float
        In dB; infinite for equal images.

    Raises
    ------
    ValueError
        If shapes or dtypes differ, values are not finite, or the border leaves nothing.
    """
    (a, b), largest = _pair(reference, image, border, peak)
    error = float(np.mean(np.square(a - b)))
    return math.inf if error == 0 else 10 * math.log10(largest**2 / error)


def ssim(reference: Pixels, image: Pixels, border: int = 0, peak: float | None = None) -> float:
    """Structural similarity, as computed by the authors' ``ssim_index.m``.

    11 x 11 Gaussian window with sigma 1.5, K = (0.01, 0.03), L = `peak`; the mean over all
    positions where the window lies inside the image, and over channels.

    Parameters
    ----------
    reference, image : (height, width) or (height, width, channels) arrays
        As for `psnr`.
    border : int
        As for `psnr`.
    peak : float, optional
        As for `psnr`.

    Returns
    -------
    float
        At most 1, which only equal images reach.

    Raises
    ------
    ValueError
        If shapes or dtypes differ, values are not finite, or the border leaves less than the
        window.

    Notes
    -----
    Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity" (2004).
    """
    (a, b), largest = _pair(reference, image, border, peak)
    needed = f"at least {WINDOW} x {WINDOW} for SSIM"
    check(min(a.shape[:2]) >= WINDOW, "the size inside the border", needed, a.shape[:2])
    mean_a, mean_b = _blur(a), _blur(b)
    var_a = _blur(a * a) - mean_a * mean_a
    var_b = _blur(b * b) - mean_b * mean_b
    covariance = _blur(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * largest) ** 2, (0.03 * largest) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (var_a + var_b + c2)
    return float(np.mean(luminance * structure))


def shave(image: Pixels, border: int) -> Pixels:
    """Leave out `border` pixels on each side: a view; ValueError if nothing is left."""
    height, width = image.shape[:2]
    number = integer(border)
    valid = number is not None and 0 <= 2 * number < min(height, width)
    check(valid, "the border", f"an integer that leaves some of {height} x {width} pixels", border)
    return image[border : height - border, border : width - border]


def _pair(
    reference: Pixels, image: Pixels, border: int, peak: float | None
) -> tuple[tuple[Float64, Float64], float]:
    """Both images in float64 without their border, and the peak."""
    for x in (reference, image):
        check_array("an image", x)
    same = reference.shape == image.shape and reference.dtype == image.dtype
    check(same, "images to compare", "of one shape and dtype", (reference, image))
    valid = reference.ndim in (2, 3) and reference.dtype.name in PEAKS
    needed = f"(height, width) or (height, width, channels) arrays of {', '.join(PEAKS)}"
    check(valid, "images", needed, reference)
    a, b = (shave(x, border).astype(np.float64) for x in (reference, image))
    check_finite("the images", np.stack([a, b]))
    return (a, b), PEAKS[reference.dtype.name] if peak is None else peak


def _blur(x: Float64) -> Float64:
    """Apply the Gaussian window, separably, wherever it lies inside the image."""
    offsets = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-(offsets**2) / (2 * SIGMA**2))
    weights /= weights.sum()
    for axis in (0, 1):
        length = x.shape[axis] - WINDOW + 1
        moved = np.moveaxis(x, axis, 0)
        total = sum(w * moved[i : i + length] for i, w in enumerate(weights))
        x = np.moveaxis(np.asarray(total), 0, axis)
    return x
