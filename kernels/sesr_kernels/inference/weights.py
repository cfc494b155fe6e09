"""What the kernels read of each layer: weights, biases and slopes, padded and packed."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_kernels.blocks.convolve import OUTS
from sesr_kernels.description.packing import pack, pad_outputs, round_up
from sesr_kernels.description.phases import phase_weight
from sesr_kernels.machine.host import HOST

Array = npt.NDArray[Any]
Params = dict[str, Array]


def parts(layer: Any) -> int:
    """How many parts of a convolution read channels of their own: its groups, if possible."""
    # outputs of a group that fill no whole blocks: one convolution whose other weights are zero
    groups: int = getattr(layer, "groups", 1)
    features = layer.features // groups
    return groups if features % HOST.blocks(features) == 0 else 1


def dense(layer: Any, params: Params) -> Array:
    """Weight of a convolution of any kind as one of the plain kind, of each of its parts."""
    weight = params[f"{layer.shares or layer.name}.weight"]
    if type(layer).__name__ == "ConvTranspose":
        return phase_weight(weight, layer.stride, layer.crop)
    return weight if parts(layer) == layer.groups else _dense(weight, layer.groups)


def packed_weight(layer: Any, params: Params, outs: int) -> Array:
    """Weight of a convolution in the kernel's order, for blocks of `outs`."""
    weight = dense(layer, params)
    if len(weight) > 5:  # the kernel takes every tap for a row
        weight = weight.reshape(-1, 1, *weight.shape[2:])
    return pack(weight, outs)


def _dense(weight: Array, groups: int) -> Array:
    """Write a grouped convolution as one whose other weights are zero."""
    height, width, channels, features = weight.shape
    result = np.zeros((height, width, channels * groups, features), weight.dtype)
    per = features // groups
    for g in range(groups):
        ins, outs = slice(g * channels, (g + 1) * channels), slice(g * per, (g + 1) * per)
        result[:, :, ins, outs] = weight[..., outs]
    return result


def bias_of(layer: Any, params: Params, features: int) -> Array:
    """Bias of every feature, zero without one."""
    if not layer.bias:
        return np.zeros(round_up(features, OUTS), np.float32)
    bias = params[f"{layer.shares or layer.name}.bias"]
    return pad_outputs(np.tile(bias, features // len(bias)))


def slope_of(layer: Any, params: Params, channels: int) -> Array:
    """Slope of every channel of an activation; 0 for ReLU."""
    if type(layer).__name__ == "PReLU":
        return pad_outputs(params[f"{layer.shares or layer.name}.slope"])
    return np.full(round_up(channels, OUTS), getattr(layer, "slope", 0.0), np.float32)
