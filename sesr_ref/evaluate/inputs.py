"""What a network sees of a folder's images, for calibration: reduced and in its own colours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from sesr_ref.evaluate.enlarge import SPACES
from sesr_ref.evaluate.scores import luma_float64
from sesr_ref.evaluate.sets import find_high
from sesr_ref.images import imresize, modcrop
from sesr_ref.images.colour import Pixels, to_float
from sesr_ref.images.files import opaque, read_image
from sesr_ref.limits import check, naming
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Array


def inputs_of(
    folder: Path,
    net: Network,
    most: int | None = None,
    as_they_are: bool = False,
    progress: Callable[[int, str], None] | None = None,
) -> Iterator[Array]:
    """Read a folder's images as a network sees them.

    Parameters
    ----------
    folder : Path
        A test set's folder, as for `score_folder`, or any folder of images.
    net : Network
        On Y or on RGB.
    most : int, optional
        Read so many at most, evenly spaced in the order of their names.
    as_they_are : bool
        Whether the images are what the network will enlarge; otherwise they are reduced by its
        enlargement first.
    progress : function, optional
        Called with the number of images done and the next one's name.

    Yields
    ------
    (1, height, width, channels) float32 array
        In [0, 1].

    Raises
    ------
    OSError
        If the folder or an image cannot be read.
    ValueError
        If there is no image, one is damaged, too small or not opaque, or the network is neither on
        Y nor on RGB.
    """
    check(net.channels in SPACES, f"{net.name}: channels", "1 (Y) or 3 (RGB)", net.channels)
    paths = find_high(folder)
    for done, path in enumerate(_spaced(paths, most)):
        if progress is not None:
            progress(done, path.name)
        with naming(path):
            pixels = modcrop(opaque(read_image(path).pixels), 1 if as_they_are else net.upscale)
            check(pixels.size, "the image", f"at least {net.upscale} pixels a side", pixels.shape)
            low = pixels if as_they_are else imresize(pixels, 1 / net.upscale)
        yield _seen(low, net.channels)[None].astype(np.float32)


def _spaced(paths: list[Path], most: int | None) -> list[Path]:
    if most is None or most >= len(paths):
        return paths
    return [paths[i * len(paths) // most] for i in range(most)]


def _seen(pixels: Pixels, channels: int) -> Array:
    if channels == 1:
        return luma_float64(pixels)[..., None]
    return SPACES[channels].encode(to_float(pixels.reshape(*pixels.shape[:2], -1)))
