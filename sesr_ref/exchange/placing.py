"""Modules of a state dict in the places of a network's layers, kind by kind and in order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from sesr_ref import network as nw
from sesr_ref.exchange.layouts import ours, theirs_shape
from sesr_ref.exchange.modules import Module, Modules
from sesr_ref.exchange.torch.names import KEYS
from sesr_ref.exchange.values import MAX_VARIANCE, MAX_WEIGHT, parameter
from sesr_ref.ops.arrays import Array, Params


class Fit(NamedTuple):
    """A network whose parameters some arrays are; `adapted` if its activations had to change."""

    net: nw.Network
    params: Params
    adapted: bool = False


class Misfit(NamedTuple):
    """How many modules fit, and what does not."""

    depth: int
    words: str


def placed(modules: Modules, net: nw.Network) -> Fit | Misfit:
    """Take modules for the layers of a network.

    Parameters
    ----------
    modules : Modules
        Of a state dict.
    net : Network
        What the state dict does not tell of it is taken as PyTorch has it.

    Returns
    -------
    Fit or Misfit
        A network that fits has biases where the modules have them, PReLU where they have slopes and
        ReLU where they have none.
    """
    net = _as_torch_has_it(net)
    if not modules.ordered:
        modules = _in_the_layers_order(modules, net)
    owners = [layer for layer in net.layers if not layer.shares]
    convs = [layer for layer in owners if isinstance(layer, (nw.Conv, nw.ConvTranspose))]
    norms = [layer for layer in owners if isinstance(layer, nw.BatchNorm)]
    acts = _activations(modules, owners)
    if (misfit := _first_difference(modules, convs, net)) is not None:
        return misfit
    if len(norms) != len(modules.norms) or acts is None:
        count, slopes = len(modules.norms), len(modules.slopes)
        words = f"it has {count} normalisation(s) and {slopes} PReLU, {net.name} has others"
        return Misfit(len(convs), words)
    places: dict[nw.Layer, Module | None] = {
        **dict(zip(convs, modules.convs, strict=True)),
        **dict(zip(norms, modules.norms, strict=True)),
        **acts,
    }
    adapted = any(bool(module) != isinstance(layer, nw.PReLU) for layer, module in acts.items())
    return _filled(net, places, adapted)


def _as_torch_has_it(net: nw.Network) -> nw.Network:
    return replace(net, layers=tuple(_torch_layer(layer) for layer in net.layers))


def _torch_layer(layer: nw.Layer) -> nw.Layer:
    if isinstance(layer, nw.DepthToSpace):
        return replace(layer, mode="CRD")
    if isinstance(layer, nw.ConvTranspose) and layer.padding is None and layer.kernel_size % 2:
        half = layer.kernel_size // 2  # with the output_padding that makes up for it
        if 0 <= layer.stride + 2 * half - layer.kernel_size < layer.stride:
            return replace(layer, padding=half)
    return layer


def _in_the_layers_order(modules: Modules, net: nw.Network) -> Modules:
    """Put modules where their shapes fit; those of one shape follow their numbers."""
    shapes = net.param_shapes()
    owners = [layer for layer in net.layers if not layer.shares]
    convs = [
        theirs_shape(shapes[f"{layer.name}.weight"], KEYS[type(layer)]["weight"].layout)
        for layer in owners
        if isinstance(layer, (nw.Conv, nw.ConvTranspose))
    ]
    slopes = [shapes[f"{layer.name}.slope"] for layer in owners if isinstance(layer, nw.PReLU)]
    norms = [shapes[f"{layer.name}.mean"] for layer in owners if isinstance(layer, nw.BatchNorm)]
    return modules._replace(
        convs=_by_shape(modules.convs, "weight", convs),
        norms=_by_shape(modules.norms, "running_mean", norms),
        slopes=_by_shape(modules.slopes, "weight", slopes),
    )


def _by_shape(
    modules: Sequence[Module], key: str, wanted: Sequence[tuple[int, ...]]
) -> list[Module]:
    """Modules in the order of the wanted shapes; ValueError if their names leave it open."""
    if sorted(wanted) != sorted(module.shape(key) for module in modules):
        return list(modules)
    alike: dict[tuple[int, ...], list[Module]] = {}
    for module in modules:
        alike.setdefault(module.shape(key), []).append(module)
    # those of one shape whose names differ by a number follow that; they place their parents, and
    # the parents place the others: first.conv2 stands where first.conv1 does
    known: dict[str, int] = {}
    for shape, group in alike.items():
        if len(_patterns(group)) == 1:
            places = (i for i, other in enumerate(wanted) if other == shape)
            known |= dict(zip(map(_parent, group), places, strict=True))
    for group in alike.values():
        if len(_patterns(group)) > 1:
            _sort_by_parent(group, known)
    return [alike[shape].pop(0) for shape in wanted]


def _patterns(group: Sequence[Module]) -> set[str]:
    """The names of modules without their numbers."""
    return {re.sub(r"\d+", "#", module.name) for module in group}


def _parent(module: Module) -> str:
    return module.name.rpartition(".")[0]


def _sort_by_parent(group: list[Module], known: Mapping[str, int]) -> None:
    parents = {_parent(module) for module in group}
    if len(parents) < len(group) or not parents <= set(known):
        raise ValueError(
            f"{' and '.join(sorted(_patterns(group))[:2])} have the same shape, and the file does "
            "not tell which comes first: save it with torch.save or numpy.savez"
        )
    group.sort(key=lambda module: known[_parent(module)])


def _first_difference(
    modules: Modules, convs: Sequence[nw.Layer], net: nw.Network
) -> Misfit | None:
    shapes = net.param_shapes()
    for i, (module, layer) in enumerate(zip(modules.convs, convs, strict=False)):
        layout = KEYS[type(layer)]["weight"].layout
        wanted = theirs_shape(shapes[f"{layer.name}.weight"], layout)
        if module.shape() != wanted:
            return Misfit(
                i,
                f"convolution {i + 1}, {module.name!r:.200}, has shape {module.shape()}, "
                f"{layer.name!r} of {net.name} has {wanted}",
            )
    if len(modules.convs) != len(convs):
        return Misfit(
            min(len(modules.convs), len(convs)),
            f"it has {len(modules.convs)} convolution(s), {net.name} has {len(convs)}",
        )
    return None


def _activations(
    modules: Modules, owners: Sequence[nw.Layer]
) -> dict[nw.Layer, Module | None] | None:
    """Which slopes each PReLU or ReLU has, None for a ReLU; None if their number fits none."""
    every = [layer for layer in owners if isinstance(layer, (nw.PReLU, nw.ReLU))]
    prelus = [layer for layer in every if isinstance(layer, nw.PReLU)]
    slopes = modules.slopes
    if not slopes:
        return dict.fromkeys(prelus)
    for layers in (prelus, every):
        if layers and len(slopes) in (len(layers), 1):  # one module may be called many times
            return dict(zip(layers, slopes * (len(layers) // len(slopes)), strict=True))
    return None


def _filled(net: nw.Network, places: dict[nw.Layer, Module | None], adapted: bool) -> Fit | Misfit:
    """The network with its layers changed as the modules are, and their arrays as parameters."""
    changed = {layer.name: _changed(layer, module) for layer, module in places.items()}
    layers = [
        replace(
            changed.get(layer.shares or layer.name, layer),
            name=layer.name,
            inputs=layer.inputs,
            shares=layer.shares,
        )
        for layer in net.layers
    ]
    net = replace(net, layers=tuple(layers))
    modules = {layer.name: module for layer, module in places.items()}
    kinds = {layer.name: type(layer) for layer in net.layers}
    params: Params = {}
    for full, shape in net.param_shapes().items():
        name, _, key = full.rpartition(".")
        if (module := modules.get(name)) is None:
            return Misfit(0, f"a state dict has nothing for {full} of {net.name}")
        array = _array(module, kinds[name], key, shape)
        if array.shape != shape:
            return Misfit(len(places), f"{module.name!r:.200} does not fit {full} of {shape}")
        params[full] = array
    return Fit(net, params, adapted)


def _changed(layer: nw.Layer, module: Module | None) -> nw.Layer:
    """The layer with a bias or slopes if the module has them, without if not."""
    if isinstance(layer, (nw.Conv, nw.ConvTranspose)):
        return replace(layer, bias=module is not None and "bias" in module.arrays)
    if isinstance(layer, nw.BatchNorm):
        return layer
    return (nw.ReLU if module is None else nw.PReLU)(layer.name)


def _array(module: Module, kind: type[nw.Layer], key: str, shape: tuple[int, ...]) -> Array:
    """A parameter in our layout; one slope for all channels becomes one for each."""
    theirs, layout = KEYS[kind][key]
    if theirs not in module.arrays:  # a normalisation without factors of its own
        return np.full(shape, 1.0 if key == "scale" else 0.0, np.float32)
    limit = MAX_VARIANCE if key == "var" else MAX_WEIGHT
    array = parameter(module.full(theirs), module.arrays[theirs], limit)
    if kind is nw.PReLU:
        array = array.reshape(-1)
        return np.broadcast_to(array, shape).copy() if array.size == 1 else array
    return np.ascontiguousarray(ours(array, layout))
