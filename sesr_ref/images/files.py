"""Image files to arrays and back: PNG, JPEG, WebP, BMP, TIFF."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sesr_ref.files import atomic_write
from sesr_ref.images.colour import PEAKS, Pixels, rgb_to_luma, to_float
from sesr_ref.images.formats import DEFAULT_MAX_PIXELS, Image, check_storable, format_of
from sesr_ref.images.resample import check_image
from sesr_ref.moved import names_moved
from sesr_ref.ops.arrays import Array

OVERSHOOT = 0.5
"""More than bicubic interpolation can make of [0, 1] on either side."""


def read_image(path: str | Path, max_pixels: int = DEFAULT_MAX_PIXELS) -> Image:
    """Read an image file.

    The orientation that a camera noted is applied, palettes and 1 bit are expanded, CMYK becomes
    RGB; of an animation or of several pages the first is taken, with a notice.

    Parameters
    ----------
    path : path
        A PNG, JPEG, WebP, BMP or TIFF; its content decides, not its name.
    max_pixels : int
        Largest width x height that its header may claim.

    Returns
    -------
    Image

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no such image, damaged, incomplete or too large, or a pipe or device.
    ImportError
        If the extra ``images`` is not installed.
    """
    from sesr_ref.images.decode import decode

    mode = Path(path).stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # opening a pipe may wait forever
        raise ValueError(f"{path}: not a regular file")
    try:
        with Path(path).open("rb") as stream:
            return decode(stream, str(path), max_pixels)
    except OSError as error:
        if error.errno is not None:
            error.filename = str(path)
        raise


def read_luma(path: str | Path, max_pixels: int = DEFAULT_MAX_PIXELS) -> Array:
    """Read the Y of an image file, as networks see it.

    Parameters
    ----------
    path : path
        As `read_image`.  A file of one channel *is* Y (studio codes) and is taken as it is.
    max_pixels : int
        As `read_image`.

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
    try:
        return luma_of(read_image(path, max_pixels).pixels).astype(np.float32, copy=False)
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith(f"{path}") else f"{path}: {text}") from None


def luma_of(pixels: Pixels) -> Array:
    """Y / 255 of an image in memory; one channel *is* Y; float64 for float64, else float32."""
    check_image(pixels)
    colours = opaque(pixels)
    return to_float(colours) if colours.ndim == 2 else rgb_to_luma(colours)


def opaque(pixels: Pixels) -> Pixels:
    """Grey (height, width) or RGB of an image; ValueError if a pixel of it is transparent."""
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        if (pixels[..., -1] < PEAKS[pixels.dtype]).any():
            raise ValueError("the image has transparent pixels, whose Y nobody knows")
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
        Its suffix states the format (see `SUFFIXES`); its folder must exist.
    pixels : (height, width) or (height, width, channels) array
        As `Image.pixels`; floats that interpolation carried a little beyond [0, 1] are clipped
        where the format holds integers.  Formats that hold no 16 bit (JPEG, WebP, BMP) get 8, PNG
        gets 16 for float.
    icc_profile : bytes, optional
        Stored with it, but in BMP.
    exif : bytes, optional
        Stored with it, but in BMP and TIFF.
    quality : int, optional
        1 to 100 for JPEG and WebP; unless given 95 for JPEG, and WebP is written without loss.
    overwrite : bool
        Whether an existing file is replaced.

    Raises
    ------
    FileExistsError
        If the file exists and shall not be overwritten.
    OSError
        If it cannot be written; nothing is left behind.
    ValueError
        If the format cannot hold the size or the transparency, for an unknown suffix, or pixels
        that are no image, such as floats from 0 to 255.
    ImportError
        If the extra ``images`` is not installed.
    """
    from sesr_ref.images.encode import encode

    check_image(pixels)
    if pixels.dtype.kind == "f" and not -OVERSHOOT <= pixels.min() <= pixels.max() <= 1 + OVERSHOOT:
        low, high = pixels.min(), pixels.max()
        raise ValueError(f"an image of floats must lie in [0, 1], got {low:g} to {high:g}")
    if quality is not None and not 1 <= quality <= 100:
        raise ValueError(f"the quality must be 1 to 100, got {quality}")
    check_storable(path, pixels.shape)
    with atomic_write(Path(path), overwrite) as stream:
        encode(stream, format_of(path), pixels, icc_profile, exif, quality)


if not TYPE_CHECKING:  # mypy shall go on missing what is not here
    __getattr__ = names_moved(__name__)
