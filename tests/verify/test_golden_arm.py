"""Outputs and gradients of Arm's TensorFlow code, in both its modes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import sesr_ref as sr

Array = npt.NDArray[Any]
Golden = tuple[sr.Network, dict[str, Array], dict[str, Array]]


@pytest.fixture(params=[("collapsed", "leaky"), ("expanded", "true")], ids=["leaky", "true"])
def golden(shared: Path, request: pytest.FixtureRequest) -> Golden:
    """The network in one mode, its parameters, and everything that TensorFlow wrote."""
    file, block_bias = request.param
    with np.load(shared / "golden" / f"arm_x2_{file}.npz") as archive:
        data = dict(archive)
    upscale, blocks, features, expand = (int(value) for value in data["meta"])
    net = sr.sesr(blocks, features, upscale, expand, dialect="arm", block_bias=block_bias)
    return net, {name: data[name] for name in net.param_shapes()}, data


def test_the_data_is_worth_comparing_with(golden: Golden) -> None:
    """Biases, slopes and clipped pixels are there: a network without them would differ."""
    _, params, data = golden
    assert all(np.abs(value).max() > 1e-3 for value in params.values())
    assert ((data["y"] > 0) & (data["y"] < 1)).mean() > 0.5
    stored = {name.removeprefix("grad:") for name in data if name.startswith("grad:")}
    assert stored == set(params)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_outputs_are_tensorflows(golden: Golden, dtype: Any) -> None:
    net, params, data = golden
    y = sr.run(net, params, data["x"].astype(dtype))
    assert y.dtype == dtype
    np.testing.assert_allclose(y, data["y"], rtol=0, atol=5e-6)


def test_expanded_outputs_are_tensorflows(golden: Golden) -> None:
    net, params, data = golden
    if net.layers[1].bias == "leaky":  # type: ignore[attr-defined]
        with pytest.raises(ValueError, match="no expanded form"):
            sr.expanded(net)
        return
    tensors = sr.forward(sr.expanded(net), sr.expand_params(net, params), data["x"])
    np.testing.assert_allclose(tensors["clip"], data["y"], rtol=0, atol=5e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_losses_and_gradients_are_tensorflows(golden: Golden, dtype: Any) -> None:
    net, params, data = golden
    x, target = data["x"].astype(dtype), data["target"].astype(dtype)
    loss, grads = sr.loss_and_grads(net, params, x, target)
    assert loss == pytest.approx(float(data["loss"]), rel=1e-6)
    for name, grad in grads.items():
        expected = data[f"grad:{name}"]
        atol = 1e-3 * np.abs(expected).max()
        np.testing.assert_allclose(grad, expected, rtol=0, atol=atol, err_msg=name)


def test_the_two_modes_are_different_models(golden: Golden) -> None:
    """The official collapsed mode is not the collapse of its expanded mode."""
    net, params, data = golden
    other = "true" if net.layers[1].bias == "leaky" else "leaky"  # type: ignore[attr-defined]
    upscale, blocks, features, expand = (int(value) for value in data["meta"])
    net = sr.sesr(blocks, features, upscale, expand, dialect="arm", block_bias=other)
    y = sr.run(net, params, data["x"])
    assert np.abs(y - data["y"]).max() > 1e-2
