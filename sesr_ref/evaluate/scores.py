"""Scores of a folder of images, under a named protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np

from sesr_ref.evaluate.enlarge import BLACK, SPACES, WHITE
from sesr_ref.evaluate.metrics import psnr, ssim
from sesr_ref.evaluate.models import Model, RealModel
from sesr_ref.evaluate.sets import find_high, read_low
from sesr_ref.images import DEFAULT_MAX_PIXELS, from_float, imresize, luma_of, modcrop
from sesr_ref.images.colour import PEAKS, Pixels
from sesr_ref.images.files import opaque, read_image
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.ops.table import REFERENCE, Ops
from sesr_ref.tiles import Tile


@dataclass(frozen=True)
class Protocol:
    """How a score comes about; all leave out a border of `upscale` pixels and score Y alone.

    Parameters
    ----------
    name : str
        For options and tables.
    text : str
        What it does, in a few words.
    rounded_images : bool
        Whether low-resolution images, and enlarged RGB ones, are rounded to their file's integers.
    rounded_luma : bool
        Whether Y is rounded to 8 bit before it is scored, and before a network on Y sees it.
    """

    name: str
    text: str
    rounded_images: bool
    rounded_luma: bool

    @property
    def colours(self) -> str:
        """What is scored of a network on RGB: the field's rule, in a few words."""
        result = "8-bit result" if self.rounded_images else "result"
        return f"a network on RGB by the Y of its {result}"


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("y", "8-bit images, Y unrounded", True, False),
        Protocol("y-rounded", "8-bit images, Y rounded to 8 bit", True, True),
        Protocol("float", "nothing rounded", False, False),
    )
}
"""``y`` is the rule behind published tables, ``y-rounded`` MATLAB code's on uint8 images."""

Method = Callable[[Pixels, Protocol], Array]
"""From a low-resolution image to the (height, width) Y / 255 of its enlargement, in float64."""


def bicubic(upscale: int) -> Method:
    """MATLAB's bicubic interpolation, the baseline."""

    def enlarge(low: Pixels, protocol: Protocol) -> Array:
        return luma_float64(imresize(low, upscale))

    return enlarge


def network(net: Network, params: Params, ops: Ops = REFERENCE, tile: Tile | None = None) -> Method:
    """`model_method` of a network in floating point; the arguments are those of `sesr_ref.run`."""
    return model_method(RealModel.of(net, params, ops), tile)


def model_method(model: Model, tile: Tile | None = None) -> Method:
    """Enlarge by a model; its output is clipped to the codes that images of the kind have.

    Those are 16..235 for Y of colours, and 0..255 for grey files, whose one channel is taken for Y.
    A network on RGB sees and makes colours in 0..255, grey files as three equal channels whose mean
    comes back; what is scored is the Y of its result, rounded as an image where the protocol rounds
    images.

    Parameters
    ----------
    model : Model
        With one channel (Y) or three (RGB).
    tile : int or (int, int), optional
        As for `sesr_ref.run`.

    Returns
    -------
    Method

    Raises
    ------
    ValueError
        For a network that is neither on Y nor on RGB.
    """
    net = model.net
    if net.channels not in SPACES:
        raise ValueError(
            f"scores are of Y: {net.name} works on {net.channels} channels; needed is 1 (Y) or "
            "3 (RGB)"
        )

    def on_luma(low: Pixels, protocol: Protocol) -> Array:
        luma = _stored(luma_float64(low), protocol).astype(np.float32)
        high = model.run(luma[None, ..., None], tile)[0, ..., 0]
        black, white = (0.0, 1.0) if low.ndim == 2 or low.shape[2] == 1 else (BLACK, WHITE)
        return np.clip(high.astype(np.float64), black, white)

    def on_colours(low: Pixels, protocol: Protocol) -> Array:
        space, image = SPACES[3], low.reshape(*low.shape[:2], -1)
        planes = space.encode(image / PEAKS[low.dtype]).astype(np.float32)
        high = model.run(planes[None], tile)[0].astype(np.float64)
        shown = space.decode(np.clip(high, space.black, space.white), image.shape[2])
        pixels = from_float(shown, low.dtype) if protocol.rounded_images else shown
        return luma_float64(pixels)

    return on_luma if net.channels == 1 else on_colours


@dataclass(frozen=True)
class Score:
    """PSNR in dB and SSIM of one method on one image, or their means."""

    psnr_db: float
    ssim: float


