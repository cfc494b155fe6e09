"""What each kind of layer does to integers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sesr_ref import network as nw
from sesr_ref.checks import layer_params
from sesr_ref.execute import RULES as REAL_RULES
from sesr_ref.integers.arithmetic import Arithmetic
from sesr_ref.integers.grid import Grid, Integers, Quantization
from sesr_ref.ops.rearrange import depth_to_space
from sesr_ref.ops.table import REFERENCE, Ops

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


def source_scales(site: Site, features: int) -> npt.NDArray[np.float64]:
    """What one unit of a convolution's sums stands for, channel by channel."""
    weight = site.param_grids["weight"].scales.astype(np.float64)
    return np.broadcast_to(site.grids[0].scales.astype(np.float64) * weight, (features,))


def _convolution(layer: nw.Conv | nw.ConvTranspose, site: Site) -> Integers:
    return requantized(sums(layer, site), site)


def requantized(made: Integers, site: Site) -> Integers:
    """A convolution's accumulators on its output's grid, not yet clipped."""
    target = site.target
    if target.bits == 32:  # what reads it has the convolution fused into it
        return made
    return site.arithmetic.rescale(made, source_scales(site, made.shape[-1]), target)


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
