"""How each kind of layer propagates errors and which errors it adds, to the power 1 or 2.

Power 1 adds absolute values and gives guaranteed bounds.  Power 2 adds squares: variances of
independent errors.  Both use the same walk over the network, with ``|weight|**power``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import numpy as np

from sesr_ref import network as nw
from sesr_ref.ops import conv, conv_transpose, pointwise, rearrange, stencil
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.ops.resampling import Resampling, resample_matrix
from sesr_ref.verify.bounds import winograd


@dataclass(frozen=True)
class Site:
    """Everything that a layer's rule may need.

    `x` and `y` are exact values; `size` is ``|x|`` plus the amount by which the candidate's inputs
    may exceed it, and `param_size` likewise for `params`; `deviation` is how far each input may be
    off.
    """

    power: int
    x: Sequence[Array]
    y: Array
    size: Sequence[Array]
    deviation: Sequence[Array]
    params: Params
    param_size: Params
    winograd: tuple[int, int] | None


class ErrorRule(NamedTuple):
    """How errors arise in one kind of layer.

    ``carry(layer, site, errors)``: the error of the output due to the inputs' errors.
    ``rounding(layer, site)``: the number of roundings and the ``|terms|**power`` they apply to.
    ``drift(layer, site, uncertain)``: the error of the output due to uncertain parameters.
    """

    carry: Callable[[Any, Site, Sequence[Array]], Array]
    rounding: Callable[[Any, Site], tuple[int, Array]]
    drift: Callable[[Any, Site, Params], Array] | None = None


def _power(x: Array, power: int) -> Array:
    return np.abs(x) if power == 1 else np.square(x)


def _of_result(layer: nw.Layer, site: Site) -> tuple[int, Array]:
    """The result is rounded once."""
    return 1, _power(site.y, site.power)


def _exact(layer: nw.Layer, site: Site) -> tuple[int, Array]:
    """Nothing is rounded: values are selected or moved."""
    return 0, np.zeros_like(site.y)


def _first(layer: nw.Layer, site: Site, errors: Sequence[Array]) -> Array:
    return errors[0]


FUNCTION_ROUNDINGS = 8
"""Error allowed in an implementation's exponentials and error functions, in units of roundoff."""


def _smooth(steepest: Callable[[Array], Array]) -> ErrorRule:
    # steepest(nearest): the largest slope at values of at least this magnitude

    def carry(layer: nw.Layer, site: Site, errors: Sequence[Array]) -> Array:
        nearest = np.maximum(np.abs(site.x[0]) - site.deviation[0], 0.0)
        return errors[0] * _power(steepest(nearest), site.power)

    def rounding(layer: nw.Layer, site: Site) -> tuple[int, Array]:
        size = np.maximum(np.abs(site.y), site.size[0])  # x (1 + erf x) has cancellation below 0
        return FUNCTION_ROUNDINGS, _power(size, site.power)

    return ErrorRule(carry, rounding)


def _sigmoid_slope(nearest: Array) -> Array:
    return pointwise.sigmoid(nearest) * pointwise.sigmoid(-nearest)


def _tanh_slope(nearest: Array) -> Array:
    return 1 - np.tanh(nearest) ** 2


def _constant_slope(slope: float) -> Callable[[Array], Array]:
    return lambda nearest: np.full_like(nearest, slope)


def _product_carry(layer: nw.Multiply, site: Site, errors: Sequence[Array]) -> Array:
    x, y = (_power(a, site.power) for a in site.x)
    return errors[0] * y + errors[1] * x + errors[0] * errors[1]


def _gain_of(layer: Any, params: Params) -> Array:
    """Factor of each channel that Gain or BatchNorm applies."""
    if isinstance(layer, nw.Gain):
        return params["gain"]
    factor: Array = params["scale"] / np.sqrt(params["var"] + layer.eps)
    return factor


def _gain_carry(layer: nw.Layer, site: Site, errors: Sequence[Array]) -> Array:
    return errors[0] * _power(_gain_of(layer, site.params), site.power)


NORM_ROUNDINGS = 8
"""Roundings of a normalisation: root, quotient, products and sums, folded or not."""


def _norm_rounding(layer: nw.BatchNorm, site: Site) -> tuple[int, Array]:
    factor = _gain_of(layer, site.params)
    moved = _power(site.size[0], site.power) + _power(site.params["mean"], site.power)
    terms = moved * _power(factor, site.power) + _power(site.params["offset"], site.power)
    return NORM_ROUNDINGS, terms


def _norm_drift(layer: nw.BatchNorm, site: Site, u: Params) -> Array:
    """Error due to parameters uncertain by `u`: the first derivative in each, doubled."""
    power, factor = site.power, _power(_gain_of(layer, site.params), site.power)
    moved = _power(site.size[0], power) + _power(site.params["mean"], power)
    variance = site.params["var"] + layer.eps
    relative = u["scale"] / np.maximum(_power(site.params["scale"], power), 1e-300)
    relative = relative + (u["var"] + u.get("eps", 0.0)) / variance**power
    total: Array = moved * factor * relative + factor * u["mean"] + u["offset"]
    total *= 2**power
    return total


