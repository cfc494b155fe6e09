"""Read and write image files: PNG, JPEG, WebP, BMP, TIFF."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sesr_ref.files import atomic_write, check_regular
from sesr_ref.images.colour import PEAKS, Pixels, rgb_to_luma, to_float
from sesr_ref.images.formats import DEFAULT_MAX_PIXELS, Image, check_storable, format_of
from sesr_ref.images.resample import check_image, check_range
from sesr_ref.limits import naming, whole_number
from sesr_ref.moved import names_moved
from sesr_ref.ops.arrays import Array

OVERSHOOT = 0.5
"""More than bicubic interpolation can overshoot [0, 1] on either side."""


def read_image(path: str | Path, max_pixels: int = DEFAULT_MAX_PIXELS) -> Image:
    """Read an image file.

    The EXIF orientation is applied, palettes and 1-bit images are expanded, and CMYK becomes RGB.
    Of an animation or several pages only the first picture is read, with a notice.

    Parameters
    ----------
    path : path
        A PNG, JPEG, WebP, BMP or TIFF; its content decides the format, not its name.
    max_pixels : int
        Largest width x height that its header may state.

    Returns
    -------
    Image

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not such an image, damaged, incomplete or too large, or is a pipe or device.
    ImportError
        If the extra ``images`` is not installed.
    """
    from sesr_ref.images.decode import decode

    check_regular(Path(path))
    try:
        with Path(path).open("rb") as stream:
            return decode(stream, str(path), max_pixels)
    except OSError as error:
        if error.errno is not None:
            error.filename = str(path)
        raise


def read_luma(path: str | Path, max_pixels: int = DEFAULT_MAX_PIXELS) -> Array:
    """Read the Y of an image file, the input of networks with one channel.

    Parameters
    ----------
    path : path
        As for `read_image`.  A file with one channel *is* Y (studio codes) and is used as it is.
    max_pixels : int
        As for `read_image`.

    Returns
    -------
    (height, width) float32 array
        Studio Y / 255, unrounded.

    Raises
    ------
    OSError, ImportError
        As `read_image`.
    ValueError
        As `read_image`, and for an image that is not opaque.
    """
    with naming(path):
        return luma_of(read_image(path, max_pixels).pixels).astype(np.float32, copy=False)


def luma_of(pixels: Pixels) -> Array:
    """Y / 255 of an image; one channel *is* Y; float64 for float64, otherwise float32."""
    check_image(pixels)
    colours = opaque(pixels)
    return to_float(colours) if colours.ndim == 2 else rgb_to_luma(colours)


def rgb_of(pixels: Pixels) -> Array:
    """RGB in [0, 1] of an image; one channel stands for three equal ones; dtypes as `luma_of`."""
    check_image(pixels)
    colours = to_float(opaque(pixels))
    return np.repeat(colours[..., None], 3, axis=2) if colours.ndim == 2 else colours


def opaque(pixels: Pixels) -> Pixels:
    """Grey (height, width) or RGB of an image; ValueError if it has transparent pixels."""
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        if (pixels[..., -1] < PEAKS[pixels.dtype]).any():
            raise ValueError("the image has transparent pixels, which have no defined Y")
        pixels = pixels[..., :-1]
    return pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels


def write_image(
    path: str | Path,
    pixels: Pixels,
    *,
    icc_profile: bytes | None = None,
    exif: bytes | None = None,
    quality: int | None = None,
    overwrite: bool = True,
) -> None:
    """Write an image file, under a temporary name first.

    Parameters
    ----------
    path : path
        Its suffix determines the format (see `SUFFIXES`); its folder must exist.
    pixels : (height, width) or (height, width, channels) array
        As `Image.pixels`; floats a little beyond [0, 1], as interpolation gives them, are clipped
        if the format stores integers.  JPEG, WebP and BMP store 8 bit instead of 16, PNG stores 16
        bit for floats.
    icc_profile : bytes, optional
        Colour profile to store; has no effect for BMP.
    exif : bytes, optional
        EXIF to store; has no effect for BMP and TIFF.
    quality : int, optional
        1 to 100 for JPEG and WebP; by default 95 for JPEG, and WebP is written without loss.
    overwrite : bool
        Whether to replace an existing file.

    Raises
    ------
    FileExistsError
        If the file exists and `overwrite` is false.
    OSError
        If it cannot be written; nothing is left behind.
    ValueError
        If the format cannot hold the size or the transparency, for an unknown suffix, or for pixels
        that are not an image, such as floats from 0 to 255.
    ImportError
        If the extra ``images`` is not installed.
    """
    from sesr_ref.images.encode import encode

    check_image(pixels)
    check_range(pixels, OVERSHOOT)
    if quality is not None:
        whole_number("the quality", quality, high=100)
    check_storable(path, pixels.shape)
    with atomic_write(Path(path), overwrite) as stream:
        encode(stream, format_of(path), pixels, icc_profile, exif, quality)


if not TYPE_CHECKING:  # so that mypy still reports missing names
    __getattr__ = names_moved(__name__)
