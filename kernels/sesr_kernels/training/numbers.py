"""Functions of each value in a training program: where their two numbers and their sums are."""

from __future__ import annotations

from sesr_kernels.blocks.convolve import OUTS
from sesr_kernels.blocks.pointwise import FUNCTIONS
from sesr_kernels.description.layers import Layer, parameter
from sesr_kernels.description.packing import round_up
from sesr_kernels.description.pointwise import Floats, numbers_of, pointwise_of
from sesr_kernels.training.program import Program


def place_numbers(p: Program, layer: Layer, channels: int) -> tuple[int, int]:
    """Where both numbers of a layer's function are, channel by channel."""
    every = round_up(channels, OUTS)
    first = p.plan.pack(2 * every, lambda params: numbers_of(layer, params, every))
    p.numbers[layer.name] = first, first + 4 * every
    return p.numbers[layer.name]


def place_sums(p: Program, layer: Layer, channels: int) -> int:
    """Place of the partial sums of the first number's gradients; -1 where none are made."""
    own = pointwise_of(layer)
    assert own is not None
    if FUNCTIONS[own.function].by_first is None:
        return -1
    name = parameter(layer, own.learnt)

    def gradients(values: Floats) -> dict[str, Floats]:
        sums = values[:channels]
        return {name: sums if own.per_channel else sums.sum(keepdims=True)}

    # a fixed slope's sums are made as well, and not read
    return p.plan.reserve(round_up(channels, OUTS), gradients if own.learnt else lambda values: {})
