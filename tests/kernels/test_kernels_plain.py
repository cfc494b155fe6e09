"""The kernels that are plain Python, and what prepares the others.

The results are the same compiled and interpreted: a test in test_kernels_host.py runs this file
again under NUMBA_DISABLE_JIT=1, where Numba only hands the functions on.
"""

from __future__ import annotations

import numpy as np
import pytest

import sesr_ref as sr
from networks_for_kernels import RUNNABLE, images, random_params
from sesr_ref.integers import ARITHMETICS, Grid, Quantization
from sesr_ref.integers.operations import operations
from sesr_ref.network import Add, Concat, DepthToSpace, Network, Resize, Slice

pytest.importorskip("numba")

PLAIN = Network(
    "plain",
    4,
    2,
    (
        Resize("up", 2),
        Concat("both", inputs=("up", "up", "up", "up")),
        DepthToSpace("pixels", 2),
        Resize("near", 4, "nearest", inputs=("input",)),
        Add("sum", inputs=("near", "pixels")),
    ),
)
"""All that the depth-first executor does in plain loops."""


def test_plain_loops_have_the_references_bits(rng: np.random.Generator) -> None:
    from sesr_kernels.inference.run import network

    net = PLAIN
    params = random_params(net, rng)
    for size in [(1, 1, 1), (2, 3, 5)]:
        x = images(net, rng, *size)
        np.testing.assert_array_equal(network(net, params, x), sr.run(net, params, x))


MOVED = Network(
    "moved",
    2,
    2,
    (
        Concat("many", inputs=("input", "input", "input", "input", "input")),
        Slice("some", 1, 9),
        DepthToSpace("pixels", 2),
    ),
)
"""All that the depth-first executor of integers does in plain loops."""


def test_codes_are_moved_as_numpy_moves_them(rng: np.random.Generator) -> None:
    from sesr_kernels.integers.run import integers

    q = Quantization(dict.fromkeys(("input", "many", "some", "pixels"), Grid(0.1, -7)))
    network = operations(MOVED, {}, q, ARITHMETICS["tflite"])
    for size in [(1, 1, 1), (2, 3, 5)]:
        x = rng.integers(-128, 128, (*size, 2)).astype(np.int8)
        got, want = integers(network, x, ["some", "pixels"]), sr.forward_int(MOVED, {}, q, x)
        for name, made in got.items():
            np.testing.assert_array_equal(made, want[name])


def test_prelu_alone(rng: np.random.Generator) -> None:
    from sesr_kernels.blocks.prelu import prelu, prelu_vjp

    x, dy = (rng.standard_normal((2, 4, 6, 4)).astype(np.float32) for _ in range(2))
    slope = rng.random(4, np.float32)
    np.testing.assert_array_equal(prelu(x, slope), sr.REFERENCE.prelu(x, slope))
    got, want = prelu_vjp(dy, x, slope), sr.REFERENCE.prelu_vjp(dy, x, slope)
    np.testing.assert_array_equal(got[0], want[0])
    np.testing.assert_allclose(got[1], want[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("winograd", [False, True])
@pytest.mark.parametrize("net", RUNNABLE, ids=lambda net: net.name)
def test_plans_are_made_without_a_compiler(
    net: Network, winograd: bool, rng: np.random.Generator
) -> None:
    from sesr_kernels.inference.plan import InferencePlan

    small = sr.collapsed(net)
    plan = InferencePlan(small, winograd)
    packed = plan.packed(sr.collapse_params(net, random_params(net, rng)))
    assert packed.size == plan.size
    assert np.isfinite(packed).all()
