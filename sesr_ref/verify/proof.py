"""Prove that a network's collapse is right: exactly, and in floating point within its bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from sesr_ref.checks import check_params
from sesr_ref.collapse import (
    collapse_block,
    collapse_params,
    collapse_params_vjp,
    collapsed,
    composites,
    expand_params,
    expanded,
    is_leaky,
)
from sesr_ref.execute import backward, forward
from sesr_ref.layers.composite import INPUT
from sesr_ref.limits import check
from sesr_ref.linear.compose import Step, magnitudes, numbers_of, roundings
from sesr_ref.linear.numbers import Affine, Taps, dense, diagonal_blocks
from sesr_ref.linear.part import part_of
from sesr_ref.network import Add, Concat, Layer, Linear, LinearBlock, Network, Slice
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.receptive import halo
from sesr_ref.verify.bounds.arithmetic import format_named, spacing
from sesr_ref.verify.bounds.walk import error_bounds
from sesr_ref.verify.golden.exact import FIXED, Anything, conv2d, fractions

SMALL = 3
"""Channels of the small case in rational arithmetic; a block has twice as many inside."""
FEW = 2
"""The same for composites, whose bodies are longer."""
GRADIENT_ROUNDINGS = 1 << 10
"""By how many units of roundoff of a block's largest gradient the gradients may differ."""


class Check(NamedTuple):
    """One statement and how well it holds.

    `worst` is the largest difference, `used` its share of what is allowed (above 1 the check
    fails), `ulp` the difference in units in the last place of the array's largest value.
    """

    name: str
    worst: float
    used: float
    ulp: float

    @property
    def passed(self) -> bool:
        """Whether the differences are allowed."""
        return self.used <= 1


def prove(
    net: Network, params: Params, seed: int = 0, size: tuple[int, int] = (0, 0)
) -> list[Check]:
    """Check the collapse of a network's linear blocks in every way.

    First in rational arithmetic, exactly, on a small part of the network's own weights: Algorithms
    1 and 2 against the closed form, expanded against collapsed blocks.  Then in float64 and
    float32: all weights, every named tensor (interior and border separately) and the gradients of
    every parameter.

    Parameters
    ----------
    net : Network
        With linear blocks.
    params : dict of arrays
        Its parameters.
    seed : int
        Seed of the random image and gradient.
    size : (int, int)
        Height and width of the image; by default large enough to have an interior.

    Returns
    -------
    list of Check
        In that order.

    Raises
    ------
    ValueError
        If there are no linear blocks, one has no expanded form, or the seed is negative.
    """
    check(seed >= 0, "seed", "0 or more", seed)
    check_params(net, params)
    if not composites(net):
        raise ValueError(f"{net.name} has no linear blocks, so there is no collapse to prove")
    expanded(net)  # rejects blocks without an expanded form
    checks = list(_rational(net, params, np.random.default_rng(seed)))
    margin = halo(net)
    height, width = (
        max(given, 0) or 2 * margin + extra for given, extra in zip(size, (5, 8), strict=True)
    )
    for dtype in ("float64", "float32"):
        rng = np.random.default_rng(seed)
        x = rng.random((1, height, width, net.channels)).astype(dtype)
        own = {name: array.astype(dtype) for name, array in params.items()}
        checks += _weights(net, own, dtype)
        checks += _tensors(net, own, x, dtype, margin)
        checks += _gradients(net, own, x, rng, dtype)
    return checks


