"""Reduce a composite to a few channels: the same body, small enough for fractions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sesr_ref.layers.composite import INPUT, steps
from sesr_ref.linear.numbers import Params
from sesr_ref.network import Composite, Conv, Layer, Linear, NetworkError, Rules, Slice


def part_of(block: Linear, channels: int, own: Params, most: int) -> tuple[Linear, int, Params]:
    """Reduce a composite to fewer channels, with a part of its own parameters.

    Parameters
    ----------
    block : Linear
        The composite.
    channels : int
        Channels of its input.
    own : dict of arrays
        Its parameters, ``layer.parameter``.
    most : int
        Channels that an input, a slice or a convolution without groups keeps.

    Returns
    -------
    block : Linear
        The part; the whole composite if a part of it is not a valid body.
    channels : int
        Channels of the part's input.
    own : dict of arrays
        The part's parameters.
    """
    try:
        part = _part(block, channels, most)
        shapes = part.param_shapes(min(channels, most))
    except NetworkError:
        return block, channels, own
    cut = {key: own[key][tuple(map(slice, shape))] for key, shape in shapes.items()}
    return part, min(channels, most), cut


def _part(block: Linear, channels: int, most: int) -> Composite:
    whole, shapes = block.tensors(channels), {INPUT: (16, 24, min(channels, most))}
    layers: list[Layer] = []
    for layer, inputs in steps(block.body):
        sources, before = [shapes[name] for name in inputs], whole[inputs[0]].channels
        layers.append(FEWER[type(layer)](layer, before, sources[0][2], most))
        shapes[layer.name] = layers[-1].out_shape(*sources)
    return Composite(block.name, tuple(layers), block.border)


def _conv(layer: Conv, before: int, channels: int, most: int) -> Conv:
    if layer.groups == 1:
        return replace(layer, features=min(layer.features, most))
    groups = max(1, channels // (before // layer.groups))
    return replace(layer, groups=groups, features=layer.features // layer.groups * groups)


def _slice(layer: Slice, before: int, channels: int, most: int) -> Slice:
    width = min(layer.stop - layer.start, most)
    start = min(layer.start, channels - width)
    return replace(layer, start=start, stop=start + width)


# kind: (layer, channels of its first input, how many remain, most) -> the layer in the part
FEWER: Rules[Callable[[Any, int, int, int], Layer]] = Rules(
    {Layer: lambda layer, before, channels, most: layer, Conv: _conv, Slice: _slice}
)
