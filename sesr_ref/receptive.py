"""How far each output pixel sees: the exact halo of a tile, from the description alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from sesr_ref import network as nw
from sesr_ref.collapse import collapsed
from sesr_ref.ops.conv import phase_reach
from sesr_ref.ops.resampling import MODES

# kind: layer -> pixels of the layer's own input that an output pixel reads beyond its own, a side
REACH: dict[type[nw.Layer], Callable[[Any], int]] = {
    nw.Conv: lambda layer: layer.kernel_size // 2,
    nw.ConvTranspose: lambda layer: phase_reach(layer.kernel_size, layer.stride, layer.crop),
    nw.PReLU: lambda layer: 0,
    nw.ReLU: lambda layer: 0,
    nw.LeakyReLU: lambda layer: 0,
    nw.Add: lambda layer: 0,
    nw.Concat: lambda layer: 0,
    nw.DepthToSpace: lambda layer: 0,
    nw.Shift: lambda layer: 0,
    nw.Scale: lambda layer: 0,
    nw.Clip: lambda layer: 0,
    nw.Resize: lambda layer: (MODES[layer.mode][1] + 1) // 2,
}


def reaches(net: nw.Network) -> dict[str, Fraction]:
    """Pixels of the network's input that each tensor's pixels read beyond their own, a side.

    Parameters
    ----------
    net : Network
        Linear blocks count as the convolutions they collapse into.

    Returns
    -------
    dict of Fraction
        Keyed by tensor; fractions occur behind an enlargement inside the network.
    """
    net = collapsed(net)
    shapes = net.shapes(16, 24)
    reach = {"input": Fraction(0)}
    for layer, inputs in net.steps():
        own = REACH[type(layer)](layer)
        steps = (reach[i] + Fraction(16 * own, shapes[i][0]) for i in inputs)
        reach[layer.name] = max(steps)
    return reach


def halo(net: nw.Network) -> int:
    """Pixels of the input that a tile needs on each side for the exact output; SESR: m + 4."""
    return math.ceil(reaches(net)[net.output])
