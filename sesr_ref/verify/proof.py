"""Proof that a network's collapse is right: exactly, and in floating point within its bounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from sesr_ref.checks import check_params
from sesr_ref.collapse import (
    collapse_params,
    collapse_params_vjp,
    collapsed,
    expand_params,
    expanded,
)
from sesr_ref.execute import backward, forward
from sesr_ref.network import LinearBlock, Network
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.receptive import halo
from sesr_ref.verify.bounds.arithmetic import format_named, spacing
from sesr_ref.verify.bounds.walk import error_bounds
from sesr_ref.verify.golden.exact import Anything, collapse_block, conv2d, fractions

SMALL = 3
"""Channels of the small case in rational arithmetic, which has twice as many inside a block."""
GRADIENT_ROUNDINGS = 1 << 10
"""Units of roundoff, of an array's largest gradient, by which gradients may differ."""


class Check(NamedTuple):
    """One statement and how well it holds.

    `worst` is the largest difference, `used` its share of what is allowed (anything above 1 fails),
    `ulp` the difference in units in the last place of the array's largest value.
    """

    name: str
    worst: float
    used: float
    ulp: float

    @property
    def passed(self) -> bool:
        """Whether no more than what is allowed is used."""
        return self.used <= 1


def prove(
    net: Network, params: Params, seed: int = 0, size: tuple[int, int] = (0, 0)
) -> list[Check]:
    """Check the collapse of a network's linear blocks in every way there is.

    In rational arithmetic, exactly, on a small part of the network's own weights: Algorithms 1 and
    2 against the closed form, the expanded against the collapsed blocks.  Then in float64 and
    float32: all weights, every named tensor (interior and border apart) and the gradients of every
    parameter.

    Parameters
    ----------
    net : Network
        With linear blocks.
    params : dict of arrays
        Its parameters.
    seed : int
        Of the random image and gradient.
    size : (int, int)
        Of the image; at least so large, unless given, that it has an interior.

    Returns
    -------
    list of Check
        In that order.

    Raises
    ------
    ValueError
        If there are no linear blocks, or ones that have no expanded form, or for a negative seed.
    """
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}")
    check_params(net, params)
    if not any(isinstance(layer, LinearBlock) for layer in net.layers):
        raise ValueError(f"{net.name} has no linear blocks: there is no collapse to prove")
    expanded(net)  # refuses blocks without an expanded form
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
    """Algorithm 1 as the paper states it: a block's response to an identity batch.

    Parameters
    ----------
    expand : (k, k, in, p) array
        Floats or fractions.
    project : (1, 1, p, out) array
        Of the same kind.

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
    """Algorithm 2: the weight of a short residual, 1 at the middle tap from a channel to itself."""
    residual = np.zeros_like(weight)
    middle = len(weight) // 2
    for c in range(weight.shape[2]):
        residual[middle, middle, c, c] += 1
    return residual


def _blocks(net: Network) -> Iterator[LinearBlock]:
    return (la for la in net.layers if isinstance(la, LinearBlock) and not la.shares)


def _rational(net: Network, params: Params, rng: np.random.Generator) -> Iterator[Check]:
    """Each block cut down to a few of its own channels, on an image that is mostly border."""
    for block in _blocks(net):
        own = {key: params[f"{block.name}.{key}"] for key in block.param_shapes(1)}
        part = {
            "expand": own["expand"][:, :, :SMALL, : 2 * SMALL],
            "project": own["project"][:, :, : 2 * SMALL, :SMALL],
        } | {key: own[key][: 2 * SMALL if key == "expand_bias" else SMALL]
             for key in own if key.endswith("bias")}  # fmt: skip
        exact = {key: fractions(array) for key, array in part.items()}
        part_block = replace(block, features=exact["project"].shape[3])
        x = fractions(rng.integers(-99, 99, (1, 4, 5, exact["expand"].shape[2])) / 8)
        small = collapse_block(part_block, exact)
        weight = algorithm1(exact["expand"], exact["project"])
        hidden = conv2d(x, exact["expand"], exact.get("expand_bias"))
        y = conv2d(hidden, exact["project"], exact.get("project_bias"))
        if block.residual:
            weight, y = weight + algorithm2(weight), y + x
        yield _equal(f"{block.name}: Algorithms 1 and 2, in fractions", small["weight"], weight)
        collapsed_y = conv2d(x, small["weight"], small.get("bias"))
        yield _equal(f"{block.name}: expanded = collapsed, in fractions", collapsed_y, y)


def _equal(name: str, left: Anything, right: Anything) -> Check:
    worst = float(max(abs(left - right).ravel()))
    return Check(name, worst, 0.0 if worst == 0 else np.inf, worst and np.inf)


def compared(name: str, left: Array, right: Array, allowed: Array, dtype: str) -> Check:
    """Check that two arrays differ by no more than what is allowed for each element."""
    error = np.abs(left.astype(np.float64) - right)
    with np.errstate(divide="ignore", invalid="ignore"):
        used = np.where(error == 0, 0.0, error / allowed)
    worst, largest = float(error.max(initial=0.0)), np.abs(right).max(initial=0.0)
    ulp = worst / float(spacing(largest, format_named(dtype)))
    return Check(f"{name}, {dtype}", worst, float(used.max(initial=0.0)), ulp)


def _weights(net: Network, params: Params, dtype: str) -> Iterator[Check]:
    """The closed form against Algorithms 1 and 2, each a sum of `expand` products."""
    small, unit = collapse_params(net, params), format_named(dtype).unit
    for block in _blocks(net):
        if block.bias == "leaky":
            continue
        own = {key: params[f"{block.name}.{key}"] for key in ("expand", "project")}
        weight = algorithm1(own["expand"], own["project"])
        terms = np.abs(own["expand"]) @ np.abs(own["project"][0, 0]) + np.abs(weight)
        if block.residual:
            weight = weight + algorithm2(weight)
        allowed = 2 * (block.expand + 2) * unit * (terms + block.residual)
        yield compared(
            f"{block.name}: weight", small[f"{block.name}.weight"], weight, allowed, dtype
        )


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
    """Both backward passes on the expanded pass's tensors: one side of every kink for both."""
    wide, small = expanded(net), collapsed(net)
    wide_params, small_params = expand_params(net, params), collapse_params(net, params)
    tensors = forward(wide, wide_params, x)
    dy = rng.standard_normal(tensors[net.output].shape).astype(dtype)
    right = backward(wide, wide_params, tensors, dy)
    left = expand_params(
        net, collapse_params_vjp(net, params, backward(small, small_params, tensors, dy))
    )
    unit = format_named(dtype).unit
    for name, gradient in right.items():
        allowed = np.full(gradient.shape, GRADIENT_ROUNDINGS * unit * np.abs(gradient).max())
        yield compared(f"{name}: gradient", left[name], gradient, allowed, dtype)
