"""Equivalence checks for the test suites of other projects.

``pytest -p sesr_ref.testing`` provides the fixtures `assert_equivalent` and `assert_collapses`;
``pytest --pyargs sesr_ref.testing`` proves the collapse of every shipped network.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sesr_ref.architectures import sesr
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Params
from sesr_ref.params import initialise, load
from sesr_ref.shipped import shipped
from sesr_ref.verify import assert_equivalent, prove

__all__ = ["assert_collapses", "assert_equivalent"]


@pytest.fixture(name="assert_equivalent")
def equivalent_fixture() -> Callable[..., None]:
    """Return `sesr_ref.verify.assert_equivalent`: two networks compute the same result."""
    return assert_equivalent


@pytest.fixture(name="assert_collapses")
def collapses_fixture() -> Callable[[Network, Params], None]:
    """Return `assert_collapses`: a network's collapse passes every check of `prove`."""
    return assert_collapses


def assert_collapses(net: Network, params: Params) -> None:
    """Assert that a network's linear blocks collapse to equivalent convolutions.

    Parameters
    ----------
    net : Network
        With linear blocks.
    params : dict of arrays
        Its parameters.

    Raises
    ------
    AssertionError
        Naming the checks of `sesr_ref.verify.prove` that fail.
    """
    failed = [check.name for check in prove(net, params) if not check.passed]
    assert not failed, f"{net.name}: {len(failed)} checks fail, first {failed[0]}"


WITH_BLOCKS = [name for name, entry in shipped().items() if "collapsed" in entry]


@pytest.mark.parametrize("name", [*WITH_BLOCKS, "initialised"])
def test_collapse(name: str) -> None:
    """Every shipped network that has linear blocks, and one with random weights."""
    net = sesr(2, 8, expand=32)
    net, params = (net, initialise(net)) if name == "initialised" else load(name)
    assert_collapses(net, params)