def _stencil(layer: nw.Stencil, x: Array, params: Params) -> Array:
    """Compute the layer, with ``taps`` optionally given as an array."""
    taps = params.get("taps", np.asarray(layer.taps))
    return stencil.stencil(x, tuple(map(tuple, taps)), params.get("factor"), params.get("bias"))


def _stencil_carry(layer: nw.Stencil, site: Site, errors: Sequence[Array]) -> Array:
    own = {key: _power(site.params[key], site.power) for key in ("factor",) if layer.factor}
    return _stencil(layer, errors[0], own | {"taps": _power(np.asarray(layer.taps), site.power)})


def _stencil_rounding(layer: nw.Stencil, site: Site) -> tuple[int, Array]:
    own = _powers(site.param_size, site.power) | {
        "taps": _power(np.asarray(layer.taps), site.power)
    }
    terms = _stencil(layer, _power(site.size[0], site.power), own)
    return int(np.size(layer.taps)) + 2, terms


def _stencil_drift(layer: nw.Stencil, site: Site, u: Params) -> Array:
    x, taps = _power(site.size[0], site.power), _power(np.asarray(layer.taps), site.power)
    factor = _power(site.param_size["factor"], site.power) if layer.factor else None
    change = {"taps": u.get("taps", np.zeros_like(taps))}
    total = _stencil(layer, x, change | ({} if factor is None else {"factor": factor}))
    if "factor" in u:
        total = total + _stencil(layer, x, {"taps": taps, "factor": u["factor"]})
    return total + u.get("bias", 0.0)


Linear = Callable[[Any, Array, Params], Array]


def _conv(layer: nw.Conv, x: Array, params: Params) -> Array:
    return conv.conv2d(x, **params, groups=layer.groups)


def _transpose(layer: nw.ConvTranspose, x: Array, params: Params) -> Array:
    return conv_transpose.conv_transpose2d(x, **params, stride=layer.stride, padding=layer.crop)


def _powers(params: Params, power: int) -> Params:
    return {key: _power(value, power) for key, value in params.items()}


def _linear_rule(linear: Linear, terms: Callable[[Any, Params], int]) -> ErrorRule:
    """ErrorRule of a weighted sum ``linear(layer, x, params)`` of `terms` products per result."""

    def carry(layer: nw.Layer, site: Site, errors: Sequence[Array]) -> Array:
        weight = {"weight": _power(site.params["weight"], site.power)}
        return linear(layer, errors[0], weight)

    def rounding(layer: nw.Layer, site: Site) -> tuple[int, Array]:
        count = terms(layer, site.params) + ("bias" in site.params)
        if site.winograd is not None and _takes_winograd(layer):
            return _winograd_rounding(site)
        sums = linear(layer, _power(site.size[0], site.power), _powers(site.param_size, site.power))
        return count, sums if site.power == 1 else sums + site.y**2

    def drift(layer: nw.Layer, site: Site, uncertain: Params) -> Array:
        return linear(layer, _power(site.size[0], site.power), uncertain)

    return ErrorRule(carry, rounding, drift)


def _takes_winograd(layer: nw.Layer) -> bool:
    return isinstance(layer, nw.Conv) and layer.kernel_size == winograd.TAPS and layer.groups == 1


def _winograd_rounding(site: Site) -> tuple[int, Array]:
    assert site.winograd is not None
    weight = site.param_size["weight"] if site.power == 1 else site.params["weight"]
    bias = _power(site.param_size.get("bias", np.zeros(1)), site.power)
    nearby = _power(winograd.largest_nearby(site.size[0], site.winograd), site.power)
    sums = nearby @ winograd.amplified(weight, site.winograd, site.power) + bias
    count = winograd.roundings(weight.shape[2], site.winograd) + ("bias" in site.params)
    return count, sums if site.power == 1 else sums + site.y**2


def _slope_of(layer: Any, params: Params) -> Array:
    """Slope of a PReLU, (channels,), or of another activation, (1,)."""
    return params["slope"] if "slope" in params else np.array([getattr(layer, "slope", 0.0)])


def _activation_carry(layer: nw.Layer, site: Site, errors: Sequence[Array]) -> Array:
    """Multiply by the branch's slope; where the branch is uncertain, by the larger of both."""
    negative = np.abs(_slope_of(layer, site.param_size))
    x, off = site.x[0], site.deviation[0]
    gain = np.where(x > off, 1.0, np.where(x < -off, negative, np.maximum(negative, 1.0)))
    return errors[0] * _power(gain, site.power)


def _activation_rounding(layer: nw.Layer, site: Site) -> tuple[int, Array]:
    """Rounding of the product with the slope, which may also be used where x is barely positive."""
    product = site.size[0] * np.abs(_slope_of(layer, site.param_size))
    return 1, np.where(site.x[0] > site.deviation[0], 0.0, _power(product, site.power))


