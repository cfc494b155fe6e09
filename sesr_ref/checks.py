"""Checks that networks, parameters and images fit each other, made once where they come in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sesr_ref import network as nw
from sesr_ref.limits import check, shown
from sesr_ref.ops.arrays import Array, Params, check_finite, check_floats, check_images, check_shape


def layer_params(layer: nw.Layer, params: Params) -> Params:
    """The layer's own parameters (or those it shares) by their short names, in its order."""
    owner = layer.shares or layer.name
    return {key: params[f"{owner}.{key}"] for key in layer.param_shapes(1)}


def check_runnable(net: nw.Network, params: Params, x: Array) -> None:
    """Raise ValueError unless `net` has primitives only and parameters and images fit it.

    Parameters
    ----------
    net : Network
        The network to run.
    params : dict of arrays
        The network's parameters in their shapes, and no others.
    x : (n, height, width, channels) float array
        Images with the network's number of channels and finite values.

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
                f"layer {layer.name!r} is a {type(layer).__name__}, not a primitive: "
                "rewrite the network with collapsed() or expanded() first"
            )


def check_input(net: nw.Network, x: Array) -> None:
    """Raise ValueError unless `x` are images of the network's channels with finite values."""
    check_images(x)
    needed = f"(n, height, width, {net.channels})"
    check(x.shape[3] == net.channels, f"{net.name}: the shape of images", needed, x.shape)
    check_finite("the images", x)


def check_network(net: nw.Network) -> None:
    """Raise ValueError unless `net` is a Network."""
    needed = "a Network, as sesr() returns it and load() reads it with its parameters"
    check(isinstance(net, nw.Network), "the network", needed, net)


def check_params(net: nw.Network, params: Params) -> None:
    """Raise ValueError unless `params` are the parameters of `net` in name, shape and dtype."""
    check_network(net)
    mapping = isinstance(params, Mapping)
    check(mapping, f"{net.name}: parameters", "a dict of arrays", type(params))
    needed = net.param_shapes()
    check_names(f"{net.name}: parameter", params, needed)
    for name, shape in needed.items():
        check_floats(name, params[name])
        check_shape(name, params[name], shape)


def check_names(what: str, got: Iterable[str], needed: Iterable[str]) -> None:
    """Raise ValueError, naming one, if a name is missing or not expected."""
    given, known = set(got), set(needed)
    if odd := sorted(known - given) or sorted(given - known, key=str):
        state = "missing" if odd[0] in known else "not expected"
        raise ValueError(f"{what} {shown(odd[0])} is {state}")
