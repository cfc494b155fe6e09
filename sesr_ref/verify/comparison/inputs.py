"""Read the input of a verification: an array file, or an image as the network sees it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sesr_ref.arrays_file import read_npy
from sesr_ref.images import read_image, read_luma, to_float
from sesr_ref.limits import check
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Array, check_finite


def read_input(path: str | Path, net: Network) -> Array:
    """Read the input of a network.

    Parameters
    ----------
    path : path
        A .npy of floats, (height, width), (height, width, channels) or with a batch axis first; or
        an image file, which is Y / 255 for a network with one channel and RGB / 255 for three.
    net : Network
        The network; the input must have its number of channels.

    Returns
    -------
    (n, height, width, channels) float32 or float64 array

    Raises
    ------
    ValueError
        If the file has other content, or numbers that are not finite.
    OSError, ImportError
        If it cannot be read.
    """
    path = Path(path)
    x = _read_array(path) if path.suffix.lower() == ".npy" else _read_pixels(path, net)
    if x.ndim < 4:
        x = x.reshape(1, *x.shape, *[1] * (3 - x.ndim))
    fits = x.ndim == 4 and x.shape[3] == net.channels and x.size
    needed = f"(n, height, width, {net.channels}) for {net.name}"
    check(fits, f"{path}: the shape of the input", needed, x.shape)
    check_finite(f"{path}", x)
    return np.ascontiguousarray(x)


def _read_array(path: Path) -> Array:
    array = read_npy(path)
    floats = array.dtype.kind == "f"
    check(floats, f"{path}: the dtype", "one of floating-point numbers", array.dtype)
    x: Array = array if array.dtype == np.float64 else array.astype(np.float32)
    return x


def _read_pixels(path: Path, net: Network) -> Array:
    if net.channels == 1:
        return read_luma(path)
    return to_float(read_image(path).pixels).astype(np.float32)
