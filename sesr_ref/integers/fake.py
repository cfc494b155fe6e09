"""Networks that are trained with their grids: fake quantisation, there and back.

A layer `FakeQuantize` behind a tensor rounds it to its grid; collapsed weights are rounded at every
step.  Everything else of training stays as it is: that is a composition, not a mode.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sesr_ref import network as nw
from sesr_ref.collapse import collapse_params, collapsed
from sesr_ref.integers.calibration import CODES, KEEPS, param_grids
from sesr_ref.integers.fusing import accumulator
from sesr_ref.integers.grid import Grid, Quantization
from sesr_ref.integers.parameters import IntegerParams, check_quantization, quantize
from sesr_ref.limits import check
from sesr_ref.ops.arrays import Array, Params

SUFFIX = ".grid"
"""Of the name of the layer that rounds a tensor."""
ACCUMULATOR = 32


@dataclass(frozen=True)
class WeightRounding:
    """Rounds collapsed parameters to grids that follow them from step to step.

    Parameters
    ----------
    weight_bits : int
        Of weights, with a scale for each output channel; slopes have 8, biases stay real, since
        their 32 bits are fine enough.
    power_of_two : bool
        Whether scales are powers of two.
    """

    weight_bits: int = 8
    power_of_two: bool = False

    def faked(self, net: nw.Network, params: Params) -> tuple[nw.Network, Params]:
        """Round the parameters of a collapsed network; gradients pass straight through."""
        unit = dict.fromkeys(("input", *(layer.name for layer in net.layers)), Grid(1.0))
        grids = param_grids(net, params, unit, self.weight_bits, self.power_of_two)
        return net, {name: _rounded(name, value, grids) for name, value in params.items()}


def _rounded(name: str, value: Array, grids: Mapping[str, Grid]) -> Array:
    if name.rpartition(".")[2] in {"bias", "log_scale"}:
        return value
    reals: Array = grids[name].to_reals(grids[name].to_integers(value)).astype(value.dtype)
    return reals


def with_grids(
    net: nw.Network, q: Quantization, on_codes: bool = False
) -> tuple[nw.Network, Params]:
    """Put a `FakeQuantize` behind every tensor that is rounded.

    Parameters
    ----------
    net : Network
        With linear blocks or without.
    q : Quantization
        Of the collapsed network.  Tensors that only choose or move the integers of another one are
        not rounded twice, accumulators not at all.
    on_codes : bool
        Whether the images are 8-bit codes already, so that an input grid of `CODES` is left out.

    Returns
    -------
    net : Network
        Layers called ``TENSOR.grid`` more; what read a tensor reads its rounded values.
    params : dict of float32 arrays
        Logarithms of the scales, ``TENSOR.grid.log_scale``.
    """
    rounded = {name: q.tensors[name] for name in _rounded_tensors(net, q)}
    if on_codes and q.tensors["input"] == CODES:
        rounded.pop("input", None)
    layers: list[nw.Layer] = []
    seen = {name: f"{name}{SUFFIX}" if name in rounded else name for name in q.tensors}
    if "input" in rounded:
        layers.append(_layer("input", rounded["input"]))
    for layer, inputs in net.steps():
        layers.append(replace(layer, inputs=tuple(seen[name] for name in inputs)))
        if layer.name in rounded:
            layers.append(_layer(layer.name, rounded[layer.name]))
    scales = {
        f"{name}{SUFFIX}.log_scale": np.log(grid.scales).reshape(1)
        for name, grid in rounded.items()
    }
    return replace(net, layers=tuple(layers)), scales


def faked(net: nw.Network, params: Params, q: Quantization) -> tuple[nw.Network, Params]:
    """Round tensors and parameters of a collapsed network to their grids, all in reals.

    Parameters
    ----------
    net, params
        Collapsed.
    q : Quantization
        Its grids.

    Returns
    -------
    net, params
        With `FakeQuantize` layers, and what they need.
    """
    check_quantization(net, q)
    rounding, scales = with_grids(net, q)
    rounded = {name: _rounded(name, value, q.params) for name, value in params.items()}
    return rounding, {**rounded, **{k: v.astype(_dtype(params)) for k, v in scales.items()}}


def _dtype(params: Params) -> np.dtype[Any]:
    return next((value.dtype for value in params.values()), np.dtype(np.float32))


def _layer(name: str, grid: Grid) -> nw.FakeQuantize:
    return nw.FakeQuantize(f"{name}{SUFFIX}", grid.zero_point, grid.bits, inputs=(name,))


def _rounded_tensors(net: nw.Network, q: Quantization) -> list[str]:
    """Tensors whose values are rounded to a grid of their own, in order."""
    makers = {layer.name: (layer, inputs) for layer, inputs in net.steps()}
    readers: dict[str, list[str]] = {}
    for layer, inputs in net.steps():
        for name in inputs:
            readers.setdefault(name, []).append(layer.name)

    def later(name: str) -> bool:
        """Whether the only reader moves or chooses values, and is rounded to the same grid."""
        following = readers.get(name, [])
        return len(following) == 1 and (
            type(makers[following[0]][0]) in KEEPS and q.tensors[following[0]] == q.tensors[name]
        )

    def before(name: str) -> bool:
        """Whether it moves or chooses values that are rounded to the same grid already."""
        if name not in makers or type(makers[name][0]) not in KEEPS:
            return False
        return all(q.tensors[i] == q.tensors[name] and i in own for i in makers[name][1])

    own: list[str] = []
    for name in ("input", *(layer.name for layer in net.layers)):
        if q.tensors[name].bits != ACCUMULATOR and not later(name) and not before(name):
            own.append(name)
    return own


def without_grids(
    net: nw.Network, params: Params, rounding: WeightRounding, start: Quantization
) -> tuple[nw.Network, IntegerParams, Quantization]:
    """Undo `with_grids` after training: the network in integers, on the grids that it learned.

    Parameters
    ----------
    net, params
        A network with `FakeQuantize` layers, and its parameters; linear blocks are collapsed.
    rounding : WeightRounding
        How its weights were rounded in training.
    start : Quantization
        What `with_grids` was given: grids that were not learned are taken from there.

    Returns
    -------
    net : Network
        Collapsed, as before `with_grids`.
    iparams : dict of integer arrays
        Its parameters.
    q : Quantization
        Its grids; a tensor that is not rounded, but read by what is, is an accumulator.

    Raises
    ------
    ValueError
        If a tensor is not rounded that is no convolution's.
    """
    small = collapsed(net)
    exact = collapse_params(net, {k: v.astype(np.float64) for k, v in params.items()})
    grids = {"input": start.tensors["input"]}
    for layer in small.layers:
        if isinstance(layer, nw.FakeQuantize):
            (name,) = layer.inputs
            grids[name] = _learned(params[f"{layer.name}.log_scale"], start.tensors[name])
    plain, real = bare(small, exact)
    return _quantized(plain, real, grids, rounding)


def _learned(log_scale: Array, start: Grid) -> Grid:
    """The grid with a learned scale; exactly the old one if it has not moved."""
    if np.array_equal(np.log(start.scales).reshape(1), log_scale):
        return start
    return replace(start, scale=float(np.exp(log_scale[0])))


def _quantized(
    net: nw.Network, params: Params, grids: dict[str, Grid], rounding: WeightRounding
) -> tuple[nw.Network, IntegerParams, Quantization]:
    tensors = _spread(net, grids)
    settings = rounding.weight_bits, rounding.power_of_two
    every = {name: tensors.get(name, Grid(1.0)) for name in ("input", *_names(net))}
    own = param_grids(net, params, every, *settings)
    for layer, inputs in net.steps():
        if layer.name not in tensors:
            key = f"{layer.shares or layer.name}.weight"
            check(key in own, f"{layer.name}: a layer that is not rounded", "a convolution", layer)
            tensors[layer.name] = accumulator(tensors[inputs[0]], own[key])
    q = Quantization(tensors, own)
    return net, quantize(net, params, q), q


def _spread(net: nw.Network, grids: dict[str, Grid]) -> dict[str, Grid]:
    """Grids of tensors that only choose or move the integers of others, or that such ones read."""
    found = dict(grids)
    for layer, inputs in reversed(list(net.steps())):
        if type(layer) in KEEPS and layer.name in found:
            for name in inputs:
                found.setdefault(name, found[layer.name])
    for layer, inputs in net.steps():
        if type(layer) in KEEPS and layer.name not in found and inputs[0] in found:
            found[layer.name] = found[inputs[0]]
    return found


def _names(net: nw.Network) -> tuple[str, ...]:
    return tuple(layer.name for layer in net.layers)


def bare(net: nw.Network, params: Params) -> tuple[nw.Network, Params]:
    """The network without its `FakeQuantize` layers, and its other parameters."""
    through = {
        layer.name: layer.inputs[0] for layer in net.layers if isinstance(layer, nw.FakeQuantize)
    }
    layers: list[nw.Layer] = []
    for layer, inputs in net.steps():
        if layer.name not in through:
            read = tuple(through.get(name, name) for name in inputs)
            before = layers[-1].name if layers else "input"
            layers.append(replace(layer, inputs=() if read == (before,) else read))
    plain = replace(net, layers=tuple(layers))
    return plain, {name: params[name] for name in plain.param_shapes()}
