"""The reach of each pixel, and so the exact halo of a tile, from the description alone.

The reach of a pixel is how many input pixels beyond its own it depends on.  One axis is enough,
since layers treat both alike.  After an enlargement, pixels differ in their subpixel phase (their
position within the input pixel that they lie in), and so in their reach.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from sesr_ref import network as nw
from sesr_ref.collapse import collapsed
from sesr_ref.ops.resampling import MODES

PixelRange = tuple[int, int]
"""First and last pixel read along one axis."""


HEIGHT = 1 << 14
"""Rows of the image on which enlargements are measured: padding is negligible against it."""


def _own(layer: nw.Layer, pixel: int) -> PixelRange:
    return pixel, pixel


def _conv(layer: nw.Conv | nw.Stencil, pixel: int) -> PixelRange:
    return pixel - layer.side // 2, pixel + layer.side // 2


def _transposed(layer: nw.ConvTranspose, pixel: int) -> PixelRange:
    last = pixel + layer.crop
    return -((layer.kernel_size - 1 - last) // layer.stride), last // layer.stride


def _resize(layer: nw.Resize, pixel: int) -> PixelRange:
    centre = Fraction(2 * pixel + 1, 2 * layer.upscale) - Fraction(1, 2)
    half = Fraction(MODES[layer.mode][1], 2)
    return math.floor(centre - half) + 1, math.ceil(centre + half) - 1


# kind: (layer, pixel of its output) -> first and last pixel of its input that it reads
WINDOWS: nw.Rules[Callable[[Any, int], PixelRange]] = nw.Rules(
    {
        nw.Conv: _conv,
        nw.ConvTranspose: _transposed,
        nw.Pointwise: _own,
        nw.Stencil: _conv,
        nw.Add: _own,
        nw.Multiply: _own,
        nw.Concat: _own,
        nw.Slice: _own,
        nw.Pad: lambda layer, pixel: (pixel - layer.size, pixel - layer.size),
        nw.DepthToSpace: lambda layer, pixel: (pixel // layer.block, pixel // layer.block),
        nw.Resize: _resize,
    }
)


def spans(net: nw.Network) -> dict[str, tuple[PixelRange, ...]]:
    """Pixels of the network's input that each tensor's pixels depend on, relative to their own.

    Parameters
    ----------
    net : Network
        Linear blocks count as the convolutions they collapse to.

    Returns
    -------
    dict of tuples of (int, int)
        For every tensor and each subpixel phase, the first and the last input pixel that a pixel
        depends on, relative to the one it lies in: ((-2, 2),) after a 5 x 5 convolution.
    """
    net = collapsed(net)
    height = HEIGHT
    found: dict[str, tuple[PixelRange, ...]] = {"input": ((0, 0),)}
    shapes = net.shapes(height, height)
    for layer, inputs in net.steps():
        window = WINDOWS[type(layer)]
        found[layer.name] = tuple(
            _joined([_seen(found[name], *window(layer, pixel)) for name in inputs])
            for pixel in range(round(shapes[layer.name][0] / height))
        )
    return found


def padded_tensors(net: nw.Network) -> frozenset[str]:
    """Tensors whose size is no multiple of the image's: those between two `Pad` layers."""
    shapes = net.shapes(HEIGHT, HEIGHT)
    return frozenset(name for name, shape in shapes.items() if shape[0] % HEIGHT)


def _seen(phases: tuple[PixelRange, ...], first: int, last: int) -> PixelRange:
    """What pixels first to last of a tensor depend on, given what each phase depends on."""
    count = len(phases)
    return _joined(
        [
            (pixel // count + low, pixel // count + high)
            for pixel in range(first, last + 1)
            for low, high in [phases[pixel % count]]
        ]
    )


def _joined(windows: list[PixelRange]) -> PixelRange:
    return min(low for low, _ in windows), max(high for _, high in windows)


def reaches(net: nw.Network) -> dict[str, int]:
    """Pixels of the network's input that each tensor's pixels depend on beyond their own.

    Parameters
    ----------
    net : Network
        As for `spans`.

    Returns
    -------
    dict of int
        Keyed by tensor; the larger of both sides.
    """
    return {
        name: max(max(-low, high) for low, high in windows) for name, windows in spans(net).items()
    }


def halo(net: nw.Network) -> int:
    """Pixels of the input that a tile needs on each side for the exact output; SESR: m + 4."""
    return reaches(net)[net.output]
