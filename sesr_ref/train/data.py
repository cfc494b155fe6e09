"""Training pairs: luma of a folder's images and their reductions, made once; random batches."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_ref.files import atomic_write
from sesr_ref.images import SUFFIXES, from_float, imresize, luma_of, modcrop, read_image
from sesr_ref.ops.arrays import Array

Bytes = npt.NDArray[np.uint8]
Report = Callable[[int, int, str], None]
"""``report(done, total, name)``, called as long work proceeds."""


@dataclass(frozen=True)
class Pairs:
    """Luma (BT.601 studio range, 8 bit) of images, small and large, in one order.

    `low` holds (height, width) arrays, `high` their originals, `upscale` times as large.
    """

    upscale: int
    low: Sequence[Bytes]
    high: Sequence[Bytes]

    def summary(self) -> dict[str, int | str]:
        """How much there is and a SHA-256 of it; a resumed run must find the same."""
        pixels = sum(high.size for high in self.high)
        counts = {"upscale": self.upscale, "images": len(self.low), "pixels": pixels}
        return counts | {"sha256": self._sha256()}

    def _sha256(self) -> str:
        """Of the samples, not of the files: those may be moved and touched between two parts."""
        digest = hashlib.sha256()
        for image in (*self.low, *self.high):
            digest.update(repr(image.shape).encode())
            digest.update(np.ascontiguousarray(image).data)
        return digest.hexdigest()

    def batch(self, rng: np.random.Generator, count: int, crop: int) -> tuple[Array, Array]:
        """Random crops, each turned one of eight ways.

        Parameters
        ----------
        rng : Generator
            Decides everything.
        count : int
            Crops in the batch.
        crop : int
            Low-resolution pixels a side; every place in every image is as likely.

        Returns
        -------
        x : (count, crop, crop, 1) float32 array
            In [0, 1].
        target : (count, upscale * crop, upscale * crop, 1) float32 array
            In [0, 1].
        """
        places = np.array([(h - crop + 1) * (w - crop + 1) for h, w in self._sizes()])
        size = crop * self.upscale
        x = np.empty((count, crop, crop), np.uint8)
        target = np.empty((count, size, size), np.uint8)
        chosen = rng.choice(len(places), count, p=places / places.sum())
        for i, image in enumerate(chosen):
            height, width = self.low[image].shape
            top = int(rng.integers(height - crop + 1))
            left = int(rng.integers(width - crop + 1))
            turn = int(rng.integers(8))
            up, along = top * self.upscale, left * self.upscale
            x[i] = turned(self.low[image][top : top + crop, left : left + crop], turn)
            target[i] = turned(self.high[image][up : up + size, along : along + size], turn)
        scale = np.float32(1 / 255)
        return x[..., None] * scale, target[..., None] * scale

    def _sizes(self) -> list[tuple[int, int]]:
        return [(low.shape[0], low.shape[1]) for low in self.low]


def turned(image: Bytes, turn: int) -> Bytes:
    """One of the eight flips and rotations of a square image; `turn` 0 is the image itself."""
    flipped = image[:, ::-1] if turn & 4 else image
    return np.rot90(flipped, turn & 3)


LOW = re.compile(r"(?:^|[_-])LR(?:bic|BI|BD|DN|x?\d|[^A-Za-z0-9]|$)")
"""In names of folders of low-resolution images, such as DIV2K_train_LR_bicubic and LRbicx2."""


def find_images(folder: Path) -> list[Path]:
    """Images in a folder and below, sorted.

    Hidden files are left out, and so are folders of low-resolution images: those with a part "LR"
    in their names.

    Returns
    -------
    list of Path
        At least one.

    Raises
    ------
    FileNotFoundError
        If there is no such folder or no image in it.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES and path.is_file() and _wanted(path.relative_to(folder))
    ]
    if not found:
        raise FileNotFoundError(f"{folder}: holds no image ({', '.join(sorted(SUFFIXES))})")
    return found


def _wanted(path: Path) -> bool:
    """Whether an image is no file of the system's own (``._a.png``) and not a small one."""
    return not path.name.startswith(".") and not any(LOW.search(part) for part in path.parts[:-1])


