"""A network without linear blocks in PyTorch (NCHW), by one rule for each kind of layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from sesr_ref import network as nw
from sesr_ref.checks import layer_params
from sesr_ref.ops.arrays import Array, Params

Constants = dict[str, Any]


def _conv(layer: nw.Conv, own: Constants, x: Any) -> Any:
    padding = layer.side // 2
    return F.conv2d(x, own["weight"], own.get("bias"), 1, padding, 1, layer.groups)


def _conv_transpose(layer: nw.ConvTranspose, own: Constants, x: Any) -> Any:
    extra = layer.stride - layer.kernel_size + 2 * layer.crop
    return F.conv_transpose2d(x, own["weight"], own.get("bias"), layer.stride, layer.crop, extra)


RULES: dict[type[nw.Layer], Callable[..., Any]] = {
    nw.Conv: _conv,
    nw.ConvTranspose: _conv_transpose,
    nw.PReLU: lambda layer, own, x: F.prelu(x, own["slope"]),
    nw.ReLU: lambda layer, own, x: F.relu(x),
    nw.Add: lambda layer, own, *xs: sum(xs[1:], xs[0]),
    nw.DepthToSpace: lambda layer, own, x: F.pixel_shuffle(x, layer.block),
}
"""How each kind of layer in the measured networks is computed from its constants and inputs."""
AXES: dict[type[nw.Layer], tuple[int, ...]] = {
    nw.Conv: (3, 2, 0, 1),
    nw.ConvTranspose: (2, 3, 0, 1),
}
"""Axes of our weights (k, k, in, out) in PyTorch's order."""


def torch_function(
    net: nw.Network, params: Params, dtype: str = "float32", keep: bool = False
) -> Callable[[Any], dict[str, Any]]:
    """Make a function from an NCHW tensor to a dict with the output, by its layer's name.

    Parameters
    ----------
    net, params : Network and its parameters
        Depth-to-space in PyTorch's order (mode "CRD").
    dtype : str
        PyTorch's name of the dtype to round constants to; weights are channels last.
    keep : bool
        Whether the dict contains every tensor; otherwise each is freed after its last reader.

    Returns
    -------
    callable
    """
    last = {name: layer.name for layer, inputs in net.steps() for name in inputs}
    steps = [
        (layer, inputs, _constants(layer, layer_params(layer, params), getattr(torch, dtype)))
        for layer, inputs in net.steps()
    ]

    def function(x: Any) -> dict[str, Any]:
        tensors = {"input": x}
        for layer, inputs, own in steps:
            given = [tensors[name] for name in inputs]
            tensors[layer.name] = RULES[type(layer)](layer, own, *given)
            del given
            for name in () if keep else set(inputs):
                if last[name] == layer.name:
                    del tensors[name]
        return tensors

    return function


def _constants(layer: nw.Layer, own: Params, dtype: Any) -> Constants:
    def one(key: str, a: Array) -> Any:
        axes = AXES[type(layer)] if key == "weight" else range(a.ndim)
        tensor = torch.from_numpy(np.ascontiguousarray(a.transpose(*axes)))
        kind = torch.channels_last if a.ndim == 4 else torch.contiguous_format
        return tensor.to(dtype, memory_format=kind)

    return {key: one(key, a) for key, a in own.items()}
