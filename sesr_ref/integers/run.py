"""Run a network on integers, exactly: one rule for each kind of layer, one arithmetic by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sesr_ref import network as nw
from sesr_ref.checks import check_primitive, layer_params
from sesr_ref.collapse import collapsed
from sesr_ref.execute import RULES as REAL_RULES
from sesr_ref.integers.arithmetic import Arithmetic, arithmetic_named
from sesr_ref.integers.grid import Grid, Integers, Quantization
from sesr_ref.integers.parameters import IntegerParams, check_integer_params
from sesr_ref.limits import tile_shape
from sesr_ref.ops.rearrange import depth_to_space
from sesr_ref.ops.table import REFERENCE, Ops
from sesr_ref.receptive import halo
from sesr_ref.tiles import Tile, assemble, windows

EXACT_FLOAT32 = 1 << 24
EXACT_FLOAT64 = 1 << 53


class Site(NamedTuple):
    """One layer at work: what it reads, its parameters, and the grid of what it makes."""

    x: Sequence[Integers]
    grids: Sequence[Grid]
    params: dict[str, Integers]
    param_grids: dict[str, Grid]
    target: Grid
    arithmetic: Arithmetic
    ops: Ops


Rule = Callable[[Any, Site], Integers]


def sums(layer: nw.Conv | nw.ConvTranspose, site: Site) -> Integers:
    """Make a convolution's accumulators: sums of integer products and the bias.

    Returns
    -------
    int64 array

    Raises
    ------
    ValueError
        If a sum may leave the integers that float64 holds.
    """
    # float sums are exact while no partial sum leaves the integers that the type holds
    x = site.x[0] - site.grids[0].zero_point
    weight = site.params["weight"] - site.param_grids["weight"].zero_point
    largest = int(np.abs(weight).sum((0, 1, 2)).max()) * int(np.abs(x).max(initial=0))
    if largest >= EXACT_FLOAT64:
        raise ValueError(f"{layer.name}: sums up to {largest} are not exact in float64")
    kind: Any = np.float32 if largest < EXACT_FLOAT32 else np.float64
    ops = site.ops if kind is np.float32 else REFERENCE
    if isinstance(layer, nw.ConvTranspose):
        made = ops.conv_transpose2d(
            x.astype(kind), weight.astype(kind), stride=layer.stride, padding=layer.crop
        )
    else:
        made = ops.conv2d(x.astype(kind), weight.astype(kind), groups=layer.groups)
    return made.astype(np.int64) + site.params.get("bias", np.int64(0))


def _convolution(layer: nw.Conv | nw.ConvTranspose, site: Site) -> Integers:
    return requantized(sums(layer, site), site)


def requantized(made: Integers, site: Site) -> Integers:
    """A convolution's accumulators on its output's grid, not yet clipped."""
    target = site.target
    if target.bits == 32:  # what reads it has the convolution fused into it
        return made
    weight = site.param_grids["weight"].scales.astype(np.float64)
    source = site.grids[0].scales.astype(np.float64) * weight
    return site.arithmetic.rescale(made, np.broadcast_to(source, made.shape[-1:]), target)


def _prelu(layer: nw.PReLU, site: Site) -> Integers:
    slopes = site.params["slope"], site.param_grids["slope"]
    return site.arithmetic.prelu(site.x[0], site.grids[0], slopes, site.target)


def _leaky_relu(layer: nw.LeakyReLU, site: Site) -> Integers:
    if not layer.slope:
        return _relu(layer, site)
    slope = np.array([int(np.sign(layer.slope))], np.int64), Grid(abs(layer.slope))
    return site.arithmetic.prelu(site.x[0], site.grids[0], slope, site.target)


def _relu(layer: nw.Layer, site: Site) -> Integers:
    return np.maximum(_regridded(site, 0), site.target.zero_point)


def _clip(layer: nw.Clip, site: Site) -> Integers:
    low, high = site.target.to_integers(np.array([layer.low, layer.high]))
    return np.clip(_regridded(site, 0), low, high)


def _add(layer: nw.Add, site: Site) -> Integers:
    pairs = list(zip(site.x, site.grids, strict=True))
    if len(pairs) == 2:
        return site.arithmetic.add(pairs, site.target)
    return _real(layer, site)


def _depth_to_space(layer: nw.DepthToSpace, site: Site) -> Integers:
    moved: Integers = depth_to_space(_regridded(site, 0), layer.block, layer.mode)
    return moved


def _regridded(site: Site, index: int) -> Integers:
    """An input on the output's grid: as it is, or rescaled where the grids differ."""
    x, grid = site.x[index], site.grids[index]
    if grid == site.target:
        return x
    return site.target.clip(
        site.arithmetic.rescale(x - grid.zero_point, grid.scales.astype(np.float64), site.target)
    )


