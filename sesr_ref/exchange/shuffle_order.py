"""Depth-to-space in the order that a target wants: DCR (TensorFlow) or CRD (PyTorch).

The permutation of channels that tells them apart moves up into the weights of the convolution
ahead, so that it costs nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_ref import network as nw
from sesr_ref.checks import check_params, check_primitive
from sesr_ref.ops.arrays import Params

Order = npt.NDArray[np.intp]
"""New channel i is the old channel ``order[i]``."""


@dataclasses.dataclass
class _Move:
    """A network while the channels of its tensors are put in another order."""

    layers: dict[str, nw.Layer]
    inputs: dict[str, tuple[str, ...]]
    channels: dict[str, int]
    params: Params

    def reorder(self, name: str, order: Order, reader: str) -> None:
        """Make the tensor `name`, which `reader` reads, in another order of its channels."""
        if (order == np.arange(len(order))).all():
            return
        others = [n for n, inputs in self.inputs.items() if name in inputs and n != reader]
        if name == "input" or others:
            why = f"{others[0]!r} reads it too" if others else "nothing makes it"
            raise ValueError(f"the channels of {name!r} cannot be put in another order: {why}")
        RULES[type(self.layers[name])](self, self.layers[name], order)


def _features(move: _Move, layer: nw.Conv | nw.ConvTranspose, order: Order) -> None:
    if (isinstance(layer, nw.Conv) and layer.groups > 1) or _is_shared(move, layer):
        raise ValueError(
            f"the channels of {layer.name!r} cannot be put in another order: "
            "it is grouped or shares its weights"
        )
    for key in ("weight", "bias")[: 1 + layer.bias]:
        full = f"{layer.name}.{key}"
        move.params[full] = np.ascontiguousarray(move.params[full][..., order])


def _prelu(move: _Move, layer: nw.PReLU, order: Order) -> None:
    if _is_shared(move, layer):
        raise ValueError(f"the slopes of {layer.name!r} are shared: their order is fixed")
    move.params[f"{layer.name}.slope"] = move.params[f"{layer.name}.slope"][order]
    _same(move, layer, order)


def _same(move: _Move, layer: nw.Layer, order: Order) -> None:
    for name in move.inputs[layer.name]:
        if move.channels[name] == len(order):
            move.reorder(name, order, layer.name)


def _shuffle(move: _Move, layer: nw.DepthToSpace, order: Order) -> None:
    taps = np.arange(layer.block**2)
    if layer.mode == "DCR":
        before = (taps[:, None] * len(order) + order).ravel()
    else:
        before = (order[:, None] * layer.block**2 + taps).ravel()
    move.reorder(move.inputs[layer.name][0], before, layer.name)


def _concat(move: _Move, layer: nw.Concat, order: Order) -> None:
    raise ValueError(f"the channels of {layer.name!r} cannot be put in another order: it joins")


def _is_shared(move: _Move, layer: nw.Layer) -> bool:
    return bool(layer.shares) or any(la.shares == layer.name for la in move.layers.values())


RULES: nw.Rules[Callable[[_Move, Any, Order], None]] = nw.Rules(
    {
        nw.Conv: _features,
        nw.ConvTranspose: _features,
        nw.Pointwise: _same,
        nw.PReLU: _prelu,
        nw.Add: _same,
        nw.Concat: _concat,
        nw.DepthToSpace: _shuffle,
        nw.Resize: _same,
    }
)
"""How each kind of layer makes its channels in another order."""


def with_shuffle_mode(net: nw.Network, params: Params, mode: str) -> tuple[nw.Network, Params]:
    """Rewrite a network so that every depth-to-space has the same mode.

    Parameters
    ----------
    net : Network
        Without linear blocks: `collapsed` or `expanded` first.
    params : dict of arrays
        Its parameters.
    mode : {"DCR", "CRD"}
        TensorFlow's or PyTorch's order of channels.

    Returns
    -------
    net : Network
        The same function; tensors ahead of a changed shuffle have their channels permuted.
    params : dict of arrays
        With the permuted weights, biases and slopes.

    Raises
    ------
    ValueError
        If a permutation would reach a tensor that somebody else reads, such as the input.
    """
    if mode not in ("DCR", "CRD"):
        raise ValueError(f"mode must be 'DCR' or 'CRD', got {mode!r}")
    check_params(net, params)
    check_primitive(net)
    channels = {name: shape[2] for name, shape in net.shapes(16, 24).items()}
    layers = {layer.name: layer for layer in net.layers}
    steps = {layer.name: inputs for layer, inputs in net.steps()}
    move = _Move(layers, steps, channels, dict(params))
    for layer in net.layers[::-1]:
        if isinstance(layer, nw.DepthToSpace) and layer.mode != mode:
            source = steps[layer.name][0]
            move.reorder(source, _order(channels[source], layer), layer.name)
            layers[layer.name] = dataclasses.replace(layer, mode=mode)
    changed = tuple(layers[layer.name] for layer in net.layers)
    return dataclasses.replace(net, layers=changed), move.params


def _order(channels: int, layer: nw.DepthToSpace) -> Order:
    """Order in which the other mode wants the channels."""
    b2 = layer.block**2
    outer, inner = (b2, channels // b2) if layer.mode == "DCR" else (channels // b2, b2)
    return np.arange(channels).reshape(outer, inner).T.ravel()
