"""Convolutions in a training program: forward, and the gradients of weight and input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_kernels import training_step as step
from sesr_kernels.convolve import AFTER, KEEP, OUTS, PRELU, RELU
from sesr_kernels.packing import pack, pad_outputs, round_up, transposed
from sesr_kernels.phases import phase_weight, phase_weight_vjp
from sesr_kernels.rows import COLUMNS, ROWS
from sesr_kernels.schedule import Unsupported
from sesr_kernels.training_plan import conv_size
from sesr_kernels.training_program import Program

Array = npt.NDArray[Any]
Params = dict[str, Array]
ACTIVATIONS = ("PReLU", "ReLU", "LeakyReLU")


def _conv_spec(layer: Any) -> tuple[int, int, Callable[[Params], Array]]:
    """Kernel size, phases and weight of a convolution or a transposed one."""
    name = f"{layer.shares or layer.name}.weight"
    if type(layer).__name__ == "Conv":
        return layer.kernel_size, 1, lambda params: params[name]
    stride, crop = layer.stride, layer.crop
    return conv_size(layer), stride**2, lambda params: phase_weight(params[name], stride, crop)


def conv(p: Program, layer: Any, inputs: tuple[str, ...]) -> None:
    """Forward, with the activation that follows where nobody else reads what lies between."""
    size, phases, weight = _conv_spec(layer)
    if size not in (1, 3, 5) or getattr(layer, "groups", 1) != 1:
        raise Unsupported("convolution")
    channels, features = p.channels[inputs[0]], layer.features * phases
    p.channels[layer.name] = features
    if phases > 1:
        p.shuffled.add(layer.name)
    readers = p.readers.get(layer.name, [])
    follower: Any = readers[0] if len(readers) == 1 else None
    kind = type(follower).__name__
    groups = -(-features // OUTS)
    packed = p.plan.pack(
        groups * OUTS * size * size * channels, lambda params: pack(weight(params))
    )
    bias = _bias(p, layer, phases, groups * OUTS)
    target = p.plan.allocate(features)
    kept, slope, flags = target, bias, 0
    if kind in ACTIVATIONS and phases == 1:
        p.fused[layer.name] = follower.name
        slope, _ = slope_of(p, follower, features)
        flags = RELU if kind == "ReLU" else PRELU | KEEP
        kept = target if kind == "ReLU" else p.plan.allocate(features)
        p.tensors[follower.name] = target
        p.kept[follower.name] = kept
    p.tensors[layer.name] = kept
    p.emit(step.CONV, p.tensors[inputs[0]], size, channels, groups, packed, bias, target, kept,
           round_up(features, OUTS), slope, 0, 0, 0, 0, flags)  # fmt: skip


def _bias(p: Program, layer: Any, phases: int, size: int) -> int:
    name = f"{layer.shares or layer.name}.bias"
    if not layer.bias:
        return p.plan.pack(size, lambda params: np.zeros(size, np.float32))
    return p.plan.pack(size, lambda params: pad_outputs(np.tile(params[name], phases)))


def conv_vjp(p: Program, layer: Any, inputs: tuple[str, ...]) -> None:
    """Gradients of the weight and, where something trained lies before it, of the input."""
    size, phases, weight = _conv_spec(layer)
    (x,) = inputs
    channels, features = p.channels[x], layer.features * phases
    dy = p.gradients.pop(layer.name)
    stride = p.plan.plane_bytes
    pitch = int(p.plan.geometry[step.PITCH])
    half = size // 2
    shifts = [
        c * stride + 4 * ((i - half) * pitch + j - half)
        for c in range(channels) for i in range(size) for j in range(size)
    ]  # fmt: skip
    ones = p.plan.ones - p.tensors[x]
    shifts += [ones] * (round_up(len(shifts) + 1, COLUMNS) - len(shifts))
    first = len(p.plan.shifts)
    p.plan.shifts += shifts
    groups, columns = -(-features // ROWS), len(shifts) // COLUMNS
    unpack = _unpack_weight(layer, size, channels, features, groups, columns)
    result = p.plan.reserve(groups * columns * ROWS * COLUMNS, unpack)
    p.emit(step.CORRELATE, dy, p.tensors[x], groups, first, columns, result)
    if p.trained[x]:
        _input_gradient(p, x, dy, size, features, weight)
    p.plan.release(dy, features)


def _input_gradient(
    p: Program, x: str, dy: int, size: int, features: int, weight: Callable[[Params], Array]
) -> None:
    channels = p.channels[x]
    groups = -(-channels // OUTS)
    packed = p.plan.pack(
        groups * OUTS * size * size * features, lambda params: pack(transposed(weight(params)))
    )
    bias = p.plan.pack(groups * OUTS, lambda params: np.zeros(groups * OUTS, np.float32))
    flags = AFTER if x in p.gradients else 0
    target = p.gradients.setdefault(x, -1)
    if target < 0:
        target = p.gradients[x] = p.plan.allocate(channels)
    p.emit(step.CONV, dy, size, features, groups, packed, bias, target, target,
           round_up(channels, OUTS), bias, target, p.plan.plane_bytes, 0, 0, flags)  # fmt: skip


def _unpack_weight(
    layer: Any, size: int, channels: int, features: int, groups: int, columns: int
) -> Callable[[Array], Params]:
    name = layer.shares or layer.name

    def unpack(values: Array) -> Params:
        blocks = values.reshape(groups, columns, ROWS, COLUMNS).transpose(1, 3, 0, 2)
        table = blocks.reshape(columns * COLUMNS, groups * ROWS)[:, :features]
        taps = channels * size * size
        dweight = table[:taps].reshape(channels, size, size, features).transpose(1, 2, 0, 3)
        result: Params = {}
        if type(layer).__name__ == "ConvTranspose":
            dweight = phase_weight_vjp(dweight, layer.kernel_size, layer.stride, layer.crop)
        result[f"{name}.weight"] = dweight
        if layer.bias:
            result[f"{name}.bias"] = table[taps].reshape(-1, layer.features).sum(0)
        return result

    return unpack


def slope_of(p: Program, layer: Any, channels: int) -> tuple[int, int]:
    """Where an activation's slopes are, and how many floats lie between two channels'."""
    name = f"{layer.shares or layer.name}.slope"
    fixed = getattr(layer, "slope", 0.0)
    size = round_up(channels, OUTS)
    if type(layer).__name__ == "PReLU":
        found = p.plan.pack(size, lambda params: pad_outputs(params[name]))
    else:
        found = p.plan.pack(size, lambda params: np.full(size, fixed, np.float32))
    p.slopes[layer.name] = (found, 1)
    return p.slopes[layer.name]