@dataclass(frozen=True)
class FolderScores:
    """What `score_folder` found.

    Parameters
    ----------
    upscale, border : int
        The enlargement, and the pixels left out on each side.
    protocol : Protocol
        Under which the figures hold.
    low_from : str
        ``"imresize"``, or the folder of low-resolution files that were given.
    images : dict
        File name without suffix: method: score.
    """

    upscale: int
    border: int
    protocol: Protocol
    low_from: str
    images: Mapping[str, Mapping[str, Score]]

    def mean(self) -> dict[str, Score]:
        """The average of each method over the images, the field's figure for a set."""
        scores = list(self.images.values())
        return {
            method: Score(
                fmean(image[method].psnr_db for image in scores),
                fmean(image[method].ssim for image in scores),
            )
            for method in scores[0]
        }


def score_folder(
    folder: Path,
    methods: Mapping[str, Method],
    upscale: int,
    protocol: Protocol = PROTOCOLS["y"],
    max_pixels: int = DEFAULT_MAX_PIXELS,
    progress: Callable[[int, str], None] | None = None,
) -> FolderScores:
    """Score methods of enlargement on a folder of images.

    Parameters
    ----------
    folder : Path
        Images directly inside, or in HR/ with their low-resolution versions in LRbicx2/ or LRbicx4/
        beside it; without those, and under protocol "float", `imresize` makes them.
    methods : dict
        Name: `bicubic` or `network`.
    upscale : int
        The enlargement; images are cut to a multiple of it.
    protocol : Protocol
        One of `PROTOCOLS`.
    max_pixels : int
        Largest image that is read.
    progress : function, optional
        Called with the number of images done and the next one's name.

    Returns
    -------
    FolderScores

    Raises
    ------
    OSError
        If the folder or a file in it cannot be read.
    ValueError
        If there is no image, one of the low-resolution ones is missing or does not fit, an image
        is too small for the enlargement or for SSIM, or is not opaque.
    """
    pairs, low_from = pairs_in(folder, upscale, protocol)
    images: dict[str, Mapping[str, Score]] = {}
    for pair in pairs:
        if progress is not None:
            progress(len(images), pair.high.name)
        images[pair.high.stem] = score_image(pair, methods, upscale, protocol, max_pixels)
    return FolderScores(upscale, upscale, protocol, low_from, images)


class Pair(NamedTuple):
    """File of a high-resolution image and, if it is given, of the low-resolution one."""

    high: Path
    low: Path | None


def pairs_in(folder: Path, upscale: int, protocol: Protocol) -> tuple[list[Pair], str]:
    """Find what `score_folder` scores.

    Parameters
    ----------
    folder, upscale, protocol
        As `score_folder` takes them.

    Returns
    -------
    pairs : list of Pair
    low_from : str
        As `FolderScores` states it.

    Raises
    ------
    OSError, ValueError
        As `find_high`.
    """
    paths = find_high(folder)
    given = paths[0].parent.parent / f"LRbicx{upscale}"
    if protocol.rounded_images and paths[0].parent.name == "HR" and given.is_dir():
        return [Pair(path, given / path.name) for path in paths], given.name
    return [Pair(path, None) for path in paths], "imresize"


def score_image(
    pair: Pair,
    methods: Mapping[str, Method],
    upscale: int,
    protocol: Protocol,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> Mapping[str, Score]:
    """Score methods on one image.

    Parameters
    ----------
    pair : Pair
        From `pairs_in`.
    methods, upscale, protocol, max_pixels
        As `score_folder` takes them.

    Returns
    -------
    dict
        Method: score.

    Raises
    ------
    OSError
        If a file cannot be read.
    ValueError
        As `score_folder`, for this image.
    """
    folder = pair.high.parent
    folder = folder.parent if pair.low else folder
    try:
        high = modcrop(opaque(read_image(pair.high, max_pixels).pixels), upscale)
        low = read_low(pair.low, high, upscale) if pair.low else None
        return _score(high, low, methods, upscale, protocol)
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith(str(folder)) else f"{pair.high}: {text}") from None


def _score(
    high: Pixels,
    low: Pixels | None,
    methods: Mapping[str, Method],
    upscale: int,
    protocol: Protocol,
) -> dict[str, Score]:
    if not protocol.rounded_images:
        high = high / PEAKS[high.dtype]
    low = imresize(high, 1 / upscale) if low is None else low
    reference = _stored(luma_float64(high), protocol)
    scores = {}
    for name, enlarge in methods.items():
        luma = _stored(enlarge(low, protocol), protocol)
        scores[name] = Score(psnr(reference, luma, upscale), ssim(reference, luma, upscale))
    return scores


def luma_float64(image: Pixels) -> Array:
    """Y / 255 in float64."""
    return luma_of(image / PEAKS[image.dtype])


def _stored(luma: Array, protocol: Protocol) -> Array:
    return from_float(luma, np.uint8) / 255 if protocol.rounded_luma else luma
