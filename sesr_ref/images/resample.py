"""MATLAB's bicubic `imresize`, which defines the low-resolution images of the field."""

from __future__ import annotations

import math
from numbers import Real

import numpy as np

from sesr_ref.images.colour import PEAKS, Pixels, check_pixels
from sesr_ref.ops.resampling import resample_matrix

MAX_SCALE = 65536
MAX_SAMPLES = 1 << 33


def imresize(image: Pixels, scale: float) -> Pixels:
    """Resize bicubically as MATLAB's ``imresize(image, scale, 'bicubic')``.

    Cubic kernel with a = -0.5, stretched when shrinking (antialiasing), edges mirrored; first along
    the height, then along the width.  Integers are rounded half up and clipped after each of the
    two, as MATLAB does; floats are neither rounded nor clipped.

    Parameters
    ----------
    image : (height, width) or (height, width, channels) array
        uint8, uint16, float32 or float64, which is also the result's dtype.
    scale : float
        From 1/65536 to 65536; 0.5 halves, 2 doubles.

    Returns
    -------
    array
        ceil(scale * height) x ceil(scale * width) pixels.

    Raises
    ------
    ValueError
        For another rank or dtype, an image without pixels, floats that are not finite, a scale
        outside its range, or a result of more than 2**33 samples.

    Notes
    -----
    Keys, "Cubic Convolution Interpolation for Digital Image Processing" (1981).  On uint8 this is
    bit-equal to the low-resolution files that MATLAB wrote for Set5 and Set14, x2 and x4.
    """
    check_image(image)
    _check_scale(image, scale)
    for axis in (0, 1):
        resized = resample_matrix(image.shape[axis], scale).apply(image, axis)
        if image.dtype.kind == "u":
            np.clip(np.floor(resized + 0.5), 0, PEAKS[image.dtype], out=resized)
        image = resized.astype(image.dtype, copy=False)
    return image


def modcrop(image: Pixels, upscale: int) -> Pixels:
    """Cut rows and columns at the bottom and right until both sizes divide by `upscale`.

    Parameters
    ----------
    image : (height, width) or (height, width, channels) array
        Of any dtype.
    upscale : int
        From 1 on.

    Returns
    -------
    array
        A view of the largest such part.

    Raises
    ------
    ValueError
        If nothing is left.
    """
    height, width = (size - size % upscale for size in image.shape[:2])
    if not height or not width:
        raise ValueError(f"an image of {_size(image)} pixels is too small to divide by {upscale}")
    return image[:height, :width]


def _check_scale(image: Pixels, scale: float) -> None:
    if not (isinstance(scale, Real) and 1 / MAX_SCALE <= scale <= MAX_SCALE):
        raise ValueError(f"the scale must be a positive number up to {MAX_SCALE}, got {scale}")
    height, width = (math.ceil(size * scale) for size in image.shape[:2])
    if height * width * math.prod(image.shape[2:]) > MAX_SAMPLES:
        raise ValueError(f"scaled by {scale} the image would have {width} x {height} pixels")


def check_image(image: Pixels) -> None:
    """Raise ValueError unless `image` has an image's rank, size, dtype and finite values."""
    if not isinstance(image, np.ndarray):
        raise ValueError(f"an image must be a NumPy array, got {type(image).__name__}")
    if image.ndim not in (2, 3):
        raise ValueError(
            f"an image must be (height, width) or (height, width, channels), got {image.shape}"
        )
    if not image.size:
        raise ValueError(f"an image needs at least one pixel, got shape {image.shape}")
    check_pixels(image)


def _size(image: Pixels) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"
