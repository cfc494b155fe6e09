"""From a network's layers to the operations of a schedule: one rule for each kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sesr_kernels.blocks.winograd import MOST_CHANNELS
from sesr_kernels.description import pointwise
from sesr_kernels.description.layers import (
    Add,
    Concat,
    Conv,
    ConvTranspose,
    DepthToSpace,
    Layer,
    Network,
    Resize,
    Unsupported,
    kind_of,
    side_of,
)
from sesr_kernels.description.phases import reach
from sesr_kernels.inference.lowering import Lowering
from sesr_kernels.inference.operands import (
    ADD,
    CONCAT,
    CONVOLUTION,
    POINTWISE,
    RESIZE,
    SHUFFLE,
    WINOGRAD,
)
from sesr_kernels.inference.resampling import enlargement
from sesr_kernels.inference.schedule import (
    Applying,
    Convolving,
    Enlarging,
    Operation,
    Schedule,
    Shuffling,
)
from sesr_kernels.inference.weights import conv_parts

MAX_KERNEL_SIZE = 31
"""Half of it must fit the padding of a row."""
WINOGRAD_CHANNELS = {3: (8, 8), 5: (8, 4)}
"""Kernel size: with fewer channels in or out, the transforms cost more than they save."""


def lower(net: Network, winograd: bool = False) -> Schedule:
    """Write the schedule of a network without linear blocks.

    Parameters
    ----------
    net : Network
        As `description.layers` reads it.
    winograd : bool
        Whether 3 x 3 and 5 x 5 convolutions use Winograd's algorithm where it pays.

    Returns
    -------
    Schedule
        Its rings not yet sized.

    Raises
    ------
    Unsupported
        For a kind of layer that has no rule here.
    """
    p = Lowering(net, winograd)
    for layer, _ in p.steps:
        if (kind := kind_of(layer)) not in RULES:
            raise Unsupported(kind)
    for layer, inputs in p.steps:
        if layer.name not in p.done:  # else a convolution's store makes it
            p.layer = layer.name
            RULES[type(layer).__name__](p, layer, inputs)
    p.layer = ""
    p.store()
    return p.schedule


Write = Callable[[Lowering, Any, tuple[str, ...]], None]
"""Writes the operations of one kind of layer; each takes the Protocol of its kind."""


def _conv(p: Lowering, layer: Conv, inputs: tuple[str, ...]) -> None:
    if (size := side_of(layer)) > MAX_KERNEL_SIZE:
        raise Unsupported(f"a {size} x {size} kernel")
    then, given, split = p.followers(layer.name), p.given(inputs[0]), conv_parts(layer)
    channels = (given.channels // split, layer.features // split)
    source = p.number[inputs[0]]
    p.emit(
        Operation(
            WINOGRAD if p.winograd and _pays(size, channels, split) else CONVOLUTION,
            p.like(inputs[0], then.names[-1], layer.features),
            source=source,
            second=then.second,
            third=then.third,
            reach=size // 2,
            work=Convolving(layer, size, then.epilogue, then.activation),
            layers=then.names,
        )
    )


def _pays(size: int, channels: tuple[int, int], split: int) -> bool:
    """Whether Winograd's algorithm is faster, and can take so many channels in and out."""
    fewest = WINOGRAD_CHANNELS.get(size)
    if fewest is None or channels[0] * split > MOST_CHANNELS:
        return False
    return channels[0] >= fewest[0] and channels[1] >= fewest[1]


def _conv_transpose(p: Lowering, layer: ConvTranspose, inputs: tuple[str, ...]) -> None:
    if layer.kernel_size > MAX_KERNEL_SIZE:
        raise Unsupported(f"a {layer.kernel_size} x {layer.kernel_size} kernel")
    half, (source,) = reach(layer.kernel_size, layer.stride, layer.crop), inputs
    number, scale = p.number[source], p.given(source).scale
    subpixels = p.like(source, layer.name, layer.features * layer.stride**2)
    taps = Convolving(layer, 2 * half + 1)
    p.emit(Operation(CONVOLUTION, subpixels, number, reach=half, work=taps))
    if layer.name not in p.tail:
        target = p.tensor(layer.name, layer.features, scale * layer.stride)
        blocks = Shuffling(layer.stride, "DCR")
        p.emit(Operation(SHUFFLE, target, subpixels, ratio=layer.stride, work=blocks))


def _pairwise(kind: int) -> Write:
    def rule(p: Lowering, layer: Add | Concat, inputs: tuple[str, ...]) -> None:
        first, *rest = (p.number[i] for i in inputs)
        tensors = p.schedule.tensors
        p.number[layer.name] = first
        for other in rest:
            grown = tensors[other].channels if kind == CONCAT else 0
            given = tensors[first]
            target = p.tensor(layer.name, given.channels + grown, given.scale)
            p.emit(Operation(kind, target, first, other))
            first = target

    return rule


def _shuffle(p: Lowering, layer: DepthToSpace, inputs: tuple[str, ...]) -> None:
    source, given = p.number[inputs[0]], p.given(inputs[0])
    if layer.name in p.tail:
        p.number[layer.name] = source
        return
    target = p.tensor(layer.name, given.channels // layer.block**2, given.scale * layer.block)
    work = Shuffling(layer.block, layer.mode)
    p.emit(Operation(SHUFFLE, target, source, ratio=layer.block, work=work))


def _resize(p: Lowering, layer: Resize, inputs: tuple[str, ...]) -> None:
    source, given = p.number[inputs[0]], p.given(inputs[0])
    reach = enlargement(layer.upscale, layer.mode).reach
    buffer = p.tensor(layer.name, 1, given.scale)
    target = p.tensor(layer.name, given.channels, given.scale * layer.upscale)
    work = Enlarging(layer, buffer)
    p.emit(Operation(RESIZE, target, source, reach=reach, ratio=layer.upscale, work=work))


def _pointwise(p: Lowering, layer: Layer, inputs: tuple[str, ...]) -> None:
    source = p.number[inputs[0]]
    target = p.like(inputs[0], layer.name)
    p.emit(Operation(POINTWISE, target, source, work=Applying(layer)))


RULES: dict[str, Write] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Add": _pairwise(ADD),
    "Concat": _pairwise(CONCAT),
    "DepthToSpace": _shuffle,
    "Resize": _resize,
    **dict.fromkeys(pointwise.POINTWISE, _pointwise),
}
