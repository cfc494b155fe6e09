"""Faults that ports in integers have: what a layer makes if it is done wrong in one known way.

Each is a function from a layer at work to the codes that the fault gives.  A port's layer that
equals one of them, value by value, has that fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from sesr_ref import network as nw
from sesr_ref.integers.arithmetic import FixedPoint
from sesr_ref.integers.grid import Integers
from sesr_ref.integers.rules import RULES, Site, codes_of, requantized, sums

Make = Callable[[Any, Site], Integers]
ACCUMULATOR = 32
"""Bits of sums that are not rounded."""


def _rounded_here(layer: nw.Layer, site: Site) -> bool:
    """Whether the layer's result is rounded: accumulators are not."""
    return site.target.bits != ACCUMULATOR


class Fault(NamedTuple):
    """A fault in words, what it makes of a layer, and which layers can have it."""

    text: str
    codes: Make
    applies: Callable[[Any, Site], bool] = _rounded_here


def _through(change: Callable[[Any, Site], Site]) -> Make:
    """A layer done right on changed numbers."""
    return lambda layer, site: codes_of(layer, change(layer, site))


def _scaled(factor: float) -> Make:
    """The result of a shift that is wrong by one: the target's grid is as much coarser or finer."""

    def change(layer: nw.Layer, site: Site) -> Site:
        return site._replace(target=replace(site.target, scale=float(site.target.scales) * factor))

    return _through(change)


def _wrapped(layer: nw.Layer, site: Site) -> Integers:
    """The low bits of a result that should have saturated."""
    return _wrap(RULES[type(layer)](layer, site), site.target.bits)


def _wrap(x: Integers, bits: int) -> Integers:
    half, whole = np.int64(1) << (bits - 1), np.int64(1) << bits
    return (x + half) % whole - half


def _narrow(layer: nw.Layer, site: Site) -> Integers:
    return np.maximum(codes_of(layer, site), site.target.low + 1)


def _without_zero_point(layer: nw.Layer, site: Site) -> Integers:
    made = RULES[type(layer)](layer, site)
    return site.target.clip(made - site.target.zero_point)


def _input_as_if_from_zero(layer: nw.Layer, site: Site) -> Site:
    return site._replace(grids=[replace(grid, zero_point=0) for grid in site.grids])


def _bias(change: Callable[[Integers], Integers]) -> Make:
    def changed(layer: nw.Layer, site: Site) -> Site:
        return site._replace(params=site.params | {"bias": change(site.params["bias"])})

    return _through(changed)


def _has_bias(layer: nw.Layer, site: Site) -> bool:
    return "bias" in site.params


def _accumulated(change: Callable[[Integers], Integers]) -> Make:
    """A convolution whose accumulator is too narrow at its end."""

    def codes(layer: nw.Conv, site: Site) -> Integers:
        return site.target.clip(requantized(change(sums(layer, site)), site))

    return codes


