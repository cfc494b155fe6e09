"""How far a correct implementation may deviate from the exact result, tensor by tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sesr_ref import network as nw
from sesr_ref.checks import check_input, layer_params
from sesr_ref.execute import RULES as FORWARD
from sesr_ref.limits import one_of
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.ops.table import REFERENCE
from sesr_ref.verify.bounds.arithmetic import FORMATS, Arithmetic, gamma, rounded
from sesr_ref.verify.bounds.model import Model, prepare
from sesr_ref.verify.bounds.rules import RULES, Site

SIGMAS = 8.0
"""Standard deviations that a statistical bound allows.

The model's sigma is an upper estimate: the largest errors seen were 2.0 sigma for float32
implementations in any usual order of summation, 4.3 for float16 and bfloat16 storage, and 5.2 for
sums with all positive weights first, the worst order (`bench/run_verify.py --calibrate` prints the
histogram).
"""
KINDS = {"guaranteed": 1, "statistical": 2, "carried": 1}
"""Kinds of bounds and the power to which errors are added."""


class Tensor(NamedTuple):
    """An exact tensor, its value with parameters rounded to storage, and errors for each power.

    For power 1 the error is a radius around `exact`, for power 2 a variance around `stored`; None
    means no error.
    """

    exact: Array
    stored: Array
    errors: Mapping[int, Array | None]

    def deviation(self, power: int) -> Array:
        """How far an implementation may be off: the radius, or `SIGMAS` standard deviations."""
        if (error := self.errors[power]) is None:
            return np.zeros_like(self.exact)
        return error if power == 1 else SIGMAS * np.sqrt(error)

    def bound(self, power: int) -> Array:
        """The largest deviation from `exact` allowed, whether or not parameters are rounded."""
        deviation = self.deviation(power)
        if power == 1 or self.stored is self.exact:
            return deviation
        total: Array = deviation + np.abs(self.stored - self.exact)
        return total


def error_bounds(
    net: nw.Network,
    params: Params,
    x: Array,
    dtype: str = "float32",
    accumulate: str = "float32",
    kind: str = "guaranteed",
    winograd: tuple[int, int] | None = None,
) -> dict[str, Array]:
    """Compute how far the tensors of any correct implementation may be from the exact ones.

    Correct means: tensors and parameters are stored in `dtype`, products and sums are computed in
    `accumulate`, in any order, fused or not.  The float64 reference's own rounding is part of every
    bound.

    Parameters
    ----------
    net, params
        A network and its parameters; linear blocks are collapsed, and the implementation may have
        collapsed them in float32.
    x : (n, height, width, channels) float32 or float64 array
        The input.
    dtype : {"float32", "float16", "bfloat16", "float64"}
        Format of storage.
    accumulate : {"float32", "float16", "bfloat16", "float64"}
        Format of sums; at least as precise as `dtype`.
    kind : {"guaranteed", "statistical", "carried"}
        "guaranteed" is a theorem for each layer, given exactly the inputs that it read:
        ``gamma_n (|W| * |x| + |b|)`` with ``gamma_n = n u / (1 - n u)``.  "statistical" holds end
        to end: `SIGMAS` standard deviations of independent roundings, propagated through squared
        weights.  "carried" is the theorem end to end, which is soon too large to be useful: every
        layer multiplies it by the largest row sum of its weights.
    winograd : (int, int), optional
        Output rows and columns of the Winograd tiles that 3 x 3 convolutions may use.

    Returns
    -------
    dict of float64 arrays
        "input" and every layer's name to bounds shaped as the tensor.

    Raises
    ------
    ValueError
        For an unknown kind or format, or parameters or images that do not fit.

    Notes
    -----
    Higham, Accuracy and Stability of Numerical Algorithms (2nd edition), sections 3.1 and 4.2;
    Higham and Mary, "A New Approach to Probabilistic Rounding Error Analysis" (SIAM J. Sci.
    Comput. 41, 2019): sqrt(n) for n.
    """
    one_of("kind", kind, KINDS)
    model = prepare(net, params, Arithmetic(dtype, accumulate, winograd, fused=False))
    check_input(model.net, x)
    power, bounds = KINDS[kind], {}
    given: dict[str, Array] = {}
    for name, tensor in walk(model, x, given, (power,)):
        bounds[name] = tensor.bound(power)
        if kind == "guaranteed":
            given[name] = tensor.exact
    return bounds


def walk(
    model: Model, x: Array, given: Mapping[str, Array], powers: Sequence[int]
) -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor with its errors, in order; each is dropped after its last reader.

    Parameters
    ----------
    model : Model
        From `prepare`.
    x : (n, height, width, channels) float array
        The input.
    given : mapping of arrays
        Tensors that an implementation shows.  Later layers read these or, if the implementation may
        be fused, the values before they were rounded.  Looked up after the tensor is yielded.
    powers : sequence of {1, 2}
        Which errors to propagate.

    Yields
    ------
    name : str
        "input", then each layer's name.
    tensor : Tensor
        Computed from the tensors before it, even if it is given.
    """
    last = {name: layer.name for layer, inputs in model.net.steps() for name in inputs}
    tensors = {"input": _input(model, x, powers)}
    yield "input", tensors["input"]
    _replace(tensors, "input", given, powers, model.arithmetic)
    exactly = model.is_stored_exactly
    rounded_layers = model.stored_net.layers
    for (layer, inputs), other in zip(model.net.steps(), rounded_layers, strict=True):
        read = [tensors[name] for name in inputs]
        exact = _forward(layer, [t.exact for t in read], model.params)
        stored = exact
        if not exactly or any(t.stored is not t.exact for t in read):
            stored = _forward(other, [t.stored for t in read], model.stored)
        errors = {p: _error(model, layer, read, exact if p == 1 else stored, p) for p in powers}
        tensors[layer.name] = Tensor(exact, stored, errors)
        yield layer.name, tensors[layer.name]
        _replace(tensors, layer.name, given, powers, model.arithmetic)
        for name in set(inputs):
            if last[name] == layer.name:
                del tensors[name]


