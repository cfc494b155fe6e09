"""bench/peers.py: every peer computes the network that it is given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import sesr_ref as sr


@pytest.mark.parametrize(("peer", "package"), [("torch_eager", "torch"), ("ncnn", "ncnn")])
def test_two_shuffles_are_in_the_order_of_the_network(
    peer: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(package)
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "bench"))
    import peers

    net = sr.sesr(1, 4, 4, expand=8)
    small, params = peers.small(net, sr.initialise(net, seed=1))
    x = np.random.default_rng(0).random((1, 7, 9, 1), np.float32)
    y = getattr(peers, peer)(small, params, (7, 9), 1)(x)
    np.testing.assert_allclose(y, sr.run(small, params, x), rtol=0, atol=1e-5)
