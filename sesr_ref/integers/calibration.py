"""Grids for a network from the values that its tensors take over some images."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from sesr_ref import network as nw
from sesr_ref.checks import check_input
from sesr_ref.integers.fusing import fused_tensors
from sesr_ref.integers.grid import BITS, Grid, Quantization, grid_of_range, symmetric_grid
from sesr_ref.integers.model import collapsed_exactly
from sesr_ref.integers.observe import METHODS, Observed, observe, with_flats
from sesr_ref.limits import one_of
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.ops.table import REFERENCE, Ops

IO = ("codes", "observed")
CODES = Grid(1 / 255, -128)
"""8-bit pictures: the code 0 is black, -128 as a signed integer."""
SHIFTED_CODES = Grid(1 / 256, -128)
"""The same where scales are powers of two: white is 255 / 256."""

KEEPS: dict[type[nw.Layer], bool] = {
    nw.ReLU: True,
    nw.Clip: True,
    nw.DepthToSpace: True,
    nw.Concat: True,
    nw.Slice: True,
    nw.Pad: True,
}
"""Kinds whose output has its input's grid: they only choose or move integers."""


def calibrate(
    net: nw.Network,
    params: Params,
    images: Sequence[Array],
    method: str = "mse",
    io: str = "codes",
    bits: int | Mapping[str, int] = 8,
    weight_bits: int = 8,
    power_of_two: bool = False,
    ops: Ops = REFERENCE,
    fused: Collection[str] = (),
) -> Quantization:
    """Find a grid for every tensor and parameter.

    Parameters
    ----------
    net, params
        With linear blocks, which are collapsed first, or without.
    images : sequence of (n, height, width, channels) float arrays
        In [0, 1], of any sizes; flat fields of black and white are always added.
    method : {"minmax", "percentile", "mse", "entropy"}
        How the ends of a tensor's grid are chosen.
    io : {"codes", "observed"}
        Whether input and output are 8-bit pictures (scale 1/255, zero point -128), or on grids of
        their own.
    bits : {8, 16} or dict
        Of tensors, or of some by name while the others have 8; 16 are symmetric.
    weight_bits : {4, 8}
        Of weights, one scale for each output channel.
    power_of_two : bool
        Whether every scale is a power of two and every zero point 0, as designs in HDL want them.
    ops : Ops
        The implementation that runs the network.
    fused : collection of {"activations", "additions"}
        Layers that read a convolution's sums before they are rounded; see `FUSED`.

    Returns
    -------
    Quantization
        Of the collapsed network.

    Raises
    ------
    ValueError
        For an unknown method or io, another width, or images that do not fit.
    """
    _check(method, io, weight_bits)
    small, exact = collapsed_exactly(net, params)
    widths = _widths(small, bits)
    for x in images:
        check_input(small, x)
    used = {name: value.astype(np.float32) for name, value in exact.items()}
    pictures = [np.asarray(x, np.float32) for x in with_flats(images, small.channels)]
    seen = observe(small, used, pictures, ops)
    tensors = {
        name: _grid(found, method, widths[name], power_of_two) for name, found in seen.items()
    }
    if io == "codes":
        codes = SHIFTED_CODES if power_of_two else CODES
        tensors |= {"input": codes, small.output: codes}
    tensors = tied(small, tensors)
    own = param_grids(small, exact, tensors, weight_bits, power_of_two)
    return Quantization(fused_tensors(small, tensors, own, fused), own)


def _widths(net: nw.Network, bits: int | Mapping[str, int]) -> dict[str, int]:
    """Bits of every tensor."""
    names = ["input", *(layer.name for layer in net.layers)]
    given = dict(bits) if isinstance(bits, Mapping) else dict.fromkeys(names, bits)
    for name, width in given.items():
        one_of("bits: a tensor", name, names)
        one_of(f"bits of {name}", width, (8, 16))
    return dict.fromkeys(names, 8) | given


def _check(method: str, io: str, weight_bits: int) -> None:
    for name, value, known in (
        ("method", method, tuple(METHODS)),
        ("io", io, IO),
        ("weight_bits", weight_bits, BITS[:2]),
    ):
        one_of(name, value, known)


def _grid(seen: Observed, method: str, bits: int, power_of_two: bool) -> Grid:
    low, high = METHODS[method](seen, bits) if bits == 8 else (seen.low, seen.high)
    if power_of_two:
        largest = np.asarray(max(-low, high))
        return replace(symmetric_grid(largest, bits, None, True), narrow=False)
    return grid_of_range(low, high, bits)


def tied(net: nw.Network, tensors: dict[str, Grid]) -> dict[str, Grid]:
    """Give what a layer reads the grid of its output where the layer only chooses or moves.

    Parameters
    ----------
    net : Network
        Collapsed.
    tensors : dict of Grid
        Of every tensor.

    Returns
    -------
    dict of Grid
        A tensor that others read as well, or the input, keeps its own.
    """
    out = dict(tensors)
    readers: dict[str, int] = {}
    for _, inputs in net.steps():
        for name in inputs:
            readers[name] = readers.get(name, 0) + 1
    for layer, inputs in reversed(list(net.steps())):
        if type(layer) in KEEPS:
            free = [n for n in inputs if n != "input" and readers[n] == 1]
            out |= dict.fromkeys(free, out[layer.name])
            if len(inputs) == 1 and not free:
                out[layer.name] = out[inputs[0]]
    return out


def param_grids(
    net: nw.Network,
    params: Params,
    tensors: dict[str, Grid],
    weight_bits: int = 8,
    power_of_two: bool = False,
) -> dict[str, Grid]:
    """Grids of all parameters of a collapsed network.

    Parameters
    ----------
    net, params
        Collapsed.
    tensors : dict of Grid
        Of its tensors: a bias is in units of input times weight.
    weight_bits : int
        Of weights.
    power_of_two : bool
        Whether scales are powers of two.

    Returns
    -------
    dict of Grid
        Weights by output channel, slopes and the like one for all, biases of 32 bits.
    """
    found: dict[str, Grid] = {}
    for layer, inputs in net.steps():
        for key in () if layer.shares else layer.param_shapes(1):
            name = f"{layer.name}.{key}"
            value = params[name]
            if key == "weight":
                largest = np.abs(value).max((0, 1, 2))
                found[name] = symmetric_grid(largest, weight_bits, 3, power_of_two)
            elif key == "bias" and f"{layer.name}.weight" in found:
                weight = found[f"{layer.name}.weight"].scales
                scale = tensors[inputs[0]].scales.max() * weight
                found[name] = Grid(tuple(scale.tolist()), 0, 32, 0)
            else:
                bits = 8 if key == "slope" else 16
                found[name] = symmetric_grid(np.abs(value).max(), bits, None, power_of_two)
    return found
