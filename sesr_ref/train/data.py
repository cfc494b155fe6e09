"""Training pairs: a folder's images, as luma or RGB, and their reductions; random batches."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_ref.images import SUFFIXES, from_float, imresize, luma_of, modcrop, read_image, rgb_of
from sesr_ref.images.colour import PEAKS
from sesr_ref.ops.arrays import Array
from sesr_ref.train import prepared

Bytes = npt.NDArray[np.uint8]
Samples = npt.NDArray[Any]
"""uint8, or float32 in [0, 1]."""
EVERYTHING = slice(None)
Report = Callable[[int, int, str], None]
"""``report(done, total, name)``, called as long work proceeds."""


@dataclass(frozen=True)
class Pairs:
    """Luma (BT.601 studio range) or RGB of images, small and large, in one order.

    `low` holds (height, width) arrays, or (height, width, 3) ones of RGB, of 8 bit or of float32 in
    [0, 1]; `high` their originals in 8 bit, `upscale` times as large.
    """

    upscale: int
    low: Sequence[Samples]
    high: Sequence[Bytes]

    @property
    def channels(self) -> int:
        """1 for luma, 3 for RGB."""
        return 1 if self.low[0].ndim == 2 else self.low[0].shape[2]

    def summary(self) -> dict[str, int | str]:
        """How much there is and a SHA-256 of it; a resumed run must find the same."""
        return {
            "upscale": self.upscale,
            "channels": self.channels,
            "images": len(self.low),
            "pixels": sum(high.shape[0] * high.shape[1] for high in self.high),
            "sha256": self._sha256(),
        }

    def _sha256(self) -> str:
        """Of the samples, not of the files: those may be moved and touched between two parts."""
        digest = hashlib.sha256()
        for image in (*self.low, *self.high):
            digest.update(repr(image.shape).encode())
            digest.update(np.ascontiguousarray(image).data)
        return digest.hexdigest()

    def batch(
        self, rng: np.random.Generator, count: int, crop: int, some: slice = EVERYTHING
    ) -> tuple[Array, Array]:
        """Random crops, each turned one of eight ways.

        Parameters
        ----------
        rng : Generator
            Decides everything.
        count : int
            Crops in the batch.
        crop : int
            Low-resolution pixels a side; every place in every image is as likely.
        some : slice
            Which crops of the batch are returned; all are drawn.

        Returns
        -------
        x : (count, crop, crop, channels) float32 array
            In [0, 1].
        target : (count, upscale * crop, upscale * crop, channels) float32 array
            In [0, 1].
        """
        room = np.array(self._sizes()) - crop + 1
        places = room.prod(1)
        size, colours = crop * self.upscale, self.low[0].shape[2:]
        chosen = rng.choice(len(places), count, p=places / places.sum())
        # top, left, turn: one call for all draws what a call for each number would draw
        drawn = rng.integers(np.column_stack([room[chosen], np.full(count, 8)]))
        chosen, drawn = chosen[some], drawn[some]
        x = np.empty((len(chosen), crop, crop, *colours), self.low[0].dtype)
        target = np.empty((len(chosen), size, size, *colours), np.uint8)
        for i, (image, (top, left, turn)) in enumerate(zip(chosen, drawn.tolist(), strict=True)):
            up, along = top * self.upscale, left * self.upscale
            x[i] = turned(self.low[image][top : top + crop, left : left + crop], turn)
            target[i] = turned(self.high[image][up : up + size, along : along + size], turn)
        scale = np.float32(1 / 255)
        small, large = x if x.dtype == np.float32 else x * scale, target * scale
        shape = len(chosen), crop, crop, self.channels
        return small.reshape(shape), large.reshape(len(chosen), size, size, self.channels)

    def _sizes(self) -> list[tuple[int, int]]:
        return [(low.shape[0], low.shape[1]) for low in self.low]


def turned(image: Samples, turn: int) -> Samples:
    """One of the eight flips and rotations of a square image; `turn` 0 is the image itself."""
    flipped = image[:, ::-1] if turn & 4 else image
    return np.rot90(flipped, turn & 3)


LOW = re.compile(r"(?:^|[_-])LR(?:bic|BI|BD|DN|x?\d|[^A-Za-z0-9]|$)")
"""In names of folders of low-resolution images, such as DIV2K_train_LR_bicubic and LRbicx2."""
VALID = re.compile(r"(?:^|_)valid(?:_|$)", re.IGNORECASE)
"""In names of folders of validation images, such as DIV2K_valid_HR."""


def find_images(folder: Path) -> list[Path]:
    """Images in a folder and below, sorted.

    Hidden files are left out, folders of low-resolution images (a part of the name is "LR") and
    folders of validation images (a part is "valid"): to train on such a one, name it itself.

    Returns
    -------
    list of Path
        At least one.

    Raises
    ------
    FileNotFoundError
        If there is no such folder or no image in it.
    """
    found, left_out = _search(folder)
    if not found:
        rest = f", {', '.join(left_out)} left out" if left_out else ""
        raise FileNotFoundError(f"{folder}: holds no image ({', '.join(sorted(SUFFIXES))}){rest}")
    return found


def _search(folder: Path) -> tuple[list[Path], list[str]]:
    """Images to train on, and names of the folders of validation images beside them."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    found, left_out = [], set()
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.suffix.lower() in SUFFIXES and path.is_file() and _wanted(inside):
            valid = [part for part in inside.parts[:-1] if VALID.search(part)]
            left_out.update(valid)
            if not valid:
                found.append(path)
    return found, sorted(left_out)


