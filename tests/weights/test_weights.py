"""The shipped weights: what the manifest says holds, and they do their job."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

import sesr_ref as sr
from checks import check_collapse
from sesr_ref.architectures import architecture
from sesr_ref.evaluate import IntegerModel, RealModel
from sesr_ref.images import imresize, luma_of
from sesr_ref.integers.calibration import CODES
from sesr_ref.ops.arrays import Params
from sesr_ref.shipped import FORMS, shipped, smallest, weights_folder

data = pytest.importorskip("skimage.data", reason="needs a photograph of scikit-image")


def test_the_default_network_is_shipped() -> None:
    assert "sesr-m5-x2" in shipped()


def test_every_file_is_in_the_manifest_and_all_are_small() -> None:
    files = [path for path in weights_folder().iterdir() if path.suffix == ".npz"]
    forms = [e[key] for e in shipped().values() for key in FORMS.values() if key in e]
    entries = [*shipped().values(), *forms]
    assert {path.name for path in files} == {entry["file"] for entry in entries}
    sizes = {path.name: path.stat().st_size for path in files}
    assert sum(sizes.values()) < 15e6, sizes


def collapses(entry: dict[str, Any]) -> bool:
    return "collapsed" in entry


@pytest.mark.parametrize("name", [n for n, entry in shipped().items() if "int8" in entry])
def test_integers_are_those_of_the_shipped_network(name: str) -> None:
    net, iparams, q = sr.load_quantized(f"{name}-int8")
    entry = shipped()[name]["int8"]
    assert entry["made_from"] == shipped()[name]["sha256"], "run weights/ship_int8.py again"
    assert net == sr.collapsed(sr.load(name)[0])
    assert q.tensors["input"] == q.tensors[net.output] == CODES
    x = np.rint(255 * luma_of(data.astronaut()[60:120, 180:251])[None, ..., None]) / 255
    params = sr.load(smallest(name))[1]
    real = RealModel.of(net, params).run(x.astype(np.float32))
    made = IntegerModel(net, iparams, q).run(x.astype(np.float32))
    assert np.sqrt(np.square(made - np.clip(real, 0, 1)).mean()) < 0.006


@pytest.mark.parametrize("name", shipped())
def test_the_manifest_tells_the_truth(name: str) -> None:
    net, params = sr.load(name)  # checks the hash
    entry = shipped()[name]
    small = sr.collapsed(net).param_shapes().values()
    assert entry["network"] == net.name == name
    assert sr.collapsed(net) == sr.collapsed(network_like(name))
    assert collapses(entry) == (sr.collapsed(net) != net)
    assert entry["parameters"] == sum(array.size for array in params.values())
    assert entry["collapsed_parameters"] == sum(math.prod(shape) for shape in small)
    assert entry["recipe"]["command"].startswith("sesr-ref train ")
    assert not re.search(r"(?<![\w.])/", entry["recipe"]["command"]), "a private path"
    assert {"steps", "hours", "seed", "data"} <= entry["recipe"].keys()
    assert {"Set5", "Set14", "BSD100", "protocol"} <= entry["scores"].keys()
    assert entry["validation"]["set"] == "Kodak24"


def network_like(name: str) -> sr.Network:
    net = architecture(name)
    assert net is not None
    return net


@pytest.mark.parametrize("name", [name for name, entry in shipped().items() if collapses(entry)])
def test_the_small_file_is_the_collapse_of_the_large_one(name: str) -> None:
    net, params = sr.load(name)
    small, weights = sr.load(f"{name}-collapsed")
    assert small == sr.collapsed(net)
    assert shipped()[name]["collapsed"]["parameters"] == sum(a.size for a in weights.values())
    half = shipped()[name]["dtype"] == "float16"
    assert half == ("lost_to_float16_db" in shipped()[name]["validation"])
    check_collapse(net, params, weights)


def test_float16_costs_no_more_than_a_thousandth_of_a_decibel() -> None:
    lost = [entry["validation"].get("lost_to_float16_db", 0.0) for entry in shipped().values()]
    assert max(lost) < 1e-3, lost


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_network_beats_bicubic_on_a_photograph(name: str) -> None:
    net, params = sr.load(smallest(name))
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
