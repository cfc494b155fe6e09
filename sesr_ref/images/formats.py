"""What the image formats can hold, and what a file contains: shared by reading and writing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sesr_ref.extras import need
from sesr_ref.images.colour import Pixels
from sesr_ref.limits import check

DEFAULT_MAX_PIXELS = 100_000_000


SUFFIXES = {
    ".png": "png",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".webp": "webp",
    ".bmp": "bmp",
    ".tif": "tiff",
    ".tiff": "tiff",
}
"""File suffixes, in lower case, and the format of each."""


@dataclass(frozen=True)
class Image:
    """Content of an image file.

    Parameters
    ----------
    pixels : (height, width) or (height, width, channels) array
        Grey, or grey and alpha (2), RGB (3), RGB and alpha (4 channels); uint8, uint16, or float
        in [0, 1] from a TIFF of floats.
    format : str
        One of the values of `SUFFIXES`.
    icc_profile : bytes, optional
        The file's colour profile.
    exif : bytes, optional
        The file's EXIF without the orientation, which has been applied.
    notices : tuple of str
        Messages about what was dropped or repaired.
    """

    pixels: Pixels
    format: str
    icc_profile: bytes | None = None
    exif: bytes | None = None
    notices: tuple[str, ...] = ()


def optional(package: str) -> Any:
    """Import a package of the extra ``images``; ImportError names the extra."""
    return need(package, "images", "image files")


def format_of(path: str | Path) -> str:
    """Format for a path's suffix; ValueError names the known suffixes."""
    suffix = Path(path).suffix.lower()
    check(suffix in SUFFIXES, f"{path}: the suffix", f"one of {', '.join(SUFFIXES)}", suffix)
    return SUFFIXES[suffix]


# Largest height and width in pixels.
MAX_SIDE = {"jpeg": 65500, "webp": 16383, "png": 2**31 - 1, "bmp": 2**31 - 1, "tiff": 2**31 - 1}


OPAQUE_ONLY = ("jpeg", "bmp")


DTYPES = {
    "jpeg": (np.uint8,),
    "webp": (np.uint8,),
    "bmp": (np.uint8,),
    "png": (np.uint8, np.uint16),
    "tiff": (np.uint8, np.uint16, np.float32),
}


def stored_dtype(dtype: np.dtype[Any], name: str) -> np.dtype[Any]:
    """Dtype in which the format `name` stores samples of `dtype`: the same, or its deepest one."""
    held = [np.dtype(each) for each in DTYPES[name]]
    return dtype if dtype in held else held[-1]


def check_storable(path: str | Path, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless the format of `path` can hold an image of this shape.

    Parameters
    ----------
    path : path
        The file to write; only its suffix matters.
    shape : tuple of int
        (height, width) or (height, width, channels).

    Raises
    ------
    ValueError
        Naming the format, what it cannot hold, and formats that can.
    """
    name = format_of(path)
    channels = 1 if len(shape) == 2 else shape[2]
    check(channels in (1, 2, 3, 4), f"{path}: the number of channels", "1 to 4", channels)
    if max(shape[:2]) > MAX_SIDE[name]:
        raise ValueError(
            f"{path}: {name} holds at most {MAX_SIDE[name]} pixels per side, got {shape[1]} x "
            f"{shape[0]}: use png or tiff"
        )
    if channels in (2, 4) and name in OPAQUE_ONLY:
        raise ValueError(f"{path}: {name} cannot hold transparency: use png, webp or tiff")
