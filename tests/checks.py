"""Checks that hold for every operation: dtypes, bad images, and gradients as adjoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import sesr_ref as sr
from sesr_ref.ops.arrays import Params

Array = npt.NDArray[Any]
TOLERANCE = {np.dtype(np.float32): 2e-5, np.dtype(np.float64): 1e-12}


def assert_equals_definition(got: Array, expected: Array, x: Array) -> None:
    """`got` has the dtype of `x` and the definition's values to about its rounding."""
    assert got.dtype == x.dtype
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE[x.dtype])


def assert_vjp(
    function: Callable[..., Array], vjp: Callable[..., Sequence[Array]], *operands: Array
) -> None:
    """Check ``<dy, J v> == <J^T dy, v>`` for a random `dy` and, one after another, random `v`.

    ``J v`` is a central difference in float64, so `function` must be smooth (piecewise: far from
    its kinks) around the operands; for what is linear or bilinear it is exact but for rounding.
    """
    rng = np.random.default_rng(7)
    y = function(*operands)
    dy = rng.standard_normal(y.shape)
    grads = vjp(dy, *operands)
    assert len(grads) == len(operands)
    for i, (operand, grad) in enumerate(zip(operands, grads, strict=True)):
        assert grad.shape == operand.shape
        assert grad.dtype == operand.dtype
        v, step = rng.standard_normal(operand.shape), 1e-5
        ahead, behind = (
            function(*operands[:i], operand + s * v, *operands[i + 1 :]) for s in (step, -step)
        )
        forward = np.vdot(dy, (ahead - behind) / (2 * step))
        np.testing.assert_allclose(np.vdot(grad, v), forward, rtol=1e-7, atol=1e-7)


BAD_IMAGES = [
    ([[[[0.5]]]], "float32 or float64 array, got list"),
    (np.zeros((1, 2, 3, 4), np.uint8), "float32 or float64 array, got uint8"),
    (np.zeros((1, 2, 3, 4), np.float16), "float32 or float64 array, got float16"),
    (np.zeros((1, 2, 3, 4), ">f4"), "float32 or float64 array, got >f4"),
    (np.zeros((1, 2, 3, 4), np.complex64), "float32 or float64 array, got complex64"),
    (np.zeros((2, 3, 4)), r"got shape \(2, 3, 4\)"),
    (np.zeros((1, 2, 3, 0)), r"got shape \(1, 2, 3, 0\)"),
]


def assert_refuses_bad_images(function: Callable[[Any], Any]) -> None:
    for bad, message in BAD_IMAGES:
        with pytest.raises(ValueError, match=message):
            function(bad)


def away_from(points: Sequence[float], x: Array) -> Array:
    """The values of `x`, moved so that none is within 0.01 of a kink."""
    for point in points:
        x = np.where(np.abs(x - point) < 0.01, point + 0.02, x)
    return x


def check_collapse(net: sr.Network, params: Params, small: Params, half: bool) -> None:
    """Assert that `small` (float32) is the collapse of `params`, or of what float16 made them of.

    From float32 it is the collapse in float64, rounded once: the same bits but for sums that come
    out a rounding apart elsewhere.  From float16, r stands for any w with |w - r| of at most half a
    unit, 2^-11 |r| + 2^-25: blocks collapse at most collapse(|r| + that) - collapse(|r|) off.
    """
    exact: Params = {name: array.astype(np.float64) for name, array in params.items()}
    expected = sr.collapse_params(net, exact)
    assert expected.keys() == small.keys()
    if not half:
        for name, array in expected.items():
            np.testing.assert_array_max_ulp(array.astype(np.float32), small[name], maxulp=1)
        return
    size: Params = {name: np.abs(array) for name, array in exact.items()}
    most: Params = {
        name: array if name in expected else array * (1 + 2**-11) + 2**-25
        for name, array in size.items()
    }
    low, high = sr.collapse_params(net, size), sr.collapse_params(net, most)
    for name, array in expected.items():
        allowed = (high[name] - low[name]) + 2**-23 * np.abs(array)
        assert (np.abs(array - small[name]) <= allowed).all(), name
