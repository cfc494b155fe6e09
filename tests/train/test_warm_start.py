"""Starting from another network's parameters: what fits, and what only seems to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

import sesr_ref as sr
from sesr_ref.train.warm_start import Misfit, fit

small: Callable[..., sr.Network] = partial(sr.sesr, blocks=2, features=3, expand=5)
plain = partial(small, linear_blocks=False)


def test_x4_takes_over_all_of_x2_but_the_tail() -> None:
    source_net, net = small(), small(upscale=4)
    source = sr.initialise(source_net, seed=1)
    fresh, got = sr.initialise(net, 2), sr.transfer(net, source_net, source, 2)
    for name in got:
        expected = fresh if name.startswith("tail.") else source
        assert np.array_equal(got[name], expected[name]), name
    found = fit(net, source_net)
    assert found.taken == ("head", "block0", "act0", "block1", "act1")
    assert found.anew == ("tail",)


def test_a_deeper_network_takes_over_the_blocks_there_are() -> None:
    assert fit(small(blocks=3), small()).anew == ("block2", "act2")
    assert fit(small(), small(blocks=3)).anew == ()


def test_fsrcnn_x4_draws_its_enlarging_layer_anew() -> None:
    assert fit(sr.fsrcnn(4), sr.fsrcnn(2)).anew == ("deconv",)


@pytest.mark.parametrize(
    ("net", "source_net", "message", "residual"),
    [
        (small(), small(short_residuals=False), r"block0\.residual is True here and False", True),
        (small(short_residuals=False), small(), r"block0\.residual is False here and True", True),
        (plain(), plain(short_residuals=False), r"act0\.inputs is .*skip0.* and .*block0", True),
        (small(), small(block_bias="true"), r"head\.bias is 'none' here and 'true' there", False),
        (small(), small(dialect="arm", block_bias="true"), "head", False),
    ],
)
def test_parameters_that_fit_a_layer_which_computes_something_else_are_refused(
    net: sr.Network, source_net: sr.Network, message: str, residual: bool
) -> None:
    with pytest.raises(Misfit, match=message) as caught:
        sr.transfer(net, source_net, sr.initialise(source_net))
    assert caught.value.residual == residual


@pytest.mark.parametrize(
    ("source_net", "why"),
    [
        (sr.collapsed(small()), r"head\.kind is 'LinearBlock' here and 'Conv' there"),
        (small(expand=4), r"head\.expand is 5 here and 4 there"),
        (sr.fsrcnn(), "no layer is called alike"),
    ],
)
def test_slopes_alone_are_no_start(source_net: sr.Network, why: str) -> None:
    with pytest.raises(Misfit, match=f"nothing to transfer: {why}"):
        sr.transfer(small(), source_net, sr.initialise(source_net))


def test_parameters_of_another_network_than_the_named_one_are_refused() -> None:
    with pytest.raises(ValueError, match=r"act1\.slope"):
        sr.transfer(small(), small(), sr.initialise(small(blocks=1)))