def _forward(layer: nw.Layer, inputs: Sequence[Array], params: Params) -> Array:
    own = layer_params(layer, params)
    return FORWARD[type(layer)].forward(layer, REFERENCE, inputs, own)


def _replace(
    tensors: dict[str, Tensor],
    name: str,
    given: Mapping[str, Array],
    powers: Sequence[int],
    arithmetic: Arithmetic,
) -> None:
    if name not in given:
        return
    shown = np.asarray(given[name], np.float64)
    errors: dict[int, Array | None] = dict.fromkeys(powers)
    if arithmetic.fused:
        storage = arithmetic.storage
        once = storage.unit * np.abs(shown) + storage.underflow
        errors = {power: once**power for power in powers}
    tensors[name] = Tensor(shown, shown, errors)


def _input(model: Model, x: Array, powers: Sequence[int]) -> Tensor:
    exact = np.asarray(x, np.float64)
    stored = rounded(exact, model.arithmetic.storage)
    radius = np.abs(stored - exact)
    if not radius.any():
        return Tensor(exact, exact, dict.fromkeys(powers))
    return Tensor(exact, stored, {power: radius if power == 1 else None for power in powers})


def _error(model: Model, layer: nw.Layer, inputs: Sequence[Tensor], y: Array, power: int) -> Array:
    """Sum this layer's rounding, its inputs' errors, its parameters' errors, and storage."""
    rule, uncertain = RULES[type(layer)], model.uncertain_in(layer, power)
    site = _site(model, layer, inputs, y, uncertain, power)
    count, terms = rule.rounding(layer, site)
    error = _rounding_errors(model.arithmetic, count, terms, power)
    errors = [t.errors[power] for t in inputs]
    if any(e is not None for e in errors):
        pairs = zip(inputs, errors, strict=True)
        filled = [np.zeros_like(t.exact) if e is None else e for t, e in pairs]
        error = error + rule.carry(layer, site, filled)
    if uncertain:
        assert rule.drift is not None
        error = error + rule.drift(layer, site, uncertain)
    return _stored(model.arithmetic, y, error, terms, power)


def _site(
    model: Model,
    layer: nw.Layer,
    inputs: Sequence[Tensor],
    y: Array,
    uncertain: Params,
    power: int,
) -> Site:
    """Collect what a rule needs; for power 1 with the largest possible inputs and parameters."""
    params = layer_params(layer, model.params if power == 1 else model.stored)
    x = [t.exact if power == 1 else t.stored for t in inputs]
    size = [np.abs(a) for a in x]
    param_size = {key: np.abs(value) for key, value in params.items()}
    if power == 1:
        size = [s + t.deviation(1) for s, t in zip(size, inputs, strict=True)]
        param_size = {key: value + uncertain.get(key, 0.0) for key, value in param_size.items()}
    return Site(
        power=power,
        x=x,
        y=y,
        size=size,
        deviation=[t.deviation(power) for t in inputs],
        params=params,
        param_size=param_size,
        winograd=model.arithmetic.winograd,
    )


def _rounding_errors(arithmetic: Arithmetic, count: int, terms: Array, power: int) -> Array:
    """Errors of `count` roundings in the implementation's sums and in the float64 reference's."""
    units = (arithmetic.sums.unit, FORMATS["float64"].unit)
    tiny = (count * arithmetic.sums.underflow) ** power
    if power == 1:
        scale = sum(gamma(count, unit) for unit in units)
    else:
        scale = count * sum(unit**2 for unit in units)
    error: Array = scale * terms + tiny
    return error


def _stored(arithmetic: Arithmetic, exact: Array, error: Array, terms: Array, power: int) -> Array:
    """Add the rounding of new results to the storage format; values passed on are rounded."""
    storage = arithmetic.storage
    if storage.precision == arithmetic.sums.precision:
        return error
    size = np.abs(exact) + error if power == 1 else np.abs(exact)
    once = (storage.unit * size + storage.underflow) ** power
    total: Array = error + np.where(terms > 0, once, 0.0)
    return total
