"""The variant that the paper runs on an NPU: ReLU instead of PReLU, no input residual."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from sesr_ref.network import Add, Layer, Network, PReLU, ReLU

# kind: its replacement, given the layer and the names of its inputs
REPLACED: dict[type[Layer], Callable[[Layer, tuple[str, ...]], Layer]] = {
    PReLU: lambda layer, read: ReLU(layer.name, inputs=read),
}


def hardware_variant(net: Network) -> Network:
    """Replace every PReLU by ReLU, and remove the addition of the network's input.

    Parameters
    ----------
    net : Network
        A collapsed network.

    Returns
    -------
    Network

    Notes
    -----
    Bhardwaj et al. (MLSys 2022), section 4.5: the networks of Table 3.
    """
    left_out: dict[str, str] = {}
    layers: list[Layer] = []
    for layer, inputs in net.steps():
        read = tuple(left_out.get(name, name) for name in inputs)
        if isinstance(layer, Add) and "input" in read:
            left_out[layer.name] = next(name for name in read if name != "input")
        else:
            rule = REPLACED.get(type(layer), _kept)
            layers.append(rule(layer, read))
    return dataclasses.replace(net, layers=tuple(layers))


def _kept(layer: Layer, read: tuple[str, ...]) -> Layer:
    return dataclasses.replace(layer, inputs=read)
