"""What the kernels read of each layer: weights, biases and numbers, padded and packed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_kernels.blocks.convolve import OUTS, WIDTHS
from sesr_kernels.description.layers import Convolution, is_conv, is_conv_transpose, parameter
from sesr_kernels.description.packing import pack, pad_outputs, round_up
from sesr_kernels.description.phases import phase_weight
from sesr_kernels.machine.host import HOST

Array = npt.NDArray[Any]
Params = Mapping[str, Array]


def conv_parts(layer: Convolution) -> int:
    """How many parts of a convolution read channels of their own: its groups, if possible."""
    groups = layer.groups if is_conv(layer) else 1
    features = layer.features // groups
    # outputs of a group that fill no whole blocks: one convolution whose other weights are zero
    return groups if features % HOST.blocks(features) == 0 else 1


def dense(layer: Convolution, params: Params) -> Array:
    """Weight of a convolution of any kind as one of the plain kind, of each of its parts."""
    weight = params[parameter(layer, "weight")]
    if is_conv_transpose(layer):
        return phase_weight(weight, layer.stride, layer.crop)
    groups = layer.groups if is_conv(layer) else 1
    return weight if conv_parts(layer) == groups else _with_zeros(weight, groups)


def packed_weight(layer: Convolution, params: Params, outs: int) -> Array:
    """Weight of a convolution in the kernel's order, for blocks of `outs`."""
    weight = dense(layer, params)
    if len(weight) > max(WIDTHS):  # the kernel takes every tap for a row
        weight = weight.reshape(-1, 1, *weight.shape[2:])
    return pack(weight, outs)


def _with_zeros(weight: Array, groups: int) -> Array:
    """Write a grouped convolution as one whose other weights are zero."""
    height, width, channels, features = weight.shape
    result = np.zeros((height, width, channels * groups, features), weight.dtype)
    per = features // groups
    for g in range(groups):
        ins, outs = slice(g * channels, (g + 1) * channels), slice(g * per, (g + 1) * per)
        result[:, :, ins, outs] = weight[..., outs]
    return result


def bias_of(layer: Convolution, params: Params, features: int) -> Array:
    """Bias of every feature, zero without one."""
    if not layer.bias:
        return np.zeros(round_up(features, OUTS), np.float32)
    bias = params[parameter(layer, "bias")]
    # of a transposed convolution every phase has the same
    return pad_outputs(np.tile(bias, features // len(bias)))
