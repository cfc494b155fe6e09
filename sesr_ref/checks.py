"""Whether networks, parameters and images fit each other, checked once where they come in."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sesr_ref import network as nw
from sesr_ref.ops.arrays import Array, Params, check_images


def layer_params(layer: nw.Layer, params: Params) -> Params:
    """The layer's own parameters (or those it shares) by their short names, in its order."""
    owner = layer.shares or layer.name
    return {key: params[f"{owner}.{key}"] for key in layer.param_shapes(1)}


def check_runnable(net: nw.Network, params: Params, x: Array) -> None:
    """Raise ValueError unless `net` has primitives only and parameters and images fit it.

    Parameters
    ----------
    net : Network
        What shall run.
    params : dict of arrays
        Must hold the network's parameters, no other, in their shapes.
    x : (n, height, width, channels) float array
        Must have the network's channels and finite values.

    Raises
    ------
    ValueError
        Naming the first layer, parameter or size that is wrong.
    """
    check_primitive(net)
    check_params(net, params)
    check_input(net, x)


def check_primitive(net: nw.Network) -> None:
    """Raise ValueError unless `net` has primitives only, naming the first other layer."""
    check_network(net)
    for layer in net.layers:
        if type(layer) not in nw.PRIMITIVES:
            raise ValueError(
                f"layer {layer.name!r} is a {type(layer).__name__}, which is no primitive: "
                "rewrite the network with collapsed() or expanded() first"
            )


def check_input(net: nw.Network, x: Array) -> None:
    """Raise ValueError unless `x` are images of the network's channels with finite values."""
    check_images(x)
    if x.shape[3] != net.channels:
        raise ValueError(
            f"{net.name} takes images of {net.channels} channel(s), got shape {x.shape}"
        )
    if not np.isfinite(x).all():
        raise ValueError("the images hold NaN or infinite values")


def check_network(net: nw.Network) -> None:
    """Raise ValueError unless `net` is a Network."""
    if not isinstance(net, nw.Network):
        raise ValueError(
            "a Network is needed, such as sesr() makes and load() reads with its parameters, "
            f"got {net!r:.200}"
        )


def check_params(net: nw.Network, params: Params) -> None:
    """Raise ValueError unless `params` are the parameters of `net` in name, shape and dtype."""
    check_network(net)
    if not isinstance(params, Mapping):
        raise ValueError(
            f"{net.name}: parameters must be a dict of arrays, got {type(params).__name__}"
        )
    needed = net.param_shapes()
    if missing := sorted(set(needed) - set(params)):
        raise ValueError(f"{net.name}: parameter {missing[0]!r} is missing")
    if extra := sorted(set(params) - set(needed)):
        raise ValueError(f"{net.name} has no parameter {extra[0]!r}")
    for name, shape in needed.items():
        got = params[name]
        if not isinstance(got, np.ndarray) or got.dtype not in (np.float32, np.float64):
            kind = got.dtype if isinstance(got, np.ndarray) else type(got).__name__
            raise ValueError(f"{name} must be a float32 or float64 array, got {kind}")
        if got.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {got.shape}")
