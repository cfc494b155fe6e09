"""Finding linear blocks in a network of plain convolutions, so that they can be collapsed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple, TypeGuard

import numpy as np

from sesr_ref.network import Add, Conv, Layer, LinearBlock, Network
from sesr_ref.ops.arrays import Params


class Pair(NamedTuple):
    """A k x k convolution, the 1 x 1 convolution that alone reads it, and their short skip."""

    expand: Conv
    project: Conv
    skip: Add | None

    @property
    def output(self) -> str:
        """Name of the tensor that the block makes."""
        return (self.skip or self.project).name


def find_linear_blocks(net: Network, params: Params) -> tuple[Network, Params]:
    """Return pairs of convolutions without an activation between them as linear blocks.

    A pair is a k x k convolution and the 1 x 1 convolution that is its only reader, unless the one
    convolution it collapses into would have more weights (a factorisation that saves work, not a
    block to collapse).  An Add of the pair's output and its own input is its short residual.

    Parameters
    ----------
    net : Network
        Such as `sesr_ref.from_onnx` reads, or ``expanded(net)``.
    params : dict of arrays
        Its parameters.

    Returns
    -------
    net : Network
        Each block keeps the name of the pair's output; a missing bias of one of the two becomes 0.
    params : dict of arrays
        The same arrays under the blocks' names.

    Notes
    -----
    Bhardwaj et al. (MLSys 2022), section 3.1: the inverse of `sesr_ref.expanded`.
    """
    steps = dict(net.steps())
    pairs = list(_pairs(net, steps))
    if not pairs:
        return net, params
    blocks = {pair.output: _block(pair, steps[pair.expand]) for pair in pairs}
    gone = {layer.name for pair in pairs for layer in pair if layer}
    layers = [
        blocks.get(layer.name, dataclasses.replace(layer, inputs=inputs))
        for layer, inputs in steps.items()
        if layer.name in blocks or layer.name not in gone
    ]
    out = dict(params)
    for pair in pairs:
        out |= _block_params(pair, out)
    found = dataclasses.replace(net, layers=tuple(layers))
    return found, {name: out[name] for name in found.param_shapes()}


def _pairs(net: Network, steps: dict[Layer, tuple[str, ...]]) -> Iterator[Pair]:
    layers = {layer.name: layer for layer in net.layers}
    readers: dict[str, list[Layer]] = {name: [] for name in ("input", *layers)}
    for layer, inputs in steps.items():
        for name in inputs:
            readers[name].append(layer)
    shared = {layer.shares for layer in net.layers if layer.shares}
    channels = {name: shape[2] for name, shape in net.shapes(16, 24).items()}
    used: set[str] = set()
    for expand in net.layers:
        project = readers[expand.name][0] if len(readers[expand.name]) == 1 else None
        if not _is_plain(expand, shared) or not _is_plain(project, shared) or expand.name in used:
            continue
        (source,) = steps[expand]
        if project.side == 1 and _smaller(expand, project, channels[source]):
            skip = _skip(project, source, readers[project.name], steps, channels)
            used.add(project.name)
            yield Pair(expand, project, skip)


def _is_plain(layer: Layer | None, shared: set[str]) -> TypeGuard[Conv]:
    own = isinstance(layer, Conv) and layer.groups == 1 and len(set(layer.sides)) == 1
    own = own and layer is not None and not layer.shares
    return own and layer is not None and layer.name not in shared


def _smaller(expand: Conv, project: Conv, channels: int) -> bool:
    """Whether collapsing saves weights, or at least costs none."""
    taps = expand.side**2 * channels
    return taps * project.features <= taps * expand.features + expand.features * project.features


def _skip(
    project: Conv,
    source: str,
    readers: list[Layer],
    steps: dict[Layer, tuple[str, ...]],
    channels: dict[str, int],
) -> Add | None:
    only = readers[0] if len(readers) == 1 else None
    if not isinstance(only, Add) or sorted(steps[only]) != sorted((project.name, source)):
        return None
    return only if channels[source] == project.features else None


def _block(pair: Pair, inputs: tuple[str, ...]) -> LinearBlock:
    return LinearBlock(
        pair.output,
        pair.project.features,
        pair.expand.side,
        pair.expand.features,
        residual=pair.skip is not None,
        bias="true" if pair.expand.bias or pair.project.bias else "none",
        inputs=inputs,
    )


def _block_params(pair: Pair, params: Params) -> Params:
    expand, project = (params[f"{conv.name}.weight"] for conv in (pair.expand, pair.project))
    name = pair.output
    own = {f"{name}.expand": expand, f"{name}.project": project}
    for key, conv in (("expand_bias", pair.expand), ("project_bias", pair.project)):
        zeros = np.zeros(conv.features, expand.dtype)
        own[f"{name}.{key}"] = params.get(f"{conv.name}.bias", zeros)
    return own
