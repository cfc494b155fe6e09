"""Whole images: the network on Y, bicubic on Cb, Cr and transparency; tile by tile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sesr_ref.collapse import collapse_params, collapsed
from sesr_ref.engine import Tile, run
from sesr_ref.images.colour import (
    Pixels,
    from_float,
    grey_to_luma,
    luma_to_grey,
    rgb_to_ycbcr,
    to_float,
    ycbcr_to_rgb,
)
from sesr_ref.images.resample import check_image
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.ops.resampling import Resampling, resample_matrix
from sesr_ref.ops.table import REFERENCE, Ops
from sesr_ref.receptive import halo

BLACK, WHITE = 16 / 255, 235 / 255
LARGEST_TILE = 1024
BICUBIC_REACH = 2


def upscale_image(
    rgb: Pixels,
    net: Network,
    params: Params,
    ops: Ops = REFERENCE,
    tile: Tile | None = None,
    progress: Callable[[int], None] | None = None,
) -> Pixels:
    """Enlarge an image: the network sees Y, bicubic interpolation enlarges the colours.

    Transparency is enlarged bicubically by itself; the colours of wholly transparent pixels, which
    nobody sees, do not reach visible ones.

    Parameters
    ----------
    rgb : (height, width) or (height, width, channels) array
        Grey, or grey and alpha (2), RGB (3), RGB and alpha (4 channels); uint8, uint16 or float in
        [0, 1].  Grey enlarges as the RGB image of three such channels does.
    net : Network
        On one channel, with linear blocks or without.
    params : dict of arrays
        Keyed ``layer.parameter``.
    ops : Ops
        `REFERENCE` or what `fast` returns.
    tile : int or (int, int), optional
        Input rows and columns to work on at once, each with its exact halo; about 1024 unless
        given.  Memory beyond the result's own depends on it alone.
    progress : function, optional
        Called after every tile with the number of input pixels done so far.

    Returns
    -------
    array
        `rgb` enlarged by ``net.upscale``, of the same kind and dtype.

    Raises
    ------
    ValueError
        For an array that is no such image, a network on more than one channel, parameters that do
        not fit or make numbers that are not finite, or a tile below 1.

    Notes
    -----
    Bhardwaj et al. (MLSys 2022), section 4.1: YCbCr, of which the network enlarges Y only.
    """
    _check(rgb, net)
    small = _Enlarger(collapsed(net), collapse_params(net, params), ops)
    height, width = rgb.shape[:2]
    high = (height * net.upscale, width * net.upscale)
    enlarged = np.empty((*high, *rgb.shape[2:]), rgb.dtype)
    done = 0
    tile_height, tile_width = tile if isinstance(tile, tuple) else (tile, tile)
    for rows in _spans(height, tile_height):
        for columns in _spans(width, tile_width):
            place = _scaled(rows, net.upscale), _scaled(columns, net.upscale)
            enlarged[place] = small.tile(rgb, rows, columns)
            done += (rows.stop - rows.start) * (columns.stop - columns.start)
            if progress is not None:
                progress(done)
    return enlarged


def _check(image: Pixels, net: Network) -> None:
    check_image(image)
    if image.ndim == 3 and not 1 <= image.shape[2] <= 4:
        raise ValueError(f"an image has 1 to 4 channels, got shape {image.shape}")
    if image.dtype.kind == "f" and not (image.min() >= 0 and image.max() <= 1):
        low, high = image.min(), image.max()
        raise ValueError(f"an image of floats must lie in [0, 1], got {low:g} to {high:g}")
    if net.channels != 1:
        raise ValueError(f"{net.name} works on {net.channels} channels; needed is one on Y alone")


def _spans(size: int, length: int | None) -> Iterator[slice]:
    """Cut `size` into spans of `length`, or into equal ones of at most `LARGEST_TILE`."""
    if length is None:
        count = -(-size // LARGEST_TILE)
        length = -(-size // count)
    if length < 1:
        raise ValueError(f"a tile must be at least 1 x 1, got {length}")
    for start in range(0, size, length):
        yield slice(start, min(start + length, size))


def _scaled(span: slice, upscale: int) -> slice:
    return slice(span.start * upscale, span.stop * upscale)


class _Window(NamedTuple):
    """Rows or columns to enlarge, and those around them that it takes."""

    core: slice
    seen: slice

    @classmethod
    def around(cls, core: slice, margin: int, size: int) -> _Window:
        return cls(core, slice(max(core.start - margin, 0), min(core.stop + margin, size)))

    def inside(self, upscale: int) -> slice:
        """The core's place in the enlarged `seen`."""
        start = (self.core.start - self.seen.start) * upscale
        return slice(start, start + (self.core.stop - self.core.start) * upscale)

    def bicubic(self, size: int, upscale: int) -> Resampling:
        """Weights that make the enlarged core of `seen`, as in the whole of `size` pixels."""
        whole = resample_matrix(size, upscale)
        wanted = _scaled(self.core, upscale)
        length = self.seen.stop - self.seen.start
        return Resampling(length, whole.taps[wanted] - self.seen.start, whole.weights[wanted])


