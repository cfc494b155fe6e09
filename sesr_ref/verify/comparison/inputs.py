"""The input of a verification: an array from a file, or an image as the network sees it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sesr_ref.arrays_file import read_npy
from sesr_ref.images import read_image, read_luma, to_float
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Array


def read_input(path: str | Path, net: Network) -> Array:
    """Read what a network shall be given.

    Parameters
    ----------
    path : path
        A .npy of floats, (height, width), (height, width, channels) or with images first; or an
        image file, of which a network on one channel sees Y / 255, one on three RGB / 255.
    net : Network
        Whose channels it must have.

    Returns
    -------
    (n, height, width, channels) float32 or float64 array

    Raises
    ------
    ValueError
        If the file holds something else, or numbers that are not finite.
    OSError, ImportError
        If it cannot be read.
    """
    path = Path(path)
    x = _read_array(path) if path.suffix.lower() == ".npy" else _read_pixels(path, net)
    if x.ndim < 4:
        x = x.reshape(1, *x.shape, *[1] * (3 - x.ndim))
    if x.ndim != 4 or x.shape[3] != net.channels or not x.size:
        raise ValueError(
            f"{path}: {net.name} needs (n, height, width, {net.channels}), got shape {x.shape}"
        )
    if not np.isfinite(x).all():
        raise ValueError(f"{path} holds numbers that are not finite")
    return np.ascontiguousarray(x)


def _read_array(path: Path) -> Array:
    array = read_npy(path)
    if array.dtype.kind != "f":
        raise ValueError(f"{path} must hold floating-point numbers, got {array.dtype}")
    x: Array = array if array.dtype == np.float64 else array.astype(np.float32)
    return x


def _read_pixels(path: Path, net: Network) -> Array:
    if net.channels == 1:
        return read_luma(path)
    return to_float(read_image(path).pixels).astype(np.float32)
