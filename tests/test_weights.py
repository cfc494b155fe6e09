"""The shipped weights: what the manifest says holds, and they do their job."""

from __future__ import annotations

import math

import numpy as np
import pytest

import sesr_ref as sr
from sesr_ref.images import imresize, luma_of
from sesr_ref.ops.arrays import Params
from sesr_ref.params import shipped, weights_folder

data = pytest.importorskip("skimage.data", reason="needs a photograph of scikit-image")


def test_the_default_network_is_shipped() -> None:
    assert "sesr-m5-x2" in shipped()


def test_every_file_is_in_the_manifest_and_all_are_small() -> None:
    files = {path.name for path in weights_folder().glob("*.npz")}
    assert files == {entry["file"] for entry in shipped().values()}
    assert sum((weights_folder() / name).stat().st_size for name in files) < 15e6


@pytest.mark.parametrize("name", shipped())
def test_the_manifest_tells_the_truth(name: str) -> None:
    net, params = sr.load(name)  # checks the hash
    entry = shipped()[name]
    small = sr.collapsed(net).param_shapes().values()
    assert entry["network"] == net.name
    assert name.endswith(f"-x{net.upscale}")
    assert entry["parameters"] == sum(array.size for array in params.values())
    assert entry["collapsed_parameters"] == sum(math.prod(shape) for shape in small)
    assert entry["recipe"]["command"].startswith("sesr-ref train ")
    assert {"Set5", "Set14", "BSD100", "protocol"} <= entry["scores"].keys()


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_network_beats_bicubic_on_a_photograph(name: str) -> None:
    net, params = sr.load(name)
    high = luma_of(data.chelsea()[:280, :440]).astype(np.float64)
    low = imresize(high, 1 / net.upscale)
    y = sr.run(net, params, low[None, ..., None])[0, ..., 0]
    bicubic = imresize(low, net.upscale)
    border = net.upscale
    assert sr.psnr(high, np.clip(y, 0, 1), border) > sr.psnr(high, bicubic, border) + 0.5


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_network_collapses_exactly(name: str) -> None:
    net, stored = sr.load(name)
    params: Params = {key: array.astype(np.float64) for key, array in stored.items()}
    x = np.random.default_rng(0).random((1, 13, 17, 1))
    small = sr.forward(sr.collapsed(net), sr.collapse_params(net, params), x)
    large = sr.forward(sr.expanded(net), sr.expand_params(net, params), x)
    for tensor, values in small.items():
        assert np.allclose(values, large[tensor], rtol=0, atol=1e-12 * np.abs(values).max()), tensor
