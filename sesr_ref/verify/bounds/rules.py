"""How each kind of layer passes errors on and which it adds, to the power 1 or 2.

Power 1 adds up absolute values: what certainly holds.  Power 2 adds up squares: variances of
independent errors.  Both are the same walk over the network, with ``|weight|**power``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sesr_ref import network as nw
from sesr_ref.ops import conv, conv_transpose, pointwise, rearrange
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.ops.resampling import Resampling, resample_matrix
from sesr_ref.verify.bounds import winograd


@dataclass(frozen=True)
class Site:
    """One layer at work: all that its rule may need.

    `x` and `y` are exact values, `size` is ``|x|`` and whatever the candidate's inputs may exceed
    it by, `params` and `param_size` likewise; `reach` is how far each input may be off.
    """

    power: int
    x: Sequence[Array]
    y: Array
    size: Sequence[Array]
    reach: Sequence[Array]
    params: Params
    param_size: Params
    winograd: tuple[int, int] | None


class Rule(NamedTuple):
    """How one kind of layer behaves.

    ``carry(layer, site, errors)``: the inputs' errors in the output.
    ``rounding(layer, site)``: the number of roundings and the ``|terms|**power`` they apply to.
    ``drift(layer, site, uncertain)``: what parameters known up to `uncertain` do to the output.
    """

    carry: Callable[[Any, Site, Sequence[Array]], Array]
    rounding: Callable[[Any, Site], tuple[int, Array]]
    drift: Callable[[Any, Site, Params], Array] | None = None


def _power(x: Array, power: int) -> Array:
    return np.abs(x) if power == 1 else np.square(x)


def _of_result(layer: nw.Layer, site: Site) -> tuple[int, Array]:
    """One rounding, of the result."""
    return 1, _power(site.y, site.power)


def _exact(layer: nw.Layer, site: Site) -> tuple[int, Array]:
    """Values are selected or moved: nothing is rounded."""
    return 0, np.zeros_like(site.y)


def _first(layer: nw.Layer, site: Site, errors: Sequence[Array]) -> Array:
    return errors[0]


def _smooth(steepest: Callable[[Array], Array], roundings: int) -> Rule:
    # steepest(nearest): the largest slope at values of at least that magnitude

    def carry(layer: nw.Layer, site: Site, errors: Sequence[Array]) -> Array:
        nearest = np.maximum(np.abs(site.x[0]) - site.reach[0], 0.0)
        return errors[0] * _power(steepest(nearest), site.power)

    def rounding(layer: nw.Layer, site: Site) -> tuple[int, Array]:
        return roundings, _power(site.y, site.power)

    return Rule(carry, rounding)


def _sigmoid_slope(nearest: Array) -> Array:
    return pointwise.sigmoid(nearest) * pointwise.sigmoid(-nearest)


Linear = Callable[[Any, Array, Params], Array]


def _conv(layer: nw.Conv, x: Array, params: Params) -> Array:
    return conv.conv2d(x, **params, groups=layer.groups)


def _transpose(layer: nw.ConvTranspose, x: Array, params: Params) -> Array:
    return conv_transpose.conv_transpose2d(x, **params, stride=layer.stride, padding=layer.crop)


def _powers(params: Params, power: int) -> Params:
    return {key: _power(value, power) for key, value in params.items()}


def _linear_rule(linear: Linear, terms: Callable[[Any, Params], int]) -> Rule:
    """Rule of a weighted sum: ``linear(layer, x, params)`` with `terms` products a result."""

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

    return Rule(carry, rounding, drift)


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
    """Of a PReLU, (channels,); of the other activations, (1,)."""
    return params["slope"] if "slope" in params else np.array([getattr(layer, "slope", 0.0)])


def _activation_carry(layer: nw.Layer, site: Site, errors: Sequence[Array]) -> Array:
    """The branch's slope; where the branch is uncertain, the larger of both."""
    negative = np.abs(_slope_of(layer, site.param_size))
    x, reach = site.x[0], site.reach[0]
    gain = np.where(x > reach, 1.0, np.where(x < -reach, negative, np.maximum(negative, 1.0)))
    return errors[0] * _power(gain, site.power)


