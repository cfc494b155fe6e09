"""Folders of test images: high resolution, and optionally low resolution."""

from __future__ import annotations

from pathlib import Path

from sesr_ref.images import SUFFIXES
from sesr_ref.images.colour import Pixels
from sesr_ref.images.files import opaque, read_image
from sesr_ref.limits import check


def find_high(folder: Path) -> list[Path]:
    """List the images of a test set by name: those in HR/ if it exists, else directly inside.

    Parameters
    ----------
    folder : Path
        Folder of the set.

    Returns
    -------
    list of Path

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    OSError
        If it cannot be read.
    ValueError
        If it contains no image, or two with one name.
    """
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: no such folder")
    inside = folder / "HR" if (folder / "HR").is_dir() else folder
    paths = sorted(p for p in inside.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
    paths = [p for p in paths if not p.name.startswith(".")]
    if not paths:
        raise ValueError(f"{inside} contains no image ({', '.join(SUFFIXES)})")
    stems = [p.stem for p in paths]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise ValueError(f"{inside}: two images are called {twice[0]}")
    return paths


def read_low(path: Path, high: Pixels, upscale: int) -> Pixels:
    """Read the given low-resolution image of `high`, with as many channels."""
    low = opaque(read_image(path).pixels)
    expected = (high.shape[0] // upscale, high.shape[1] // upscale)
    fits = low.shape[:2] == expected
    check(fits, f"{path}: height and width", f"{expected}", low.shape[:2])
    if high.ndim == 2 and low.ndim == 3:  # some programs write grey as three equal channels
        if (low != low[..., :1]).any():
            raise ValueError(f"{path} has colours, but its high-resolution image is grey")
        low = low[..., 0]
    return low
