"""A network's parameters as a PyTorch module has them: one table, a row for each kind of layer."""

from __future__ import annotations

import keyword
import re
from typing import NamedTuple

from sesr_ref import network as nw
from sesr_ref.collapse import expanded, expanded_names
from sesr_ref.exchange.layouts import theirs
from sesr_ref.ops.arrays import Params


class Key(NamedTuple):
    """What a module calls a layer's parameter, and how it is stored."""

    name: str
    layout: str = "as is"


_OIHW = {"weight": Key("weight", "OIHW"), "bias": Key("bias")}
KEYS: nw.Rules[dict[str, Key]] = nw.Rules(
    {
        nw.Layer: {},
        nw.Conv: _OIHW,
        nw.ConvTranspose: {"weight": Key("weight", "IOHW"), "bias": Key("bias")},
        nw.PReLU: {"slope": Key("weight")},
        nw.FakeQuantize: {"log_scale": Key("log_scale")},
        nw.Gain: {"gain": Key("weight")},
        nw.BatchNorm: {
            "scale": Key("weight"),
            "offset": Key("bias"),
            "mean": Key("running_mean"),
            "var": Key("running_var"),
        },
        nw.Stencil: {"factor": Key("factor"), "bias": Key("bias")},
    }
)
"""Names of each kind's parameters in PyTorch."""


def torch_names(net: nw.Network) -> dict[str, tuple[str, str]]:
    """What a module calls each parameter of a network.

    Parameters
    ----------
    net : Network
        Linear blocks have the names of the layers that they stand for.

    Returns
    -------
    dict of (str, str)
        Keyed by our name: theirs, and the key of its layout in `LAYOUTS`.

    Raises
    ------
    NetworkError
        If a block has no expanded form.
    """
    full = expanded(net)
    kinds = {layer.name: type(layer) for layer in full.layers}
    modules = module_names(full)
    names = {}
    for ours, each in expanded_names(net).items():
        layer, _, key = each.rpartition(".")
        stored = KEYS[kinds[layer]][key]
        names[ours] = (f"{modules[layer]}.{stored.name}", stored.layout)
    return names


def module_names(net: nw.Network) -> dict[str, str]:
    """A name for each layer that is a module, which PyTorch takes for one: its own if it can be.

    Parameters
    ----------
    net : Network
        Without linear blocks.

    Returns
    -------
    dict of str
        Keyed by layer; what stands between dots is a module within a module.
    """
    owners = [layer for layer in net.layers if KEYS[type(layer)] and not layer.shares]
    clean = {layer.name: _clean(layer.name) for layer in owners}
    names: dict[str, str] = {}
    for owner, name in clean.items():
        if any(name.startswith(f"{other}.") for other in clean.values()):  # a module is no folder
            name = name.replace(".", "_")
        while name in names.values():
            name += "_"
        names[owner] = name
    return names


def _clean(text: str) -> str:
    """A layer's name with letters, digits and underscores, and none of a module's own names."""
    parts = (re.sub(r"\W", "_", part, flags=re.ASCII) for part in text.split("."))
    safe = [f"{p}_" if p in RESERVED or p[:1] in ("", "_") else p for p in parts]
    if safe[0][0].isdigit():
        safe[0] = f"n{safe[0]}"
    return ".".join(safe)


RESERVED = {
    *("T_destination", "add_module", "apply", "bfloat16", "buffers", "call_super_init", "children"),
    *("clear", "compile", "cpu", "cuda", "double", "dump_patches", "eval", "extra_repr", "float"),
    *("forward", "half", "ipu", "items", "keys", "load_state_dict", "modules", "mtia"),
    *("named_buffers", "named_children", "named_modules", "named_parameters", "parameters", "pop"),
    *("register_buffer", "register_module", "register_parameter", "requires_grad_"),
    *("share_memory", "state_dict", "to", "to_empty", "train", "training", "type", "update"),
    *("values", "xpu", "zero_grad"),
    *keyword.kwlist,
}
"""Attributes of modules, and Python's own words."""


def to_torch(net: nw.Network, params: Params) -> Params:
    """Parameters under PyTorch's names and in its layouts.

    Parameters
    ----------
    net : Network
        Linear blocks are written as the layers that they stand for.
    params : dict of arrays
        Its parameters.

    Returns
    -------
    dict of arrays
    """
    names = torch_names(net)
    return {name: theirs(params[ours], layout) for ours, (name, layout) in names.items()}