def _real(layer: nw.Layer, site: Site) -> Integers:
    """Any other kind: its definition in float64 on what the integers stand for, rounded once."""
    x = [grid.to_reals(values) for values, grid in zip(site.x, site.grids, strict=True)]
    own: dict[str, Any] = {
        key: site.param_grids[key].to_reals(value) for key, value in site.params.items()
    }
    return site.target.to_integers(REAL_RULES[type(layer)].forward(layer, REFERENCE, x, own))


RULES: nw.Rules[Rule] = nw.Rules(
    {
        nw.Layer: _real,
        nw.Conv: _convolution,
        nw.ConvTranspose: _convolution,
        nw.PReLU: _prelu,
        nw.LeakyReLU: _leaky_relu,
        nw.ReLU: _relu,
        nw.Clip: _clip,
        nw.Add: _add,
        nw.Concat: lambda layer, site: np.concatenate(
            [_regridded(site, i) for i in range(len(site.x))], axis=3
        ),
        nw.Slice: lambda layer, site: _regridded(site, 0)[..., layer.start : layer.stop],
        nw.DepthToSpace: _depth_to_space,
    }
)
"""What each kind does to integers, before they are clipped to the output's grid."""


def forward_int(
    net: nw.Network,
    iparams: IntegerParams,
    q: Quantization,
    x: npt.NDArray[Any],
    arithmetic: str = "tflite",
    ops: Ops = REFERENCE,
) -> dict[str, npt.NDArray[Any]]:
    """Every tensor of a quantised network as integers, by name.

    Parameters
    ----------
    net : Network
        With linear blocks, which count as collapsed, or without.
    iparams : dict of integer arrays
        From `quantize`.
    q : Quantization
        Its grids.
    x : (n, height, width, channels) integer array
        Codes on the input's grid.
    arithmetic : str
        A key of `ARITHMETICS`: how products and sums are rounded.
    ops : Ops
        The implementation of the convolutions' exact sums.

    Returns
    -------
    dict of integer arrays
        "input" and every layer's name, each of the narrowest dtype that its grid fits.

    Raises
    ------
    ValueError
        If parameters, grids or codes do not fit, or the arithmetic is unknown.
    """
    small, rule = _checked(net, iparams, q, x), arithmetic_named(arithmetic)
    tensors = _compute(small, iparams, q, x, rule, ops)
    return {name: value.astype(q.tensors[name].dtype()) for name, value in tensors.items()}


def site_of(
    layer: nw.Layer,
    inputs: Sequence[str],
    x: Sequence[Integers],
    wide: Mapping[str, Integers],
    q: Quantization,
    arithmetic: Arithmetic,
    ops: Ops = REFERENCE,
) -> Site:
    """A layer at work.

    Parameters
    ----------
    layer : Layer
        Of a collapsed network.
    inputs : sequence of str
        Names of the tensors that it reads.
    x : sequence of int64 arrays
        Their codes.
    wide : mapping of int64 arrays
        All parameters of the network.
    q : Quantization
        All grids.
    arithmetic : Arithmetic
        Whose rounding.
    ops : Ops
        The implementation of exact sums.

    Returns
    -------
    Site
    """
    owner = layer.shares or layer.name
    grids = {key: q.params[f"{owner}.{key}"] for key in layer.param_shapes(1)}
    own = dict(layer_params(layer, dict(wide)))
    read = [q.tensors[name] for name in inputs]
    return Site(x, read, own, grids, q.tensors[layer.name], arithmetic, ops)