def _activation_rounding(layer: nw.Layer, site: Site) -> tuple[int, Array]:
    """The product with the slope; it may also be taken where x is only just positive."""
    product = site.size[0] * np.abs(_slope_of(layer, site.param_size))
    return 1, np.where(site.x[0] > site.reach[0], 0.0, _power(product, site.power))


def _activation_drift(layer: nw.Layer, site: Site, uncertain: Params) -> Array:
    below = _power(site.size[0], site.power) * uncertain["slope"]
    return np.where(site.x[0] > site.reach[0], 0.0, below)


def _add(errors: Sequence[Array]) -> Array:
    return pointwise.add(*errors)


def _add_rounding(layer: nw.Add, site: Site) -> tuple[int, Array]:
    if len(site.x) == 2:
        return _of_result(layer, site)
    return len(site.x) - 1, _add([_power(size, site.power) for size in site.size])


def _moved(layer: nw.DepthToSpace, site: Site, errors: Sequence[Array]) -> Array:
    return rearrange.depth_to_space(errors[0], layer.block, layer.mode)


def _clip_carry(layer: nw.Clip, site: Site, errors: Sequence[Array]) -> Array:
    x, reach = site.x[0], site.reach[0]
    return np.where((x + reach < layer.low) | (x - reach > layer.high), 0.0, errors[0])


def _scale_carry(layer: nw.Scale, site: Site, errors: Sequence[Array]) -> Array:
    return errors[0] * abs(layer.factor) ** site.power


def _resample(layer: nw.Resize, x: Array, power: int, extra: float) -> Array:
    for axis in (1, 2):
        exact = resample_matrix(x.shape[axis], layer.upscale, layer.mode)
        used = (np.abs(exact.weights) + extra * (exact.weights != 0)) ** power
        x = Resampling(exact.size, exact.taps, used).apply(x, axis)
    return x


RESIZE_ROUNDINGS = 16
"""Roundings that computing a resampling weight of size 1 may take, an axis."""


def _resize_rounding(layer: nw.Resize, site: Site) -> tuple[int, Array]:
    if layer.mode == "nearest":
        return _exact(layer, site)
    taps = resample_matrix(site.x[0].shape[1], layer.upscale, layer.mode).taps.shape[1]
    terms = _resample(layer, _power(site.size[0], site.power), site.power, 1.0)
    return 2 * (taps + RESIZE_ROUNDINGS), terms


RULES: nw.Rules[Rule] = nw.Rules({
    nw.Conv: _linear_rule(_conv, lambda layer, p: int(np.prod(p["weight"].shape[:3]))),
    nw.ConvTranspose: _linear_rule(
        _transpose,
        lambda layer, p: (-(-layer.kernel_size // layer.stride)) ** 2 * p["weight"].shape[2],
    ),
    nw.PReLU: Rule(_activation_carry, _activation_rounding, _activation_drift),
    nw.ReLU: Rule(_activation_carry, _exact),
    nw.LeakyReLU: Rule(_activation_carry, _activation_rounding, _activation_drift),
    nw.Sigmoid: _smooth(_sigmoid_slope, 4),
    nw.Add: Rule(lambda layer, site, errors: _add(errors), _add_rounding),
    nw.Concat: Rule(lambda layer, site, errors: pointwise.concat(*errors), _exact),
    nw.DepthToSpace: Rule(_moved, _exact),
    nw.Shift: Rule(
        _first, _of_result, lambda layer, site, u: np.broadcast_to(u["offset"], site.y.shape)
    ),
    nw.Scale: Rule(
        _scale_carry,
        _of_result,
        lambda layer, site, u: _power(site.size[0], site.power) * u["factor"],
    ),
    nw.Clip: Rule(
        _clip_carry,
        _exact,
        lambda layer, site, u: np.broadcast_to(u["low"] + u["high"], site.y.shape),
    ),
    nw.Resize: Rule(
        lambda layer, site, errors: _resample(layer, errors[0], site.power, 0.0), _resize_rounding
    ),
})  # fmt: skip