def _bordered(mode: str, code: int | None = None) -> Make:
    """A convolution of images that go on beyond their border, by `mode` or with one code."""

    def codes(layer: nw.Conv, site: Site) -> Integers:
        rows, columns = (size // 2 for size in layer.sides)
        around = ((0, 0), (rows, rows), (columns, columns), (0, 0))
        fill: dict[str, Any] = {} if code is None else {"constant_values": code}
        wide = site._replace(x=[np.pad(site.x[0], around, mode, **fill)])  # type: ignore[call-overload]
        made = codes_of(layer, wide)
        return made[:, rows : made.shape[1] - rows, columns : made.shape[2] - columns]

    return codes


def _is_wide(layer: nw.Conv, site: Site) -> bool:
    """Whether the image has rows and columns enough to be mirrored."""
    return all(
        size > side // 2 for size, side in zip(site.x[0].shape[1:3], layer.sides, strict=True)
    )


def _by_channel(layer: nw.Conv, site: Site) -> bool:
    """Whether every channel has a multiplier of its own."""
    return site.param_grids["weight"].axis is not None


def _multipliers(change: Callable[[Any], Any]) -> Make:
    def changed(layer: nw.Conv, site: Site) -> Site:
        grid = site.param_grids["weight"]
        scales = tuple(float(s) for s in change(grid.scales))
        wrong = replace(grid, scale=scales)
        return site._replace(param_grids=site.param_grids | {"weight": wrong})

    return _through(changed)


def _slopes(change: Callable[[Integers], Integers]) -> Make:
    def changed(layer: nw.PReLU, site: Site) -> Site:
        return site._replace(params=site.params | {"slope": change(site.params["slope"])})

    return _through(changed)


def _other_order(layer: nw.DepthToSpace, site: Site) -> Integers:
    return codes_of(replace(layer, mode="CRD" if layer.mode == "DCR" else "DCR"), site)


def _has_two(layer: nw.Add, site: Site) -> bool:
    return len(site.x) == 2


def _has_two_rounded(layer: nw.Add, site: Site) -> bool:
    """Whether both operands have a scale that one may take for the other's."""
    return len(site.x) == 2 and all(grid.bits != ACCUMULATOR for grid in site.grids)


def _one_scale(place: int) -> Make:
    """An addition that takes both operands to be on the grid of one of them."""

    def changed(layer: nw.Add, site: Site) -> Site:
        return site._replace(grids=[site.grids[place]] * len(site.grids))

    return _through(changed)


def _operand(place: int) -> Make:
    """An addition that leaves an operand out."""

    def changed(layer: nw.Add, site: Site) -> Site:
        x = list(site.x)
        x[place] = np.full_like(x[place], site.grids[place].zero_point)
        return site._replace(x=x)

    return _through(changed)


def _rounded(kind: str) -> Make:
    arithmetic = FixedPoint(kind, ROUNDINGS[kind], ROUNDINGS[kind])
    return _through(lambda layer, site: site._replace(arithmetic=arithmetic))


def _down(x: Integers, multiplier: Integers, shift: Integers) -> Integers:
    floor: Integers = (x * multiplier) >> (31 - shift)
    return floor


def _toward_zero(x: Integers, multiplier: Integers, shift: Integers) -> Integers:
    product, total = x * multiplier, 31 - shift
    rounded: Integers = np.where(product >= 0, product >> total, -((-product) >> total))
    return rounded


def _half_away(x: Integers, multiplier: Integers, shift: Integers) -> Integers:
    product, total = x * multiplier, 31 - shift
    half = np.int64(1) << (total - 1)
    rounded: Integers = np.where(
        product >= 0, (product + half) >> total, -((-product + half) >> total)
    )
    return rounded


ROUNDINGS = {"down": _down, "toward zero": _toward_zero, "half away from zero": _half_away}
"""Single roundings that no runtime in `ARITHMETICS` has."""

ANYWHERE = (
    *(Fault(f"rounds {kind}", _rounded(kind)) for kind in ROUNDINGS),
    Fault("shifts right by one bit too many", _scaled(2.0)),
    Fault("shifts right by one bit too few", _scaled(0.5)),
    Fault("does not saturate: the result wraps", _wrapped),
    Fault("clips at the second smallest integer", _narrow),
    Fault("leaves out the output's zero point", _without_zero_point),
    Fault("leaves out the input's zero point", _through(_input_as_if_from_zero)),
)
CONVOLUTION = (
    Fault("leaves out the bias", _bias(np.zeros_like), _has_bias),
    Fault("adds the bias twice", _bias(lambda b: 2 * b), _has_bias),
    Fault("takes the bias of the next channel", _bias(lambda b: np.roll(b, -1)), _has_bias),
    Fault("takes the bias of the previous channel", _bias(lambda b: np.roll(b, 1)), _has_bias),
    Fault("has a 16-bit accumulator that wraps", _accumulated(lambda a: _wrap(a, 16))),
    Fault(
        "has a 16-bit accumulator that saturates",
        _accumulated(lambda a: np.clip(a, -(1 << 15), (1 << 15) - 1)),
    ),
    Fault("has a 24-bit accumulator that wraps", _accumulated(lambda a: _wrap(a, 24))),
    Fault("pads with the code 0, not with the zero point", _bordered("constant", 0)),
    Fault("repeats the border's pixels", _bordered("edge")),
    Fault("mirrors the image at its border", _bordered("reflect"), _is_wide),
    Fault(
        "takes the first channel's multiplier for all",
        _multipliers(lambda s: 0 * s + s[0]),
        _by_channel,
    ),
    Fault(
        "takes the next channel's multiplier", _multipliers(lambda s: np.roll(s, -1)), _by_channel
    ),
    Fault(
        "takes the previous channel's multiplier",
        _multipliers(lambda s: np.roll(s, 1)),
        _by_channel,
    ),
)
PRELU = (
    Fault("takes the first channel's slope for all", _slopes(lambda s: 0 * s + s[0])),
    Fault("takes the next channel's slope", _slopes(lambda s: np.roll(s, -1))),
    Fault("takes the previous channel's slope", _slopes(lambda s: np.roll(s, 1))),
    Fault("is a ReLU: the slopes are left out", _slopes(np.zeros_like)),
    Fault("takes slopes with the other sign", _slopes(lambda s: -s)),
)
ADDITION = (
    Fault(
        "takes the second operand to be on the first one's scale", _one_scale(0), _has_two_rounded
    ),
    Fault(
        "takes the first operand to be on the second one's scale", _one_scale(1), _has_two_rounded
    ),
    Fault("leaves out the first operand", _operand(0), _has_two),
    Fault("leaves out the second operand", _operand(1), _has_two),
)
FAULTS: nw.Rules[tuple[Fault, ...]] = nw.Rules(
    {
        nw.Layer: ANYWHERE,
        nw.Conv: (*ANYWHERE, *CONVOLUTION),
        nw.PReLU: (*ANYWHERE, *PRELU),
        nw.Add: (*ANYWHERE, *ADDITION),
        nw.DepthToSpace: (*ANYWHERE, Fault("has the other order of sub-pixels", _other_order)),
    }
)
"""Kind of layer: the faults that are tried on it, in this order."""


def codes_with(layer: nw.Layer, site: Site) -> Iterator[tuple[Fault, Integers]]:
    """Every fault of a layer's kind that applies to it, and what it makes.

    Parameters
    ----------
    layer : Layer
        Of a collapsed network.
    site : Site
        What it reads.

    Yields
    ------
    fault, codes
    """
    for fault in FAULTS[type(layer)]:
        if not fault.applies(layer, site):
            continue
        try:
            yield fault, fault.codes(layer, site)
        except ValueError:  # an arithmetic that cannot have these scales
            continue
