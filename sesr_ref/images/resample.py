"""MATLAB's bicubic `imresize`, which defines the low-resolution images of published scores."""

from __future__ import annotations

import math
from numbers import Real

import numpy as np

from sesr_ref.images.colour import PEAKS, Pixels, check_pixels
from sesr_ref.limits import check
from sesr_ref.ops.arrays import check_array
from sesr_ref.ops.resampling import resample_matrix

MAX_SCALE = 65536
MAX_SAMPLES = 1 << 33


def imresize(image: Pixels, scale: float) -> Pixels:
    """Resize bicubically like MATLAB's ``imresize(image, scale, 'bicubic')``.

    The cubic kernel has a = -0.5 and is stretched for shrinking (antialiasing); edges are mirrored.
    The height is resized first, then the width.  Integers are rounded half up and clipped after
    each of the two, as in MATLAB; floats are neither rounded nor clipped.

    Parameters
    ----------
    image : (height, width) or (height, width, channels) array
        uint8, uint16, float32 or float64, which is also the result's dtype.
    scale : float
        From 1/65536 to 65536; 0.5 halves each side, 2 doubles it.

    Returns
    -------
    array
        ceil(scale * height) x ceil(scale * width) pixels.

    Raises
    ------
    ValueError
        For another number of axes or dtype, an image without pixels, floats that are not finite, a
        scale outside its range, or a result of more than 2**33 samples.

    Notes
    -----
    Keys, "Cubic Convolution Interpolation for Digital Image Processing" (1981).  For uint8 the
    result equals, bit for bit, the low-resolution files that MATLAB wrote for Set5 and Set14, x2
    and x4.
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
        At least 1.

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
    needed = f"at least {upscale} x {upscale} pixels"
    check(height and width, "the size of the image", needed, image.shape[:2])
    return image[:height, :width]


def _check_scale(image: Pixels, scale: float) -> None:
    valid = isinstance(scale, Real) and 1 / MAX_SCALE <= scale <= MAX_SCALE
    check(valid, "the scale", f"a number from 1/{MAX_SCALE} to {MAX_SCALE}", scale)
    height, width = (math.ceil(size * scale) for size in image.shape[:2])
    samples = height * width * math.prod(image.shape[2:])
    needed = f"at most {MAX_SAMPLES} for {width} x {height} pixels"
    check(samples <= MAX_SAMPLES, f"the number of samples at scale {scale}", needed, samples)


def check_image(image: Pixels) -> None:
    """Raise ValueError unless `image` has an image's shape, dtype and finite values."""
    check_array("an image", image)
    needed = "(height, width) or (height, width, channels)"
    check(image.ndim in (2, 3), "the shape of an image", needed, image.shape)
    check(image.size, "the shape of an image", "of at least one pixel", image.shape)
    check_pixels(image)


def check_range(image: Pixels, beyond: float = 0.0) -> None:
    """Raise ValueError unless floats lie in [0, 1], or at most `beyond` outside."""
    if image.dtype.kind == "f":
        low, high = float(image.min()), float(image.max())
        inside = -beyond <= low <= high <= 1 + beyond
        check(inside, "the lowest and highest value of a float image", "in [0, 1]", (low, high))
