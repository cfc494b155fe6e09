"""A network made ready for analysis: parameters in float64 and how well an implementation has them.

An implementation stores parameters in its own format and may have collapsed linear blocks itself,
in float32 or better; neither is its fault, so both are uncertainties that the bounds take in.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sesr_ref import network as nw
from sesr_ref.collapse import collapse_params, collapsed
from sesr_ref.execute import check_params, layer_params
from sesr_ref.ops.arrays import Params
from sesr_ref.verify.arithmetic import FORMATS, Arithmetic, gamma, rounded
from sesr_ref.verify.rules import CONSTANTS


class Model(NamedTuple):
    """A network of primitives, its exact parameters, and their errors for each power."""

    net: nw.Network
    params: Params
    uncertain: dict[int, Params]
    arithmetic: Arithmetic

    def uncertain_in(self, layer: nw.Layer, power: int) -> Params:
        """Errors of the parameters and constants of one layer; empty where all are exact."""
        own = layer_params(layer, self.uncertain[power])
        constants = CONSTANTS.get(type(layer), ())
        errors = {}
        for key in constants:
            value = np.array(getattr(layer, key), np.float64)
            errors[key] = np.abs(rounded(value, self.arithmetic.storage) - value) ** power
        own |= errors
        return own if any(error.any() for error in own.values()) else {}


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
    small = collapse_params(net, exact)
    uncertain = {power: _uncertain(net, exact, small, arithmetic, power) for power in (1, 2)}
    return Model(collapsed(net), small, uncertain, arithmetic)


def _uncertain(
    net: nw.Network, params: Params, small: Params, arithmetic: Arithmetic, power: int
) -> Params:
    errors = {
        name: np.abs(rounded(array, arithmetic.storage) - array) ** power
        for name, array in small.items()
    }
    unit = min(FORMATS["float32"].unit, arithmetic.sums.unit)
    for block in net.layers:
        if isinstance(block, nw.LinearBlock) and not block.shares:
            for name, error in _collapse_errors(block, params, small, unit, power).items():
                # the stored weight may round to another neighbour than the exact one does
                again = np.abs(arithmetic.storage.unit * small[name]) ** power
                errors[name] = errors[name] + error + again * (error > 0)
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
