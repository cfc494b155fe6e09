"""Checks that hold for every operation: dtypes, bad images, and gradients as adjoints."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import sesr_ref as sr
from sesr_ref.ops.arrays import Params

Array = npt.NDArray[Any]
ROOT = Path(__file__).resolve().parents[1]
TOLERANCE = {np.dtype(np.float32): 2e-5, np.dtype(np.float64): 1e-12}


def need_kernels() -> None:
    """Skip, a whole module if called outside a test, unless Numba is there and may compile."""
    numba = pytest.importorskip("numba")
    if numba.config.DISABLE_JIT:
        pytest.skip("NUMBA_DISABLE_JIT is set", allow_module_level=True)


def python(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a new interpreter that finds the project."""
    return python_program("-c", code, *arguments, **environment)


def python_program(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a new interpreter that finds the project and the tests."""
    path = os.pathsep.join(str(ROOT / part) for part in (".", "kernels", "weights", "tests"))
    env = os.environ | {"PYTHONPATH": path} | environment
    return subprocess.run(
        [sys.executable, *arguments], env=env, capture_output=True, text=True, check=False
    )


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
    (np.zeros((2, 3, 4)), r"the shape of images must be \(n, .*, got \(2, 3, 4\)"),
    (np.zeros((1, 2, 3, 0)), r"channels >= 1\), got \(1, 2, 3, 0\)"),
]


def assert_rejects_bad_images(function: Callable[[Any], Any]) -> None:
    for bad, message in BAD_IMAGES:
        with pytest.raises(ValueError, match=message):
            function(bad)


def away_from(points: Sequence[float], x: Array) -> Array:
    """The values of `x`, moved so that none is within 0.01 of a kink."""
    for point in points:
        x = np.where(np.abs(x - point) < 0.01, point + 0.02, x)
    return x


def check_collapse(net: sr.Network, params: Params, small: Params) -> None:
    """Assert that `small` is the collapse of `params` in float64, rounded once to float32.

    The same bits, but for sums in float64 that come out a rounding apart on another machine.
    """
    exact: Params = {name: array.astype(np.float64) for name, array in params.items()}
    expected = sr.collapse_params(net, exact)
    assert expected.keys() == small.keys()
    for name, array in expected.items():
        assert small[name].dtype == np.float32, name
        np.testing.assert_array_max_ulp(array.astype(np.float32), small[name], maxulp=1)
