"""A network made ready for analysis: parameters in float64 and how well an implementation has them.

An implementation stores parameters in its own format and may have collapsed linear blocks itself,
in float32 or better; neither is its fault, so both are uncertainties that the bounds take in.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from sesr_ref import network as nw
from sesr_ref.checks import check_params, layer_params
from sesr_ref.collapse import collapse_params, collapsed
from sesr_ref.ops.arrays import Params
from sesr_ref.receptive import halo
from sesr_ref.verify.bounds.arithmetic import FORMATS, Arithmetic, gamma, rounded


class Model(NamedTuple):
    """A network of primitives, its exact parameters, and what an implementation may have instead.

    `stored` are the parameters rounded to storage, `stored_net` has its constants so rounded;
    `uncertain` are errors of the parameters, to power 1 of the exact and to power 2 of the stored.
    """

    net: nw.Network
    params: Params
    stored_net: nw.Network
    stored: Params
    uncertain: dict[int, Params]
    arithmetic: Arithmetic

    @property
    def is_stored_exactly(self) -> bool:
        """Whether rounding to storage changes neither parameters nor constants."""
        same = all(np.array_equal(self.params[name], a) for name, a in self.stored.items())
        return same and self.net == self.stored_net

    def uncertain_in(self, layer: nw.Layer, power: int) -> Params:
        """Errors of the parameters and constants of one layer; empty where all are exact."""
        own = layer_params(layer, self.uncertain[power])
        if power == 1:
            for key in layer.constants():
                value = np.array(getattr(layer, key), np.float64)
                own[key] = np.abs(rounded(value, self.arithmetic.storage) - value)
        return own if any(error.any() for error in own.values()) else {}


def margin(model: Model) -> int:
    """Pixels around a window that make what is inside exact."""
    reach = halo(model.net)
    if model.arithmetic.winograd is None:
        return reach
    return reach * max(model.arithmetic.winograd)  # bounds look as far as a tile reaches


def prepare(net: nw.Network, params: Params, arithmetic: Arithmetic) -> Model:
    """Collapse in float64 and state how far each stored parameter may be from its exact value.

    Parameters
    ----------
    net, params
        With linear blocks, whose collapse in float32 then is part of the uncertainty, or without.
    arithmetic : Arithmetic
        Parameters are stored in its `dtype`.

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        If the parameters do not fit the network or are not finite.
    """
    check_params(net, params)
    for name, array in params.items():
        if not np.isfinite(array).all():
            raise ValueError(f"parameter {name!r} holds a number that is not finite")
    exact: Params = {name: array.astype(np.float64) for name, array in params.items()}
    small, storage = collapse_params(net, exact), arithmetic.storage
    stored: Params = {name: rounded(array, storage) for name, array in small.items()}
    collapse = {power: _collapse(net, exact, small, arithmetic, power) for power in (1, 2)}
    rounding = {name: np.abs(stored[name] - array) for name, array in small.items()}
    uncertain = {1: {n: e + rounding[n] for n, e in collapse[1].items()}, 2: collapse[2]}
    net = collapsed(net)
    constants = tuple(_with_stored_constants(layer, arithmetic) for layer in net.layers)
    stored_net = replace(net, layers=constants)
    return Model(net, small, stored_net, stored, uncertain, arithmetic)


def _with_stored_constants(layer: nw.Layer, arithmetic: Arithmetic) -> nw.Layer:
    constants: dict[str, Any] = {
        key: float(rounded(np.array(getattr(layer, key)), arithmetic.storage))
        for key in layer.constants()
    }
    return replace(layer, **constants)


def _collapse(
    net: nw.Network, params: Params, small: Params, arithmetic: Arithmetic, power: int
) -> Params:
    """How far collapsed parameters may be off; zero for the others."""
    errors: Params = {name: np.zeros_like(array) for name, array in small.items()}
    unit = min(FORMATS["float32"].unit, arithmetic.sums.unit)
    for block in net.layers:
        if isinstance(block, nw.LinearBlock) and not block.shares:
            for name, error in _collapse_errors(block, params, small, unit, power).items():
                # the stored weight may round to another neighbour than the exact one does
                errors[name] = error + np.abs(arithmetic.storage.unit * small[name]) ** power
    return errors


def _collapse_errors(
    block: nw.LinearBlock, params: Params, small: Params, unit: float, power: int
) -> Params:
    """What sums of the products ``expand @ project`` may add to weight and bias."""
    own = {key: np.abs(params[f"{block.name}.{key}"]) ** power for key in block.param_shapes(1)}
    project = own["project"][0, 0]
    terms = {"weight": own["expand"] @ project}
    if block.bias != "none":
        bias = own["expand_bias"] @ project + own["project_bias"]
        if block.bias == "true":
            terms["bias"] = bias
        else:
            terms["weight"] = terms["weight"] + bias
    count = 2 * block.expand + 3
    scale = gamma(count, unit) if power == 1 else count * unit**2
    names = {key: f"{block.name}.{key}" for key in terms}
    return {names[k]: scale * (t + np.abs(small[names[k]]) ** power) for k, t in terms.items()}
