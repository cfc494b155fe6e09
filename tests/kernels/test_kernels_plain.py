"""The kernels that are plain Python, and what prepares the others.

The results are the same compiled and interpreted: a test in test_kernels_host.py runs this file
again under NUMBA_DISABLE_JIT=1, where Numba only hands the functions on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sesr_ref as sr
from networks_for_kernels import RUNNABLE, images, random_params
from sesr_ref.network import (
    Add,
    Clip,
    Concat,
    DepthToSpace,
    LeakyReLU,
    Network,
    PReLU,
    Resize,
    Scale,
    Shift,
)

pytest.importorskip("numba")

WITHOUT_CONVOLUTIONS = Network(
    "no-convolutions",
    4,
    2,
    (
        Resize("up", 2),
        PReLU("act"),
        Concat("both", inputs=("act", "up", "act", "up")),
        DepthToSpace("pixels", 2),
        Resize("near", 4, "nearest", inputs=("input",)),
        Shift("shift", -0.25),
        LeakyReLU("leaky", 0.1),
        Add("sum", inputs=("leaky", "pixels")),
        Scale("half", 0.5),
        Clip("clip", -0.4, 0.4),
    ),
)
"""All that the depth-first executor does in plain loops."""


def test_a_network_without_convolutions_has_the_references_bits(rng: np.random.Generator) -> None:
    from sesr_kernels.inference.run import network

    net = WITHOUT_CONVOLUTIONS
    params = random_params(net, rng)
    for size in [(1, 1, 1), (2, 3, 5)]:
        x = images(net, rng, *size)
        np.testing.assert_array_equal(network(net, params, x), sr.run(net, params, x))


def test_activations_and_shuffles(rng: np.random.Generator) -> None:
    from sesr_kernels.operations import KERNELS

    x, dy = (rng.standard_normal((2, 4, 6, 4)).astype(np.float32) for _ in range(2))
    slope = rng.random(4, np.float32)
    calls: list[tuple[str, tuple[Any, ...]]] = [
        ("prelu", (x, slope)), ("relu", (x,)), ("relu_vjp", (dy, x)),
        ("depth_to_space", (x, 2, "CRD")), ("depth_to_space_vjp", (dy, 2)),
    ]  # fmt: skip
    for name, args in calls:
        np.testing.assert_array_equal(KERNELS[name](*args), getattr(sr.REFERENCE, name)(*args))
    got, want = KERNELS["prelu_vjp"](dy, x, slope), sr.REFERENCE.prelu_vjp(dy, x, slope)
    np.testing.assert_array_equal(got[0], want[0])
    np.testing.assert_allclose(got[1], want[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("winograd", [False, True])
@pytest.mark.parametrize("net", RUNNABLE, ids=lambda net: net.name)
def test_plans_are_made_without_a_compiler(
    net: Network, winograd: bool, rng: np.random.Generator
) -> None:
    from sesr_kernels.inference.plan import Plan

    small = sr.collapsed(net)
    plan = Plan(small, winograd)
    packed = plan.packed(sr.collapse_params(net, random_params(net, rng)))
    assert packed.size == plan.size
    assert np.isfinite(packed).all()
