"""Prepare a network for analysis: parameters in float64, and an implementation's errors in them.

An implementation stores parameters in its own format and may have collapsed linear blocks itself,
in float32 or better.  Neither is a fault, so the bounds include both as uncertainties.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from sesr_ref import network as nw
from sesr_ref.checks import check_params, layer_params
from sesr_ref.collapse import collapse_with, collapsed, composites, is_leaky
from sesr_ref.linear.compose import magnitudes, roundings
from sesr_ref.ops.arrays import Params, check_finite
from sesr_ref.receptive import halo
from sesr_ref.verify.bounds.arithmetic import FORMATS, Arithmetic, gamma, rounded


class Model(NamedTuple):
    """A network of primitives, its exact parameters, and those that an implementation may have.

    `stored` are the parameters rounded to the storage format, and `stored_net` has rounded
    constants; `uncertain` are the errors of the parameters: for power 1 from the exact values, for
    power 2 from the stored ones.
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
        """Errors of the parameters and constants of one layer; empty if all are exact."""
        own = layer_params(layer, self.uncertain[power])
        if power == 1:
            for key in layer.constants():
                value = np.array(getattr(layer, key), np.float64)
                own[key] = np.abs(rounded(value, self.arithmetic.storage) - value)
        return own if any(error.any() for error in own.values()) else {}


def margin(model: Model) -> int:
    """Pixels around a window that make the bounds inside it exact."""
    reach = halo(model.net)
    if model.arithmetic.winograd is None:
        return reach
    return reach * max(model.arithmetic.winograd)  # bounds take the maximum over a whole tile


def prepare(net: nw.Network, params: Params, arithmetic: Arithmetic) -> Model:
    """Collapse in float64 and compute how far each stored parameter may be from its exact value.

    Parameters
    ----------
    net, params
        A network and its parameters; a collapse of linear blocks in float32 is part of the
        uncertainty.
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
        check_finite(name, array)
    exact: Params = {name: array.astype(np.float64) for name, array in params.items()}
    small, storage = collapse_with(net, exact), arithmetic.storage
    stored: Params = {name: rounded(array, storage) for name, array in small.items()}
    collapse = {power: _collapse(net, exact, small, arithmetic, power) for power in (1, 2)}
    rounding = {name: np.abs(stored[name] - array) for name, array in small.items()}
    uncertain = {1: {n: e + rounding[n] for n, e in collapse[1].items()}, 2: collapse[2]}
    net = collapsed(net)
    constants = tuple(_with_stored_constants(layer, arithmetic) for layer in net.layers)
    stored_net = replace(net, layers=constants)
    return Model(net, small, stored_net, stored, uncertain, arithmetic)


def _with_stored_constants(layer: nw.Layer, arithmetic: Arithmetic) -> nw.Layer:
    constants: dict[str, Any] = {}
    for key in layer.constants():
        value = rounded(np.array(getattr(layer, key), np.float64), arithmetic.storage)
        constants[key] = tuple(map(tuple, value.tolist())) if value.ndim else float(value)
    return replace(layer, **constants)


def _collapse(
    net: nw.Network, params: Params, small: Params, arithmetic: Arithmetic, power: int
) -> Params:
    """Error of collapsed parameters; zero for the others."""
    errors: Params = {name: np.zeros_like(array) for name, array in small.items()}
    unit = min(FORMATS["float32"].unit, arithmetic.sums.unit)
    for each in composites(net):
        terms = magnitudes(each.block, each.channels, each.own(params), power)
        if is_leaky(each.block):
            terms = {"weight": terms["weight"] + terms["bias"]}
        count = roundings(each.block, each.channels)
        scale = gamma(count, unit) if power == 1 else count * unit**2
        for name, size in each.named(terms).items():
            # the stored weight may round to another neighbour than the exact weight
            nearest = np.abs(arithmetic.storage.unit * small[name]) ** power
            errors[name] = scale * (size + np.abs(small[name]) ** power) + nearest
    return errors
