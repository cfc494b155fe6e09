"""bench/speed/peers.py: every peer computes the network that it is given, as well as it can."""

from __future__ import annotations

import importlib
import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sesr_ref as sr

RUNTIMES = ("OpenVINO", "LiteRT", "ONNX Runtime", "PyTorch", "ncnn")
NETWORKS: dict[str, Callable[[], sr.Network]] = {
    "x2": lambda: sr.sesr(2, 5, 2, expand=8),
    "two shuffles": lambda: sr.sesr(1, 4, 4, expand=8),
    "relu": lambda: sr.sesr(1, 4, 2, expand=8, activation="relu", input_residual=False),
    "transposed x2": lambda: sr.fsrcnn(2, features=6, shrink=3, maps=1),
    "transposed x4": lambda: sr.fsrcnn(4, features=6, shrink=3, maps=1),
}
SIZE = (7, 9)
Import = Callable[[str], Any]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Import:
    """Import a module of bench/."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "bench"))
    return importlib.import_module


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(
    ("runtime", "network"),
    [*itertools.product(RUNTIMES, NETWORKS), ("torch.compile", "two shuffles")],
)
def test_every_runtime_computes_the_network_it_is_given(
    runtime: str, network: str, bench: Import
) -> None:
    peer = bench("speed.peers").PEERS[runtime]
    pytest.importorskip(peer.package)
    net, params = small(NETWORKS[network]())
    x = np.random.default_rng(0).random((1, *SIZE, 1), np.float32)
    y = peer.load(peer.write(net, params, SIZE), threads=1)(x)
    np.testing.assert_allclose(y, sr.run(net, params, x), rtol=0, atol=1e-5)


def small(net: sr.Network) -> tuple[sr.Network, Any]:
    """Collapsed, with slopes that differ; a block's bias in the networks that have none."""
    params = sr.initialise(net, seed=1)
    rng = np.random.default_rng(1)
    for name in params:
        if name.endswith("slope"):
            params[name] = rng.uniform(-0.2, 0.5, params[name].shape).astype(np.float32)
    return sr.collapsed(net), sr.collapse_params(net, params)


@pytest.mark.parametrize("runtime", ["LiteRT", "PyTorch", "ncnn"])
def test_biases_are_written(runtime: str, bench: Import) -> None:
    peer = bench("speed.peers").PEERS[runtime]
    pytest.importorskip(peer.package)
    layers = (
        sr.network.Conv("first", 4, 3, bias=True),
        sr.network.ConvTranspose("second", 1, 4, 2, bias=True),
    )
    net = sr.Network("biased", 2, 1, layers)
    rng = np.random.default_rng(2)
    params = {k: rng.standard_normal(s).astype(np.float32) for k, s in net.param_shapes().items()}
    x = rng.random((1, *SIZE, 1), np.float32)
    y = peer.load(peer.write(net, params, SIZE), threads=1)(x)
    np.testing.assert_allclose(y, sr.run(net, params, x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("network", ["x2", "two shuffles", "transposed x2"])
def test_openvino_fuses_all_that_it_can(network: str, bench: Import) -> None:
    pytest.importorskip("openvino")
    peers = bench("speed.peers")
    net, params = small(NETWORKS[network]())
    model = peers.openvino_model(peers.as_onnx(net, params, SIZE), threads=1)
    kinds = Counter(
        str(op.get_rt_info()["layerType"].astype(str)) for op in model.get_runtime_model().get_ops()
    )
    wanted = Counter(type(layer).__name__ for layer in net.layers)
    assert kinds["Convolution"] == wanted["Conv"]
    assert kinds["Deconvolution"] == wanted["ConvTranspose"]
    assert kinds["Eltwise"] + kinds["Subgraph"] == wanted["Add"]
    assert kinds["DepthToSpace"] == wanted["DepthToSpace"]
    apart = {
        "Input",
        "Output",
        "Const",
        "Reorder",
        "Convolution",
        "Deconvolution",
        "Eltwise",
        "Subgraph",
        "DepthToSpace",
    }
    assert set(kinds) <= apart


def test_each_way_of_writing_a_network_has_the_same_kinds_of_layers(bench: Import) -> None:
    kinds = {
        sr.network.KINDS[k]
        for k in ("Conv", "ConvTranspose", "PReLU", "ReLU", "Add", "DepthToSpace")
    }
    for module in ("speed.litert_model", "speed.ncnn_model"):
        assert bench(module).RULES.keys() == kinds
