"""RGB and YCbCr: BT.601 with studio swing, in float, as MATLAB's rgb2ycbcr on doubles."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_ref.ops.arrays import Array

Pixels = npt.NDArray[Any]
"""uint8, uint16, float32 or float64 samples: (height, width) or (height, width, channels)."""

PEAKS: dict[np.dtype[Any], float] = {
    np.dtype(np.uint8): 255.0,
    np.dtype(np.uint16): 65535.0,
    np.dtype(np.float32): 1.0,
    np.dtype(np.float64): 1.0,
}
"""The sample that means white, for every dtype that an image may have."""

# Rows Y, Cb, Cr; columns R, G, B, all in [0, 1]; the results are the studio codes / 255.
TO_YCBCR = (
    np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])
    / 255
)
OFFSET = np.array([16.0, 128.0, 128.0]) / 255
BAND_PIXELS = 1 << 14
TO_RGB = np.linalg.inv(TO_YCBCR)


def to_float(pixels: Pixels) -> Array:
    """Samples in [0, 1]: float64 stays, float32 stays, integers become float32.

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
        For another dtype, or floats that are not finite.
    """
    check_pixels(pixels)
    if pixels.dtype.kind == "f":
        return pixels
    samples = pixels.astype(np.float32)
    samples /= np.float32(PEAKS[pixels.dtype])
    return samples


def from_float(samples: Array, dtype: npt.DTypeLike) -> Pixels:
    """Samples in [0, 1] as `dtype`: clipped, and rounded half up where that is an integer.

    Parameters
    ----------
    samples : float array
        Of any shape; what lies outside [0, 1] is clipped.
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
    return scaled.astype(wanted)  # towards zero, which is down


def check_pixels(pixels: Pixels) -> None:
    """Raise ValueError unless `pixels` has an image's dtype and, in float, is finite."""
    if pixels.dtype not in PEAKS:
        known = ", ".join(str(dtype) for dtype in PEAKS)
        raise ValueError(f"an image must be an array of {known}, got {pixels.dtype}")
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise ValueError("the image holds values that are not finite (NaN or infinity)")


def rgb_to_ycbcr(rgb: Pixels) -> Array:
    """Studio-swing YCbCr of an RGB image.

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
        If there are not three channels, or for a dtype that no image has.

    Notes
    -----
    ITU-R BT.601; the coefficients of MATLAB's ``rgb2ycbcr``.  Y is what the network sees.
    """
    planes = to_float(_three(rgb, "rgb"))
    return _mix(planes, TO_YCBCR, OFFSET)


def rgb_to_luma(rgb: Pixels) -> Array:
    """Y of `rgb_to_ycbcr` alone: (height, width, 3) -> (height, width)."""
    planes = to_float(_three(rgb, "rgb"))
    return _mix(planes, TO_YCBCR[:1], OFFSET[:1])[..., 0]


def grey_to_luma(grey: Array) -> Array:
    """Y / 255 of grey in [0, 1], as of the RGB image of three such channels; any shape."""
    luma: Array = grey * grey.dtype.type(219 / 255) + grey.dtype.type(16 / 255)
    return luma


def luma_to_grey(luma: Array) -> Array:
    """Undo `grey_to_luma`."""
    grey: Array = (luma - luma.dtype.type(16 / 255)) * luma.dtype.type(255 / 219)
    return grey


def ycbcr_to_rgb(ycbcr: Array) -> Array:
    """Undo `rgb_to_ycbcr`.

    Parameters
    ----------
    ycbcr : (height, width, 3) float array
        Studio codes / 255.

    Returns
    -------
    (height, width, 3) float array
        RGB, in [0, 1] where the codes have a colour; not clipped.

    Raises
    ------
    ValueError
        If there are not three channels or the array is not one of floats.
    """
    if ycbcr.dtype.kind != "f":
        raise ValueError(f"ycbcr must be an array of floats in [0, 1], got {ycbcr.dtype}")
    planes = to_float(_three(ycbcr, "ycbcr"))
    return _mix(planes, TO_RGB, -TO_RGB @ OFFSET)


def _three(image: Pixels, name: str) -> Pixels:
    if not isinstance(image, np.ndarray):
        raise ValueError(f"{name} must be a NumPy array, got {type(image).__name__}")
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"{name} must be (height, width, 3), got shape {image.shape}")
    return image


def _mix(planes: Array, matrix: Array, offset: Array) -> Array:
    """``matrix @ pixel + offset``, summed in order: bits do not depend on the image's size."""
    band = max(1, BAND_PIXELS // planes.shape[1])
    mixed = np.empty((*planes.shape[:2], len(matrix)), planes.dtype)
    number = planes.dtype.type
    for top in range(0, len(planes), band):  # few rows at a time stay in the processor's cache
        first, second, third = np.moveaxis(planes[top : top + band], 2, 0).copy()
        for channel, (row, start) in enumerate(zip(matrix, offset, strict=True)):
            total = first * number(row[0])
            total += second * number(row[1])
            total += third * number(row[2])
            np.add(total, number(start), out=mixed[top : top + band, :, channel])
    return mixed
