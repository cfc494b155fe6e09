"""Convolutions in a training program: the gradients of their weights and inputs."""

from __future__ import annotations

from collections.abc import Callable

from sesr_kernels.blocks.convolve import AFTER, OUTS
from sesr_kernels.blocks.rows import COLUMNS
from sesr_kernels.blocks.winograd_rows import ACTIVATED
from sesr_kernels.description.layers import (
    Convolution,
    Layer,
    is_conv_transpose,
    parameter,
)
from sesr_kernels.description.packing import round_up, transposed
from sesr_kernels.description.phases import phase_weight_vjp
from sesr_kernels.machine.host import HOST
from sesr_kernels.training import operands
from sesr_kernels.training.conv import (
    Spec,
    by_winograd,
    conv_spec,
    fused_function,
    place_bias,
    place_weight,
)
from sesr_kernels.training.numbers import place_sums
from sesr_kernels.training.plan import Array, Gradients
from sesr_kernels.training.program import Program


def conv_vjp(p: Program, layer: Convolution, inputs: tuple[str, ...]) -> None:
    """Gradients of the weight and, where something trained lies before it, of the input."""
    (x,) = inputs
    spec, dy = conv_spec(layer), p.gradients.pop(layer.name)
    features = layer.features * spec.subpixels
    _weight_gradient(p, layer, x, dy, spec.kernel_size, features)
    if p.trained[x]:
        _input_gradient(p, layer, x, dy, spec, features)
    p.plan.release(dy, features)


def _weight_gradient(
    p: Program, layer: Convolution, x: str, dy: int, size: int, features: int
) -> None:
    channels, outs = p.channels[x], HOST.blocks(features)
    blocks, columns = -(-features // outs), -(-(channels * size * size + 1) // COLUMNS)
    unpack = _unpack_weight(layer, size, channels, features, blocks, columns)
    common = {
        "dy": dy,
        "source": p.tensors[x],
        "outs": outs,
        "blocks": blocks,
        "sums": p.plan.reserve(blocks * columns * outs * COLUMNS, unpack),
    }
    if by_winograd(p, size, channels, features):
        p.emit(
            operands.WinogradWeightGradient(
                **common,
                kernel_size=size,
                channels=channels,
                shifts=_shifts(p, _band_shifts(p, channels, size)),
                ones=p.plan.ones,
                source_slopes=p.lazy.get(x, -1),
            )
        )
    else:
        first = _shifts(p, _plane_shifts(p, x, size))
        p.emit(operands.WeightGradient(**common, columns=columns, shifts=first))


def _shifts(p: Program, shifts: list[int]) -> int:
    """Place of a table of inputs' offsets, filled up to whole blocks."""
    first = len(p.plan.shifts)
    p.plan.shifts += shifts + shifts[-1:] * (-len(shifts) % COLUMNS)
    return first


def _plane_shifts(p: Program, x: str, size: int) -> list[int]:
    """Offsets of a weight gradient's inputs: channel by channel, tap by tap, then ones."""
    pitch, half = p.plan.geometry.pitch, size // 2
    shifts = [
        c * p.plan.plane_bytes + 4 * ((i - half) * pitch + j - half)
        for c in range(p.channels[x])
        for i in range(size)
        for j in range(size)
    ]
    return [*shifts, p.plan.ones - p.tensors[x]]


def _band_shifts(p: Program, channels: int, size: int) -> list[int]:
    """Those of one point in a band: channel by channel, column by column."""
    line = p.plan.geometry.long_line
    return [4 * (c * line + j) for c in range(channels) for j in range(size)]


def _input_gradient(
    p: Program, layer: Convolution, x: str, dy: int, spec: Spec, features: int
) -> None:
    """The gradient of what it read: a convolution of `dy` with the taps reversed."""
    size, channels = spec.kernel_size, p.channels[x]
    outs, planes = HOST.blocks(channels), round_up(channels, OUTS)
    packed = place_weight(
        p, size, features, channels, lambda params: transposed(spec.weight(params))
    )
    zero_bias = place_bias(p, None, planes)
    # others have given a part already: the sum is done on the way
    epilogue = AFTER if x in p.gradients else 0
    if x not in p.gradients:
        p.gradients[x] = p.plan.allocate(channels)
    common = {
        "source": dy,
        "kernel_size": size,
        "channels": features,
        "outs": outs,
        "blocks": -(-channels // outs),
        "weight": packed,
        "bias": zero_bias,
        "target": p.gradients[x],
        "planes": planes,
        "kept": p.gradients[x],
        "after": p.gradients[x],
    }
    if not by_winograd(p, size, features, channels):
        p.emit(operands.DirectConvolution(**common, slope=zero_bias, epilogue=epilogue))
        return
    slope, seen, sums = zero_bias, 0, 0
    if (before := _activation_before(p, layer, x)) is not None:
        p.fused_vjp.add(x)
        epilogue |= ACTIVATED
        slope, _ = p.numbers[x]
        seen, sums = p.kept[x], place_sums(p, before, channels)
    p.emit(
        operands.WinogradConvolution(
            **common, slope=slope, epilogue=epilogue, source_slopes=-1, seen=seen, sums=sums
        )
    )


def _activation_before(p: Program, layer: Layer, x: str) -> Layer | None:
    """The activation that made `x`, if `layer` is the last to give a part of the gradient."""
    for maker, _ in p.steps:
        if maker.name == x and fused_function(maker) and x not in p.shuffled:
            return maker if p.readers[x][0] is layer else None
    return None


def _unpack_weight(
    layer: Convolution, size: int, channels: int, features: int, blocks: int, columns: int
) -> Callable[[Array], Gradients]:
    """How the gradients of weight and bias are read off the reduced sums."""

    def unpack(values: Array) -> Gradients:
        groups = values.reshape(blocks, columns, -1, COLUMNS).transpose(1, 3, 0, 2)
        rows = groups.reshape(columns * COLUMNS, -1)[:, :features]
        taps = channels * size * size
        dweight = rows[:taps].reshape(channels, size, size, features).transpose(1, 2, 0, 3)
        if is_conv_transpose(layer):
            dweight = phase_weight_vjp(dweight, layer.kernel_size, layer.stride, layer.crop)
        result = {parameter(layer, "weight"): dweight}
        if layer.bias:
            result[parameter(layer, "bias")] = rows[taps].reshape(-1, layer.features).sum(0)
        return result

    return unpack