def algorithm1(expand: Anything, project: Anything) -> Anything:
    """Algorithm 1 of the paper: a block's response to a batch of impulses.

    Parameters
    ----------
    expand : (k, k, in, p) array
        Floats or fractions.
    project : (1, 1, p, out) array
        Of the same kind as `expand`.

    Returns
    -------
    (k, k, in, out) array
        The collapsed weight, without the residual.
    """
    k, _, channels, _ = expand.shape
    size = 2 * k - 1
    images = np.zeros((channels, size, size, channels), expand.dtype)
    for c in range(channels):
        images[c, k - 1, k - 1, c] += 1
    response = conv2d(conv2d(images, expand), project)
    valid = response[:, k // 2 : k // 2 + k, k // 2 : k // 2 + k]
    return valid[:, ::-1, ::-1].transpose(1, 2, 0, 3)


def algorithm2(weight: Anything) -> Anything:
    """Algorithm 2: the weight of a short residual, 1 at the middle tap of each channel."""
    residual = np.zeros_like(weight)
    middle = len(weight) // 2
    for c in range(weight.shape[2]):
        residual[middle, middle, c, c] += 1
    return residual


def run_body(block: Linear, channels: int, own: dict[str, Anything], x: Anything) -> Anything:
    """Compute a composite layer by layer, by its definition: zeros extend its input.

    Parameters
    ----------
    block : Linear
        The composite.
    channels : int
        Channels of its input.
    own : dict of arrays
        Its parameters by their short names; floats or fractions.
    x : (n, height, width, channels) array
        Of the same kind as the parameters.

    Returns
    -------
    (n, height, width, out) array
    """
    # each layer pads its input with zeros; this margin keeps them from affecting the image
    margin = max(block.facts(channels).radius)
    around = ((0, 0), (margin, margin), (margin, margin), (0, 0))
    tensors = {INPUT: np.pad(x, around, constant_values=x.dtype.type(0) if margin else 0)}
    for step in numbers_of(block, channels, own, x):
        sources = [tensors[name] for name in step.planned.inputs]
        tensors[step.planned.layer.name] = _step(step, sources)
    inner = slice(margin, -margin or None)
    return tensors[block.body[-1].name][:, inner, inner]


def _step(step: Step, x: list[Anything]) -> Anything:
    layer, numbers = step.planned.layer, step.numbers
    if isinstance(numbers, Taps):
        return conv2d(x[0], numbers.weight, numbers.bias)
    if isinstance(numbers, Affine):
        y = x[0] * numbers.factor
        return y if numbers.shift is None else y + numbers.shift
    return JOINED[type(layer)](layer, x)


JOINED: dict[type[Layer], Callable[[Any, list[Anything]], Anything]] = {
    Add: lambda layer, x: sum(x[1:], x[0]),
    Concat: lambda layer, x: np.concatenate(x, axis=3),
    Slice: lambda layer, x: x[0][..., layer.start : layer.stop],
}


def impulse_response(block: Linear, channels: int, own: dict[str, Anything]) -> Anything:
    """Weight of a composite by Algorithm 1: its response to an impulse per channel, less its bias.

    Parameters
    ----------
    block, channels, own
        As for `run_body`.

    Returns
    -------
    (rows, columns, in, out) array
        Dense, even if the collapsed convolution has groups.
    """
    rows, columns = block.facts(channels).sides
    like = next(iter(own.values()), np.zeros(1))
    images = np.zeros((channels, 2 * rows - 1, 2 * columns - 1, channels), like.dtype)
    for c in range(channels):
        images[c, rows - 1, columns - 1, c] += 1
    y = run_body(block, channels, own, images)
    y = y - run_body(block, channels, own, images * 0)
    valid = y[:, rows // 2 : rows // 2 + rows, columns // 2 : columns // 2 + columns]
    return valid[:, ::-1, ::-1].transpose(1, 2, 0, 3)


def _rational(net: Network, params: Params, rng: np.random.Generator) -> Iterator[Check]:
    """Check each block in fractions on an image that is mostly border."""
    for each in composites(net):
        block, channels, own = each.block, each.channels, each.own(params)
        if isinstance(block, LinearBlock):
            block, channels, own = _cut_down(block, own)
        else:
            block, channels, own = part_of(block, channels, own, FEW)
        exact = {key: fractions(array) for key, array in own.items()}
        x = fractions(rng.integers(-99, 99, (1, 4, 5, channels)) / 8)
        small = collapse_block(block, channels, exact, FIXED)
        weight = dense(small["weight"], block.facts(channels).groups)
        if isinstance(block, LinearBlock):
            found, title = algorithm1(exact["expand"], exact["project"]), "Algorithms 1 and 2"
            response = found + algorithm2(found) if block.residual else found
        else:
            response, title = impulse_response(block, channels, exact), "Algorithm 1"
        yield _equal(f"{block.name}: {title}, in fractions", weight, response)
        y = run_body(block, channels, exact, x)
        collapsed_y = conv2d(x, weight, small.get("bias"))
        yield _equal(f"{block.name}: expanded = collapsed, in fractions", collapsed_y, y)


def _cut_down(block: LinearBlock, own: Params) -> tuple[LinearBlock, int, Params]:
    """Reduce a linear block to a few of its channels: fractions of all take minutes."""
    part = {
        "expand": own["expand"][:, :, :SMALL, : 2 * SMALL],
        "project": own["project"][:, :, : 2 * SMALL, :SMALL],
    }
    for key, count in (("expand_bias", 2 * SMALL), ("project_bias", SMALL)):
        if key in own:
            part[key] = own[key][:count]
    channels, expand = part["expand"].shape[2:]
    features = part["project"].shape[3]
    return replace(block, features=features, expand=expand), channels, part


def _equal(name: str, left: Anything, right: Anything) -> Check:
    worst = float(max(abs(left - right).ravel()))
    return Check(name, worst, 0.0 if worst == 0 else np.inf, worst and np.inf)


def compared(name: str, left: Array, right: Array, allowed: Array, dtype: str) -> Check:
    """Check that two arrays differ by no more than `allowed` in each element."""
    error = np.abs(left.astype(np.float64) - right)
    with np.errstate(divide="ignore", invalid="ignore"):
        used = np.where(error == 0, 0.0, error / allowed)
    worst, largest = float(error.max(initial=0.0)), np.abs(right).max(initial=0.0)
    ulp = worst / float(spacing(largest, format_named(dtype)))
    return Check(f"{name}, {dtype}", worst, float(used.max(initial=0.0)), ulp)


def _weights(net: Network, params: Params, dtype: str) -> Iterator[Check]:
    """Compare the closed form with Algorithms 1 and 2; both are sums of products."""
    small, unit = collapse_params(net, params), format_named(dtype).unit
    for each in composites(net):
        block, channels, own = each.block, each.channels, each.own(params)
        if is_leaky(block):
            continue
        weight, sizes = _by_algorithm(block, channels, own), magnitudes(block, channels, own, 1)
        terms = sizes["weight"] + np.abs(got := small[f"{block.name}.weight"])
        if "bias" in sizes:  # the algorithm subtracts it again from what rounding it left
            terms = terms + sizes["bias"]
        allowed = 2 * roundings(block, channels) * unit * terms
        found = diagonal_blocks(weight, block.facts(channels).groups)
        yield compared(f"{block.name}: weight", got, found, allowed, dtype)


def _by_algorithm(block: Linear, channels: int, own: Params) -> Array:
    if not isinstance(block, LinearBlock):
        response: Array = impulse_response(block, channels, own)
        return response
    weight: Array = algorithm1(own["expand"], own["project"])
    return weight + algorithm2(weight) if block.residual else weight


def _tensors(net: Network, params: Params, x: Array, dtype: str, margin: int) -> Iterator[Check]:
    wide, wide_params = expanded(net), expand_params(net, params)
    left = forward(collapsed(net), collapse_params(net, params), x)
    right = forward(wide, wide_params, x)
    bounds = [
        error_bounds(n, p, x, dtype, dtype, kind="statistical")
        for n, p in ((net, params), (wide, wide_params))
    ]
    for layer in net.layers:
        name = layer.name
        allowed = bounds[0][name] + bounds[1][name]
        inner = _interior(left[name], x.shape[1], margin)
        for part, where in (("interior", inner), ("border", ~inner)):
            cut = [np.where(where, a, 0.0) for a in (left[name], right[name], allowed)]
            yield compared(f"{name}: {part}", cut[0], cut[1], cut[2], dtype)


def _interior(
    tensor: Array, height: int, margin: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    inner = np.zeros(tensor.shape, bool)
    edge = margin * (tensor.shape[1] // height)
    inner[:, edge:-edge, edge:-edge] = True
    return inner


def _gradients(
    net: Network, params: Params, x: Array, rng: np.random.Generator, dtype: str
) -> Iterator[Check]:
    """Compare both backward passes on the expanded tensors, so that kinks do not matter."""
    wide, small = expanded(net), collapsed(net)
    wide_params, small_params = expand_params(net, params), collapse_params(net, params)
    tensors = forward(wide, wide_params, x)
    dy = rng.standard_normal(tensors[net.output].shape).astype(dtype)
    right = backward(wide, wide_params, tensors, dy)
    left = expand_params(
        net, collapse_params_vjp(net, params, backward(small, small_params, tensors, dy))
    )
    unit = format_named(dtype).unit
    owners = [layer.name for layer in net.layers]
    for name, gradient in right.items():
        # relative to the block's largest: gradients of biases before edge filters cancel out
        owner = next(o for o in owners if name.startswith(f"{o}."))
        largest = max(np.abs(g).max() for n, g in right.items() if n.startswith(f"{owner}."))
        allowed = np.full(gradient.shape, GRADIENT_ROUNDINGS * unit * largest)
        yield compared(f"{name}: gradient", left[name], gradient, allowed, dtype)