@dataclass(frozen=True)
class _Enlarger:
    net: Network
    params: Params
    ops: Ops

    def tile(self, image: Pixels, rows: slice, columns: slice) -> Pixels:
        """Enlarge one part of an image from all that it depends on."""
        margin = max(halo(self.net), BICUBIC_REACH)
        height, width = image.shape[:2]
        down, across = (
            _Window.around(rows, margin, height), _Window.around(columns, margin, width),
        )  # fmt: skip
        axes = [w.bicubic(n, self.net.upscale) for w, n in ((down, height), (across, width))]
        part = image if image.ndim == 3 else image[..., None]
        opaque = part.shape[2] in (1, 3)
        if opaque:
            colours = to_float(part[down.seen, across.seen])
        else:
            colours = _visible_colours(part, down.seen, across.seen, margin + BICUBIC_REACH)
        place = down.inside(self.net.upscale), across.inside(self.net.upscale)
        enlarged = self._colours(colours, place, axes)
        if not opaque:
            alpha = _bicubic(to_float(part[down.seen, across.seen, -1:]), axes)
            enlarged = np.concatenate([enlarged, alpha], axis=2)
        return from_float(enlarged, image.dtype).reshape(*enlarged.shape[:2], *image.shape[2:])

    def _colours(self, colours: Array, place: tuple[slice, slice], axes: list[Resampling]) -> Array:
        if colours.shape[2] == 1:
            return luma_to_grey(self._luma(grey_to_luma(colours), place))
        ycbcr = rgb_to_ycbcr(colours)
        luma = self._luma(ycbcr[..., :1], place)
        return ycbcr_to_rgb(np.concatenate([luma, _bicubic(ycbcr[..., 1:], axes)], axis=2))

    def _luma(self, luma: Array, place: tuple[slice, slice]) -> Array:
        high = run(self.net, self.params, np.ascontiguousarray(luma)[None], self.ops)[0][place]
        if not np.isfinite(high).all():
            raise ValueError(f"{self.net.name} makes numbers that are not finite of this image")
        clipped: Array = np.clip(high, BLACK, WHITE)
        return clipped


def _bicubic(planes: Array, axes: list[Resampling]) -> Array:
    for axis, resampling in enumerate(axes):
        planes = resampling.apply(planes, axis)
    return planes


def _visible_colours(image: Pixels, rows: slice, columns: slice, reach: int) -> Array:
    """Colours in [0, 1]; unseen ones continue visible ones within `reach`, the others are 0."""
    height, width = image.shape[:2]  # `reach` pixels more: the end of a tile does not show
    down, across = _Window.around(rows, reach, height), _Window.around(columns, reach, width)
    part = to_float(image[down.seen, across.seen])
    visible = part[..., -1:] > 0
    colours = np.where(visible, part[..., :-1], 0)
    known = visible.astype(part.dtype)
    for _ in range(reach):
        total, count = _sum_around(colours), _sum_around(known)
        new = (known == 0) & (count > 0)
        if not new.any():
            break
        np.divide(total, count, out=colours, where=np.broadcast_to(new, colours.shape))
        known[new] = 1
    return colours[down.inside(1), across.inside(1)]


def _sum_around(planes: Array) -> Array:
    """Sum over the 3 x 3 pixels around each, zero outside."""
    for axis in (0, 1):
        moved = np.moveaxis(planes, axis, 0)
        total = moved.copy()
        total[1:] += moved[:-1]
        total[:-1] += moved[1:]
        planes = np.moveaxis(total, 0, axis)
    return planes
