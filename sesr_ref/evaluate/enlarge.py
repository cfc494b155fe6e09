"""Enlarge images tile by tile: the network does Y (or RGB), bicubic interpolation the rest."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sesr_ref.evaluate.models import Model, RealModel
from sesr_ref.evaluate.transparency import visible_colours
from sesr_ref.images.colour import (
    Pixels,
    from_float,
    grey_to_luma,
    luma_to_grey,
    rgb_to_ycbcr,
    to_float,
    ycbcr_to_rgb,
)
from sesr_ref.images.resample import check_image, check_range
from sesr_ref.limits import check, naming, tile_shape
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Array, Params, check_finite
from sesr_ref.ops.resampling import Resampling, resample_matrix
from sesr_ref.ops.table import REFERENCE, Ops
from sesr_ref.tiles import Span, Tile, cuts, scaled

BLACK, WHITE = 16 / 255, 235 / 255
BAND_PIXELS = 1 << 16
LARGEST_TILE = 1024
BICUBIC_REACH = 2
"""Input pixels to each side that bicubic enlargement reads."""


def upscale_image(
    rgb: Pixels,
    net: Network,
    params: Params,
    ops: Ops = REFERENCE,
    tile: Tile | None = None,
    progress: Callable[[int], None] | None = None,
) -> Pixels:
    """Enlarge an image: the network enlarges Y, bicubic interpolation enlarges the colours.

    A network with three channels enlarges RGB instead; it sees a grey image as three equal
    channels, and the result is their mean.

    Transparency is enlarged separately by bicubic interpolation; the invisible colours of fully
    transparent pixels do not affect visible ones.

    Parameters
    ----------
    rgb : (height, width) or (height, width, channels) array
        Grey, or grey and alpha (2), RGB (3), RGB and alpha (4 channels); uint8, uint16 or float in
        [0, 1].  A grey image is enlarged like the RGB image with three such channels; only scores
        follow the published convention that one channel is Y itself.
    net : Network
        With one channel (Y) or three (RGB), with or without linear blocks.
    params : dict of arrays
        Keyed ``layer.parameter``.
    ops : Ops
        `REFERENCE` or the result of `fast`.
    tile : int or (int, int), optional
        Input rows and columns to work on at once, each with its exact halo; about 1024 by default.
        Only this determines how much memory is used in addition to the result.
    progress : function, optional
        Called after every tile with the number of input pixels done so far.

    Returns
    -------
    array
        `rgb` enlarged by ``net.upscale``, of the same kind and dtype.

    Raises
    ------
    ValueError
        For an array that is not such an image, a network with neither one nor three channels,
        parameters that do not fit or give results that are not finite, or a tile below 1.

    Notes
    -----
    Bhardwaj et al. (MLSys 2022), section 4.1: YCbCr, of which the network enlarges Y only.
    """
    _check(rgb, net)
    if rgb.dtype == np.float64:  # then the collapse is in float64 too
        params = {name: array.astype(np.float64) for name, array in params.items()}
    return enlarge_image(rgb, RealModel.of(net, params, ops), tile, progress)


def enlarge_image(
    rgb: Pixels,
    model: Model,
    tile: Tile | None = None,
    progress: Callable[[int], None] | None = None,
) -> Pixels:
    """`upscale_image` by any model, one in integers for instance.

    Parameters
    ----------
    rgb, tile, progress
        As for `upscale_image`.
    model : Model
        With one channel (Y) or three (RGB).

    Returns
    -------
    array
        As `upscale_image` returns it.

    Raises
    ------
    ValueError
        As `upscale_image` does.
    """
    _check(rgb, model.net)
    upscale, enlarger = model.net.upscale, _Enlarger(model)
    height, width = rgb.shape[:2]
    image = rgb.reshape(height, width, -1)
    enlarged = np.empty((height * upscale, width * upscale, image.shape[2]), rgb.dtype)
    done = 0
    tile_height, tile_width = (None, None) if tile is None else tile_shape(tile)
    for rows in cuts(height, tile_height or _even(height)):
        for columns in cuts(width, tile_width or _even(width)):
            place = scaled(rows, upscale), scaled(columns, upscale)
            enlarged[place] = enlarger.tile(image, rows, columns)
            done += (rows.stop - rows.start) * (columns.stop - columns.start)
            if progress is not None:
                progress(done)
    return enlarged.reshape(*enlarged.shape[:2], *rgb.shape[2:])


def _even(size: int) -> int:
    """Length of equal parts of an axis, at most `LARGEST_TILE`."""
    return -(-size // -(-size // LARGEST_TILE))


def _bicubic(span: Span, size: int, upscale: int) -> Resampling:
    """Weights that compute a span's enlarged core from its seen part, as for the whole axis."""
    whole = resample_matrix(size, upscale)
    wanted = scaled(span.core, upscale)
    length = span.seen.stop - span.seen.start
    return Resampling(length, whole.taps[wanted] - span.seen.start, whole.weights[wanted])