def _wanted(path: Path) -> bool:
    """Whether an image is no file of the system's own (``._a.png``) and not a small one."""
    return not path.name.startswith(".") and not any(LOW.search(part) for part in path.parts[:-1])


def training_pairs(
    folder: Path,
    upscale: int,
    crop: int,
    cache: Path,
    report: Report | None = None,
    low: str = "8bit",
    channels: int = 1,
) -> Pairs:
    """Luma or RGB pairs of every image in a folder that is as large as a crop.

    Parameters
    ----------
    folder : Path
        Searched with `find_images`.
    upscale : int
        Images are cut to a multiple of it and reduced by it with `imresize`.
    crop : int
        Low-resolution pixels a side; smaller images are skipped, with one warning.
    cache : Path
        Folder for the pairs, which are made once for the same files and mapped into memory.
    report : function, optional
        Told how far the work is.
    low : {"8bit", "float"}
        Whether low-resolution images and their luma are rounded, as files hold them, or the samples
        are reduced in float and kept so.
    channels : {1, 3}
        1 for luma, which a one-channel image *is*; 3 for RGB, of which such an image has three
        equal channels.

    Returns
    -------
    Pairs

    Raises
    ------
    FileNotFoundError
        If the folder holds no image.
    ValueError
        If none is as large as a crop, or one cannot be read.
    """
    paths = find_images(folder)
    flat = cache / f"pairs-{_cache_key(paths, folder, upscale, low, channels)}.npy"
    couples = prepared.mapped(flat, LOW_DTYPES[low])
    if couples is None:
        cache.mkdir(parents=True, exist_ok=True)
        prepared.write(flat, _couples(paths, upscale, low, channels, report))
        couples = prepared.mapped(flat, LOW_DTYPES[low]) or []
    large = [couple for couple in couples if min(couple[0].shape[:2]) >= crop]
    if not large:
        raise ValueError(
            f"{folder}: none of its {len(paths)} images has {crop * upscale} pixels a side, "
            f"as crops of {crop} at x{upscale} need"
        )
    if left_out := _search(folder)[1]:
        warnings.warn(
            f"{folder}: {', '.join(left_out)} is left out, being for validation", stacklevel=2
        )
    if skipped := len(paths) - len(large):
        warnings.warn(
            f"{folder}: {skipped} of {len(paths)} images have fewer than {crop * upscale} pixels "
            "a side and are skipped",
            stacklevel=2,
        )
    return Pairs(upscale, [couple[0] for couple in large], [couple[1] for couple in large])


LOW_DTYPES: dict[str, npt.DTypeLike] = {"8bit": np.uint8, "float": np.float32}
"""Of small images, by the name of their kind."""


PLANES = {1: luma_of, 3: rgb_of}
"""Number of a network's channels: what it sees of an image, as floats."""


def _cache_key(paths: Sequence[Path], folder: Path, upscale: int, low: str, channels: int) -> str:
    stats = [(str(p.relative_to(folder)), p.stat().st_size, p.stat().st_mtime_ns) for p in paths]
    # 8-bit luma has the key that it had before there were others
    kind = [low] * (low != "8bit") + ["rgb"] * (channels == 3)
    text = json.dumps([str(folder.resolve()), upscale, stats, *kind])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _couples(
    paths: Sequence[Path], upscale: int, low: str, channels: int, report: Report | None
) -> Iterator[tuple[Samples, Bytes]]:
    for done, path in enumerate(paths):
        if report:
            report(done, len(paths), path.name)
        yield image_pair(path, upscale, low, channels)


def image_pair(
    path: Path, upscale: int, low: str = "8bit", channels: int = 1
) -> tuple[Samples, Bytes]:
    """One image's luma or RGB, cut to a multiple of `upscale`, and its reduction ahead of it.

    Parameters
    ----------
    path : Path
        Of an image.
    upscale : int
        The reduction.
    low, channels
        As `training_pairs` takes them.

    Returns
    -------
    low : (height, width) or (height, width, 3) uint8 or float32 array
        Floats are in [0, 1].
    high : uint8 array
        `upscale` times as high and wide.

    Raises
    ------
    ValueError
        If the image cannot be read or is transparent.
    """
    pixels, planes = read_image(path).pixels, PLANES[channels]
    if min(pixels.shape[:2]) < upscale:
        return np.empty((0, 0), LOW_DTYPES[low]), np.empty((0, 0), np.uint8)
    pixels = modcrop(pixels, upscale)
    try:
        high = from_float(planes(pixels), np.uint8)
        if low == "float":
            small = imresize(planes(pixels / PEAKS[pixels.dtype]), 1 / upscale)
            return small.astype(np.float32), high
        return from_float(planes(imresize(pixels, 1 / upscale)), np.uint8), high
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
