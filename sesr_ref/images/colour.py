"""RGB and YCbCr: BT.601 with studio swing, in float, like MATLAB's rgb2ycbcr on doubles."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_ref.limits import check
from sesr_ref.ops.arrays import Array, check_array, check_finite

Pixels = npt.NDArray[Any]
"""uint8, uint16, float32 or float64 samples: (height, width) or (height, width, channels)."""

PEAKS: dict[np.dtype[Any], float] = {
    np.dtype(np.uint8): 255.0,
    np.dtype(np.uint16): 65535.0,
    np.dtype(np.float32): 1.0,
    np.dtype(np.float64): 1.0,
}
"""The sample value of white, for every dtype that an image may have."""

# Rows are Y, Cb, Cr; columns are R, G, B in [0, 1]; results are studio codes / 255.
TO_YCBCR = (
    np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])
    / 255
)
OFFSET = np.array([16.0, 128.0, 128.0]) / 255
BAND_PIXELS = 1 << 14
TO_RGB = np.linalg.inv(TO_YCBCR)


def to_float(pixels: Pixels) -> Array:
    """Convert samples to floats in [0, 1]; integers become float32, floats keep their dtype.

    Parameters
    ----------
    pixels : uint8, uint16, float32 or float64 array
        Of any shape.

    Returns
    -------
    float array of the same shape

    Raises
    ------
    ValueError
        For another dtype, or for floats that are not finite.
    """
    check_pixels(pixels)
    if pixels.dtype.kind == "f":
        return pixels
    samples = pixels.astype(np.float32)
    samples /= np.float32(PEAKS[pixels.dtype])
    return samples


def from_float(samples: Array, dtype: npt.DTypeLike) -> Pixels:
    """Convert samples in [0, 1] to `dtype`: clipped, and rounded half up to integers.

    Parameters
    ----------
    samples : float array
        Of any shape; values outside [0, 1] are clipped.
    dtype : dtype
        uint8, uint16, float32 or float64.

    Returns
    -------
    array of `dtype` and the same shape
    """
    wanted = np.dtype(dtype)
    scaled = np.clip(samples, 0, 1)
    if wanted.kind == "f":
        return scaled.astype(wanted, copy=False)
    scaled *= scaled.dtype.type(PEAKS[wanted])
    scaled += scaled.dtype.type(0.5)
    return scaled.astype(wanted)  # truncates, which rounds down since nothing is negative


def check_pixels(pixels: Pixels) -> None:
    """Raise ValueError unless `pixels` has an image's dtype and finite values."""
    known = ", ".join(str(dtype) for dtype in PEAKS)
    check(pixels.dtype in PEAKS, "an image", f"an array of {known}", pixels.dtype)
    if pixels.dtype.kind == "f":
        check_finite("the image", pixels)


def rgb_to_ycbcr(rgb: Pixels) -> Array:
    """Convert an RGB image to studio-swing YCbCr.

    Parameters
    ----------
    rgb : (height, width, 3) uint8, uint16 or float array
        Floats in [0, 1].

    Returns
    -------
    (height, width, 3) float array
        The studio codes / 255: Y in [16/255, 235/255], Cb and Cr in [16/255, 240/255], unrounded.
        float64 for float64, else float32.

    Raises
    ------
    ValueError
        If there are not three channels, or the dtype is not an image's.

    Notes
    -----
    ITU-R BT.601; the coefficients of MATLAB's ``rgb2ycbcr``.  Y is what the network sees.
    """
    planes = to_float(_three(rgb, "rgb"))
    return _mix(planes, TO_YCBCR, OFFSET)


def rgb_to_luma(rgb: Pixels) -> Array:
    """Compute only the Y of `rgb_to_ycbcr`: (height, width, 3) -> (height, width)."""
    planes = to_float(_three(rgb, "rgb"))
    return _mix(planes, TO_YCBCR[:1], OFFSET[:1])[..., 0]


def grey_to_luma(grey: Array) -> Array:
    """Y / 255 of grey samples in [0, 1]: that of an RGB image with three such channels."""
    luma: Array = grey * grey.dtype.type(219 / 255) + grey.dtype.type(16 / 255)
    return luma


def luma_to_grey(luma: Array) -> Array:
    """Invert `grey_to_luma`."""
    grey: Array = (luma - luma.dtype.type(16 / 255)) * luma.dtype.type(255 / 219)
    return grey


def ycbcr_to_rgb(ycbcr: Array) -> Array:
    """Invert `rgb_to_ycbcr`.

    Parameters
    ----------
    ycbcr : (height, width, 3) float array
        Studio codes / 255.

    Returns
    -------
    (height, width, 3) float array
        RGB, in [0, 1] for codes that are a colour; not clipped.

    Raises
    ------
    ValueError
        If there are not three channels or the array does not hold floats.
    """
    check(ycbcr.dtype.kind == "f", "ycbcr", "an array of floats in [0, 1]", ycbcr.dtype)
    planes = to_float(_three(ycbcr, "ycbcr"))
    return _mix(planes, TO_RGB, -TO_RGB @ OFFSET)


def _three(image: Pixels, name: str) -> Pixels:
    check_array(name, image)
    three = image.ndim == 3 and image.shape[2] == 3
    check(three, f"the shape of {name}", "(height, width, 3)", image.shape)
    return image


def _mix(planes: Array, matrix: Array, offset: Array) -> Array:
    """``matrix @ pixel + offset``, summed in order: the bits do not depend on the image's size."""
    band = max(1, BAND_PIXELS // planes.shape[1])
    mixed = np.empty((*planes.shape[:2], len(matrix)), planes.dtype)
    number = planes.dtype.type
    for top in range(0, len(planes), band):  # a few rows at a time stay in the cache
        first, second, third = np.moveaxis(planes[top : top + band], 2, 0).copy()
        for channel, (row, start) in enumerate(zip(matrix, offset, strict=True)):
            total = first * number(row[0])
            total += second * number(row[1])
            total += third * number(row[2])
            np.add(total, number(start), out=mixed[top : top + band, :, channel])
    return mixed