def _check(image: Pixels, net: Network) -> None:
    check_image(image)
    channels = 1 if image.ndim == 2 else image.shape[2]
    check(1 <= channels <= 4, "the number of channels", "1 to 4", channels)
    check_range(image)
    known = net.channels in SPACES
    check(known, f"{net.name}: the number of channels", "1 (Y) or 3 (RGB)", net.channels)


@dataclass(frozen=True)
class _Enlarger:
    model: Model

    def tile(self, image: Pixels, rows: slice, columns: slice) -> Pixels:
        """Enlarge a part of a (height, width, channels) image, reading its halo too."""
        own, step = self.model.margin()
        margin, upscale = max(own, BICUBIC_REACH), self.model.net.upscale
        height, width = image.shape[:2]
        down = Span.around(rows, margin, height, step)
        across = Span.around(columns, margin, width, step)
        planes = _planes(image, down.seen, across.seen, margin + BICUBIC_REACH, self.space)
        count = self.model.net.channels
        high = self._run(planes[..., :count])[down.inside(upscale), across.inside(upscale)]
        axes = _bicubic(down, height, upscale), _bicubic(across, width, upscale)
        colours = 1 if image.shape[2] < 3 else 3
        return _join(high, planes[..., count:], axes, image.dtype, self.space, colours)

    @property
    def space(self) -> _Space:
        return SPACES[self.model.net.channels]

    def _run(self, planes: Array) -> Array:
        high: Array = self.model.run(np.ascontiguousarray(planes)[None])[0]
        with naming(self.model.net.name):
            check_finite("the enlarged image", high)
        return high


class _Space(NamedTuple):
    """How colours become planes, of which a network sees the first; the inverse; black, white."""

    encode: Callable[[Array], Array]
    decode: Callable[[Array, int], Array]
    black: float
    white: float


def _to_studio(colours: Array) -> Array:
    return grey_to_luma(colours) if colours.shape[2] == 1 else rgb_to_ycbcr(colours)


def _from_studio(planes: Array, colours: int) -> Array:
    return luma_to_grey(planes) if colours == 1 else ycbcr_to_rgb(planes)


def _to_three(colours: Array) -> Array:
    return np.broadcast_to(colours, (*colours.shape[:2], 3))


def _from_three(planes: Array, colours: int) -> Array:
    return planes.mean(axis=2, keepdims=True) if colours == 1 else planes


# number of the network's channels: its colour space
SPACES = {
    1: _Space(_to_studio, _from_studio, BLACK, WHITE),
    3: _Space(_to_three, _from_three, 0.0, 1.0),
}


def _planes(image: Pixels, rows: slice, columns: slice, reach: int, space: _Space) -> Array:
    """Planes of a part of an image: those of the network, the others, alpha if there is one."""
    if image.shape[2] in (1, 3):
        return space.encode(to_float(image[rows, columns]))
    colours = space.encode(visible_colours(image, rows, columns, reach))
    return np.concatenate([colours, to_float(image[rows, columns, -1:])], axis=2)


def _join(
    high: Array,
    others: Array,
    axes: tuple[Resampling, Resampling],
    dtype: npt.DTypeLike,
    space: _Space,
    colours: int,
) -> Pixels:
    """Enlarge the other planes and join them with the network's to pixels."""
    down, across = axes
    coded = max(high.shape[2], colours)  # number of colour planes; alpha may follow
    alpha = high.shape[2] + others.shape[2] - coded
    pixels = np.empty((*high.shape[:2], colours + alpha), dtype)
    band = max(1, BAND_PIXELS // high.shape[1])  # a few rows at a time stay in the cache

    def join(top: int) -> None:
        rows = slice(top, top + band)
        first, last = down.taps[rows].min(), down.taps[rows].max() + 1
        some = Resampling(last - first, down.taps[rows] - first, down.weights[rows])
        enlarged = some.apply(across.apply(others[first:last], axis=1), axis=0)
        clipped = np.clip(high[rows], space.black, space.white)
        planes = np.concatenate([clipped, enlarged], axis=2)
        shown = space.decode(planes[..., :coded], colours)
        pixels[rows] = from_float(np.concatenate([shown, planes[..., coded:]], axis=2), dtype)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(join, range(0, len(high), band)))
    return pixels