def codes_of(layer: nw.Layer, site: Site) -> Integers:
    """What a layer makes, on its output's grid."""
    return site.target.clip(RULES[type(layer)](layer, site))


def _checked(
    net: nw.Network, iparams: IntegerParams, q: Quantization, x: npt.NDArray[Any]
) -> nw.Network:
    """The network collapsed, once everything is known to fit it."""
    small = collapsed(net)
    check_primitive(small)
    check_integer_params(small, iparams, q)
    _check_codes(small, q, x)
    return small


def _compute(
    net: nw.Network,
    iparams: IntegerParams,
    q: Quantization,
    x: npt.NDArray[Any],
    arithmetic: Arithmetic,
    ops: Ops,
    keep: bool = True,
) -> dict[str, Integers]:
    """Every tensor; without `keep` each is dropped after its last reader."""
    last = {name: layer.name for layer, inputs in net.steps() for name in inputs}
    wide: dict[str, Any] = {name: value.astype(np.int64) for name, value in iparams.items()}
    tensors: dict[str, Integers] = {"input": x.astype(np.int64)}
    for layer, inputs in net.steps():
        read = [tensors[name] for name in inputs]
        site = site_of(layer, inputs, read, wide, q, arithmetic, ops)
        tensors[layer.name] = codes_of(layer, site)
        for name in () if keep else set(inputs):
            if last[name] == layer.name:
                del tensors[name]
    return tensors


def run_int(
    net: nw.Network,
    iparams: IntegerParams,
    q: Quantization,
    x: npt.NDArray[Any],
    arithmetic: str = "tflite",
    ops: Ops = REFERENCE,
    tile: Tile | None = None,
) -> npt.NDArray[Any]:
    """Enlarge pictures in integers.

    Parameters
    ----------
    net, iparams, q, x, arithmetic, ops
        As for `forward_int`.
    tile : int or (int, int), optional
        Work on tiles of this many input rows and columns, each with its exact halo: less memory,
        the same integers.

    Returns
    -------
    (n, upscale * height, upscale * width, channels) integer array
        Codes on the output's grid.

    Raises
    ------
    ValueError
        As `forward_int` does, and for a tile below 1.
    """
    small, rule = _checked(net, iparams, q, x), arithmetic_named(arithmetic)
    dtype = q.tensors[small.output].dtype()

    def whole(part: npt.NDArray[Any]) -> npt.NDArray[Any]:
        made = _compute(small, iparams, q, part, rule, ops, keep=False)
        return made[small.output].astype(dtype)

    if tile is None:
        return whole(x)
    parts = windows(x.shape[1], x.shape[2], tile_shape(tile), halo(small))
    return assemble(whole, x, small.upscale, parts, dtype)


def _check_codes(net: nw.Network, q: Quantization, x: npt.NDArray[Any]) -> None:
    grid = q.tensors["input"]
    if not isinstance(x, np.ndarray) or x.dtype.kind != "i":
        kind = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
        raise ValueError(f"codes must be integers with a sign, got {kind}")
    if x.ndim != 4 or x.shape[3] != net.channels or not x.size:
        raise ValueError(
            f"codes must be (n, height, width, {net.channels}) and not empty, got shape {x.shape}"
        )
    if not (grid.low <= x.min() and x.max() <= grid.high):
        raise ValueError(
            f"codes must lie in {grid.low}..{grid.high}, got {x.min()}..{x.max()} "
            "(8-bit pictures are x - 128)"
        )
