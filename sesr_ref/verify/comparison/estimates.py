"""Estimate the parameters that a candidate must have used from a layer's inputs and output."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sesr_ref import network as nw
from sesr_ref.execute import RULES
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.ops.table import REFERENCE

MAX_TERMS = 1000
ROWS_PER_TERM = 4
NOISE = 2.0**-19
"""Share of a float32 tensor's largest value below which deviations are rounding errors."""
Estimate = tuple[str, Array]
"""What is wrong, and the layer's output with the estimated parameters."""
Estimator = Callable[[Any, Sequence[Array], Params, Array], "Estimate | None"]


def estimate(
    layer: nw.Layer, x: Sequence[Array], params: Params, candidate: Array
) -> Estimate | None:
    """Fit a layer's parameters to a candidate; None without parameters or with too few pixels."""
    fit = ESTIMATORS.get(type(layer))
    return None if fit is None else fit(layer, x, params, candidate)


def _convolution(
    layer: nw.Conv, x: Sequence[Array], params: Params, candidate: Array
) -> Estimate | None:
    k, weight = layer.side, params["weight"]
    terms = weight[..., 0].size
    if layer.groups > 1 or layer.sides != (k, k) or terms > MAX_TERMS or min(x[0].shape[1:3]) <= k:
        return None
    inner = (slice(None), *(slice(k // 2, -(k // 2) or None),) * 2)
    wrong = (candidate - RULES[nw.Conv].forward(layer, REFERENCE, x, params))[inner]
    windows = np.lib.stride_tricks.sliding_window_view(x[0], (k, k), (1, 2))
    patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, terms)
    wrong, noise = wrong.reshape(len(patches), -1), NOISE * float(np.abs(candidate).max())
    change = _single(patches, wrong, noise)
    if change is None:
        if len(patches) < 2 * terms:
            return None
        some = np.linspace(0, len(patches) - 1, min(len(patches), ROWS_PER_TERM * terms))
        change = np.linalg.lstsq(patches[some.astype(int)], wrong[some.astype(int)])[0]
    weight = weight + change.reshape(weight.shape)
    y = RULES[nw.Conv].forward(layer, REFERENCE, x, params | {"weight": weight})
    return _describe("weights", params["weight"], weight), y


def _single(patches: Array, wrong: Array, noise: float) -> Array | None:
    """The change of one weight per output channel, if such changes explain all deviations."""
    energy = np.maximum(np.square(patches).sum(0), np.finfo(float).tiny)
    steps = (patches.T @ wrong) / energy[:, None]
    best = np.argmax(np.square(steps) * energy[:, None], axis=0)
    channels = np.flatnonzero(np.abs(wrong).max(0) > noise)
    change = np.zeros_like(steps)
    change[best[channels], channels] = steps[best[channels], channels]
    return change if np.abs(wrong - patches @ change).max() <= noise else None


def _slopes(layer: nw.PReLU, x: Sequence[Array], params: Params, candidate: Array) -> Estimate:
    below = np.minimum(x[0], 0.0)
    energy = np.square(below).sum((0, 1, 2))
    fit = (below * candidate).sum((0, 1, 2)) / np.where(energy > 0, energy, 1.0)
    slope = np.where(energy > 0, fit, params["slope"])
    y = RULES[nw.PReLU].forward(layer, REFERENCE, x, {"slope": slope})
    return _describe("slopes", params["slope"], slope), y


def _describe(what: str, right: Array, used: Array) -> str:
    error = np.abs(used - right)
    wrong = int((error > 1e-3 * error.max()).sum())
    index = tuple(int(i) for i in np.unravel_index(int(error.argmax()), error.shape))
    return (
        f"{what} differ in {wrong} of {error.size}, most in {list(index)}: "
        f"{used[index]:.6g} instead of {right[index]:.6g}"
    )


ESTIMATORS: Mapping[type[nw.Layer], Estimator] = {nw.Conv: _convolution, nw.PReLU: _slopes}