def training_pairs(
    folder: Path, upscale: int, crop: int, cache: Path, report: Report | None = None
) -> Pairs:
    """Luma pairs of every image in a folder that is as large as a crop.

    Parameters
    ----------
    folder : Path
        Searched with `find_images`; a one-channel image *is* luma.
    upscale : int
        Images are cut to a multiple of it and reduced by it with `imresize`.
    crop : int
        Low-resolution pixels a side; smaller images are skipped, with one warning.
    cache : Path
        Folder for the pairs, which are made once for the same files and mapped into memory.
    report : function, optional
        Told how far the work is.

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
    key = _cache_key(paths, folder, upscale)
    flat, index = cache / f"pairs-{key}.npy", cache / f"pairs-{key}.json"
    if (pairs := _cached(flat, index, upscale)) is None:
        _write_cache(paths, upscale, flat, index, report)
        pairs = _mapped(flat, json.loads(index.read_text("utf-8")), upscale)
    large = [i for i, low in enumerate(pairs.low) if min(low.shape) >= crop]
    if not large:
        raise ValueError(
            f"{folder}: none of its {len(paths)} images has {crop * upscale} pixels a side, "
            f"as crops of {crop} at x{upscale} need"
        )
    if skipped := len(paths) - len(large):
        warnings.warn(
            f"{folder}: {skipped} of {len(paths)} images have fewer than {crop * upscale} pixels "
            "a side and are skipped",
            stacklevel=2,
        )
    return Pairs(upscale, [pairs.low[i] for i in large], [pairs.high[i] for i in large])


def _cache_key(paths: Sequence[Path], folder: Path, upscale: int) -> str:
    stats = [(str(p.relative_to(folder)), p.stat().st_size, p.stat().st_mtime_ns) for p in paths]
    text = json.dumps([str(folder.resolve()), upscale, stats])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _write_cache(
    paths: Sequence[Path], upscale: int, flat: Path, index: Path, report: Report | None
) -> None:
    """One file of all samples behind one another, and where each image lies in it."""
    flat.parent.mkdir(parents=True, exist_ok=True)
    entries: list[dict[str, Any]] = []
    offset = 0
    with atomic_write(flat) as stream:
        for done, path in enumerate(paths):
            if report:
                report(done, len(paths), path.name)
            low, high = luma_pair(path, upscale)
            entries.append({"offset": offset, "low": low.shape, "high": high.shape})
            for image in (low, high):
                stream.write(np.ascontiguousarray(image).tobytes())
                offset += image.size
    with atomic_write(index) as stream:
        stream.write(json.dumps(entries).encode())


def _cached(flat: Path, index: Path, upscale: int) -> Pairs | None:
    """What an earlier run left, or None where there is nothing or it is damaged."""
    try:
        return _mapped(flat, json.loads(index.read_text("utf-8")), upscale)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _mapped(flat: Path, entries: list[dict[str, Any]], upscale: int) -> Pairs:
    samples: Bytes = (
        np.memmap(flat, np.uint8, "r") if flat.stat().st_size else np.empty(0, np.uint8)
    )
    low, high = [], []
    for entry in entries:
        start = int(entry["offset"])
        middle = start + int(np.prod(entry["low"]))
        end = middle + int(np.prod(entry["high"]))
        if not 0 <= start <= middle <= end <= len(samples):
            raise ValueError("the index does not fit the samples")
        low.append(samples[start:middle].reshape(entry["low"]))
        high.append(samples[middle:end].reshape(entry["high"]))
    return Pairs(upscale, low, high)


def luma_pair(path: Path, upscale: int) -> tuple[Bytes, Bytes]:
    """One image's luma, cut to a multiple of `upscale`, and its reduction, both 8 bit."""
    pixels = read_image(path).pixels
    if min(pixels.shape[:2]) < upscale:
        return np.empty((0, 0), np.uint8), np.empty((0, 0), np.uint8)
    pixels = modcrop(pixels, upscale)
    low = imresize(pixels, 1 / upscale)
    try:
        return from_float(luma_of(low), np.uint8), from_float(luma_of(pixels), np.uint8)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
