"""What the image formats hold, and what a file gives: shared by reading and writing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sesr_ref.extras import need
from sesr_ref.images.colour import Pixels

DEFAULT_MAX_PIXELS = 100_000_000


SUFFIXES = {
    ".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".bmp": "bmp",
    ".tif": "tiff", ".tiff": "tiff",
}  # fmt: skip
"""File suffixes, in lower case, and the format that each stands for."""


@dataclass(frozen=True)
class Image:
    """What a file holds.

    Parameters
    ----------
    pixels : (height, width) or (height, width, channels) array
        Grey, or grey and alpha (2), RGB (3), RGB and alpha (4 channels); uint8, uint16, or float
        in [0, 1] from a TIFF of floats.
    format : str
        One of the values of `SUFFIXES`.
    icc_profile : bytes, optional
        What the colours mean, as the file states it.
    exif : bytes, optional
        What the camera noted, but for the orientation, which has been applied.
    notices : tuple of str
        What was left out or repaired on the way, for people.
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
    """Format that a path's suffix states; ValueError names those that are known."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise ValueError(f"{path}: the suffix {suffix!r} is none of {known}")
    return SUFFIXES[suffix]


# Pixels a side, whether it holds transparency, the dtypes it holds.
MAX_SIDE = {"jpeg": 65500, "webp": 16383, "png": 2**31 - 1, "bmp": 2**31 - 1, "tiff": 2**31 - 1}


OPAQUE_ONLY = ("jpeg", "bmp")


DTYPES = {
    "jpeg": (np.uint8,), "webp": (np.uint8,), "bmp": (np.uint8,), "png": (np.uint8, np.uint16),
    "tiff": (np.uint8, np.uint16, np.float32),
}  # fmt: skip


def stored_dtype(dtype: np.dtype[Any], name: str) -> np.dtype[Any]:
    """Dtype as which the format `name` holds samples of `dtype`: that, or its deepest one."""
    held = [np.dtype(each) for each in DTYPES[name]]
    return dtype if dtype in held else held[-1]


def check_storable(path: str | Path, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless the format that `path` states can hold an image of this shape.

    Parameters
    ----------
    path : path
        Of the file to be; only its suffix counts.
    shape : tuple of int
        (height, width) or (height, width, channels).

    Raises
    ------
    ValueError
        Naming the format, what it cannot hold, and formats that can.
    """
    name = format_of(path)
    channels = 1 if len(shape) == 2 else shape[2]
    if channels not in (1, 2, 3, 4):
        raise ValueError(f"{path}: an image file holds 1 to 4 channels, not {channels}")
    if max(shape[:2]) > MAX_SIDE[name]:
        raise ValueError(
            f"{path}: {shape[1]} x {shape[0]} pixels, but {name} holds {MAX_SIDE[name]} a side at "
            "most: use png or tiff"
        )
    if channels in (2, 4) and name in OPAQUE_ONLY:
        raise ValueError(f"{path}: {name} cannot hold transparency: use png, webp or tiff")