def _activation_drift(layer: nw.Layer, site: Site, uncertain: Params) -> Array:
    below = _power(site.size[0], site.power) * uncertain["slope"]
    return np.where(site.x[0] > site.deviation[0], 0.0, below)


def _add(errors: Sequence[Array]) -> Array:
    return pointwise.add(*errors)


def _add_rounding(layer: nw.Add, site: Site) -> tuple[int, Array]:
    if len(site.x) == 2:
        return _of_result(layer, site)
    return len(site.x) - 1, _add([_power(size, site.power) for size in site.size])


def _moved(layer: nw.DepthToSpace, site: Site, errors: Sequence[Array]) -> Array:
    return rearrange.depth_to_space(errors[0], layer.block, layer.mode)


def _clip_carry(layer: nw.Clip, site: Site, errors: Sequence[Array]) -> Array:
    x, off = site.x[0], site.deviation[0]
    return np.where((x + off < layer.low) | (x - off > layer.high), 0.0, errors[0])


def _scale_carry(layer: nw.Scale, site: Site, errors: Sequence[Array]) -> Array:
    return errors[0] * abs(layer.factor) ** site.power


def _resample(layer: nw.Resize, x: Array, power: int, extra: float) -> Array:
    for axis in (1, 2):
        exact = resample_matrix(x.shape[axis], layer.upscale, layer.mode)
        used = (np.abs(exact.weights) + extra * (exact.weights != 0)) ** power
        x = Resampling(exact.size, exact.taps, used).apply(x, axis)
    return x


RESIZE_ROUNDINGS = 16
"""Roundings allowed per axis in computing a resampling weight of size 1."""


def _resize_rounding(layer: nw.Resize, site: Site) -> tuple[int, Array]:
    if layer.mode == "nearest":
        return _exact(layer, site)
    taps = resample_matrix(site.x[0].shape[1], layer.upscale, layer.mode).taps.shape[1]
    terms = _resample(layer, _power(site.size[0], site.power), site.power, 1.0)
    return 2 * (taps + RESIZE_ROUNDINGS), terms


def _no_bound(layer: nw.Layer, site: Site, *errors: object) -> NoReturn:
    raise ValueError(
        f"{layer.name}: a {type(layer).__name__} has no error bound, since the smallest error may "
        "become a step of its grid: match integers instead (sesr-ref match)"
    )


RULES: nw.Rules[ErrorRule] = nw.Rules(
    {
        nw.Conv: _linear_rule(_conv, lambda layer, p: int(np.prod(p["weight"].shape[:3]))),
        nw.ConvTranspose: _linear_rule(
            _transpose,
            lambda layer, p: (-(-layer.kernel_size // layer.stride)) ** 2 * p["weight"].shape[2],
        ),
        nw.PReLU: ErrorRule(_activation_carry, _activation_rounding, _activation_drift),
        nw.ReLU: ErrorRule(_activation_carry, _exact),
        nw.LeakyReLU: ErrorRule(_activation_carry, _activation_rounding, _activation_drift),
        nw.Stencil: ErrorRule(_stencil_carry, _stencil_rounding, _stencil_drift),
        nw.Sigmoid: _smooth(_sigmoid_slope),
        nw.SiLU: _smooth(_constant_slope(1.1)),
        nw.Tanh: _smooth(_tanh_slope),
        nw.GELU: _smooth(_constant_slope(1.13)),
        nw.FakeQuantize: ErrorRule(_no_bound, _no_bound),
        nw.Gain: ErrorRule(
            _gain_carry,
            _of_result,
            lambda layer, site, u: _power(site.size[0], site.power) * u["gain"],
        ),
        nw.BatchNorm: ErrorRule(_gain_carry, _norm_rounding, _norm_drift),
        nw.Multiply: ErrorRule(_product_carry, _of_result),
        nw.Slice: ErrorRule(
            lambda layer, site, errors: errors[0][..., layer.start : layer.stop], _exact
        ),
        nw.Pad: ErrorRule(lambda layer, site, errors: rearrange.pad(errors[0], layer.size), _exact),
        nw.Add: ErrorRule(lambda layer, site, errors: _add(errors), _add_rounding),
        nw.Concat: ErrorRule(lambda layer, site, errors: pointwise.concat(*errors), _exact),
        nw.DepthToSpace: ErrorRule(_moved, _exact),
        nw.Shift: ErrorRule(
            _first, _of_result, lambda layer, site, u: np.broadcast_to(u["offset"], site.y.shape)
        ),
        nw.Scale: ErrorRule(
            _scale_carry,
            _of_result,
            lambda layer, site, u: _power(site.size[0], site.power) * u["factor"],
        ),
        nw.Clip: ErrorRule(
            _clip_carry,
            _exact,
            lambda layer, site, u: np.broadcast_to(u["low"] + u["high"], site.y.shape),
        ),
        nw.Resize: ErrorRule(
            lambda layer, site, errors: _resample(layer, errors[0], site.power, 0.0),
            _resize_rounding,
        ),
    }
)
