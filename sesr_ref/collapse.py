"""Composites rewritten: expanded (to their layers) and collapsed (to one convolution).

Both rewrites keep the name of each composite's output, so the two networks can be compared tensor
by tensor.  Collapsing parameters is a differentiable map, which is all that training needs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from sesr_ref.checks import check_network, check_params
from sesr_ref.layers.composite import INPUT, pads_itself, steps
from sesr_ref.linear.compose import FLOAT, Arithmetic, collapse_body, collapse_body_vjp
from sesr_ref.linear.numbers import Params as Values
from sesr_ref.network import Add, Conv, Layer, Linear, LinearBlock, Network, NetworkError, Pad
from sesr_ref.ops.arrays import Array, Params

Rewrite = Callable[[Linear, tuple[str, ...], int], list[Layer]]
"""``rule(composite, names of its inputs, channels of the first input)``."""


def expanded(net: Network) -> Network:
    """Replace each composite by its layers.

    Parameters
    ----------
    net : Network
        Returned unchanged if it has no composites.

    Returns
    -------
    Network
        A linear block ``b`` becomes ``b.expand``, ``b.project`` and ``b``, another composite its
        layers ``b.layer`` and ``b``; parameters are those of `expand_params`.  If the layers of a
        body cannot each pad their input with zeros, its input is padded once (``b.input``) and its
        output is cut.

    Raises
    ------
    NetworkError
        For a block with bias "leaky", which is a different model from its expanded form.

    Notes
    -----
    Bhardwaj et al. (MLSys 2022), section 3.1, figure 2(a) and (b).
    """
    return _rewrite(net, _expand)


def collapsed(net: Network) -> Network:
    """Replace each composite by one convolution; the parameters are those of `collapse_params`.

    Parameters
    ----------
    net : Network
        Returned unchanged if it has no composites.

    Returns
    -------
    Network

    Notes
    -----
    Bhardwaj et al. (MLSys 2022), section 3.1, figure 2(c) and (d).
    """
    check_network(net)
    return _collapsed(net) if composites(net) else net


@lru_cache(maxsize=32)
def _collapsed(net: Network) -> Network:
    """Rewritten once: every training step needs it."""
    return _rewrite(net, _collapse)


def _rewrite(net: Network, rule: Rewrite) -> Network:
    check_network(net)
    if not composites(net):
        return net
    shapes = net.shapes(16, 24)
    layers: list[Layer] = []
    for layer, inputs in net.steps():
        if isinstance(layer, Linear):
            layers += rule(layer, inputs, shapes[inputs[0]][2])
        else:
            layers.append(layer if layer.inputs else dataclasses.replace(layer, inputs=inputs))
    return dataclasses.replace(net, layers=tuple(layers))


def _collapse(block: Linear, inputs: tuple[str, ...], channels: int) -> list[Layer]:
    found = block.facts(channels)
    rows, columns = found.sides
    return [
        Conv(
            block.name,
            found.channels,
            rows if rows == columns else (rows, columns),
            found.groups,
            found.constant and not is_leaky(block),
            inputs=inputs,
            shares=block.shares,
        )
    ]


def _expand(block: Linear, inputs: tuple[str, ...], channels: int) -> list[Layer]:
    if is_leaky(block):
        raise NetworkError(
            f"{block.name}: a linear block with bias 'leaky' has no expanded form, since its "
            "biases are part of every weight; use block_bias='true'"
        )
    names, margin = {INPUT: inputs[0]}, _margin(block, channels)
    layers: list[Layer] = []
    if margin:  # enough zeros that each layer's own padding never reaches the image
        names[INPUT] = f"{block.name}.{INPUT}"
        layers.append(Pad(names[INPUT], margin, inputs=inputs))
    for layer, reads in steps(block.body):
        names[layer.name] = f"{block.name}.{layer.name}"
        layers.append(_member(block, layer, names[layer.name], tuple(names[n] for n in reads)))
    last = layers[-1]
    if margin:
        layers.append(Pad(block.name, -margin, inputs=(last.name,)))
    elif last.param_shapes(1):  # its parameters keep their names, so the block's needs a layer
        layers.append(Add(block.name, inputs=(last.name,)))
    else:
        layers[-1] = dataclasses.replace(last, name=block.name)
    return layers


def _member(block: Linear, layer: Layer, name: str, inputs: tuple[str, ...]) -> Layer:
    owner = f"{block.shares}.{layer.name}" if block.shares and layer.param_shapes(1) else ""
    return dataclasses.replace(layer, name=name, inputs=inputs, shares=owner)


def _margin(block: Linear, channels: int) -> int:
    """Pixels to pad the block's input with; 0 if each layer may pad its own input."""
    return 0 if pads_itself(block.body, channels) else max(block.facts(channels).radius)


class _Composite(NamedTuple):
    """A composite that owns parameters, the channels of its input, and its parameters' names."""

    block: Linear
    channels: int
    keys: tuple[str, ...]

    def own(self, params: Params) -> Params:
        return {key: params[f"{self.block.name}.{key}"] for key in self.keys}

    def named(self, params: Values) -> Params:
        return {f"{self.block.name}.{key}": value for key, value in params.items()}


@lru_cache(maxsize=32)
def composites(net: Network) -> tuple[_Composite, ...]:
    """List the composites of a network that own parameters, with what their collapse needs."""
    shapes = net.shapes(16, 24)
    return tuple(
        _Composite(layer, channels, tuple(layer.param_shapes(channels)))
        for layer, inputs in net.steps()
        if isinstance(layer, Linear) and not layer.shares
        for channels in [shapes[inputs[0]][2]]
    )


def is_leaky(block: Linear) -> bool:
    """Whether the block is a linear block of the official code's collapsed mode."""
    return isinstance(block, LinearBlock) and block.bias == "leaky"


def collapse_params(net: Network, params: Params) -> Params:
    """Compute the parameters of ``collapsed(net)`` from those of `net`.

    The weight of a linear block is ``expand @ project``, plus the identity at the middle tap if
    the block has a residual; its bias is ``expand_bias @ project + project_bias``, which a block
    with bias "leaky" adds to every tap of its weight instead.  Other composites are collapsed in
    the same way, from their own body.

    Parameters
    ----------
    net : Network
        The network with its composites.
    params : dict of arrays
        Its parameters; the collapse is computed in their dtype.

    Returns
    -------
    dict of arrays
        ``b.weight`` (rows, columns, in, out) and, if the block has biases, ``b.bias`` (out,);
        the other parameters are unchanged.

    Raises
    ------
    ValueError
        If `params` do not fit `net`.

    Notes
    -----
    Closed form of Bhardwaj et al. (MLSys 2022), Algorithms 1 and 2.
    """
    check_params(net, params)
    return collapse_with(net, params)


def collapse_with(net: Network, params: Params, arithmetic: Arithmetic = FLOAT) -> Params:
    """`collapse_params` in any arithmetic, for parameters that are known to fit."""
    out, like = dict(params), next(iter(params.values()), None)
    for each in composites(net):
        for name in each.named(own := each.own(params)):
            del out[name]
        out |= each.named(collapse_block(each.block, each.channels, own, arithmetic, like))
    return {name: out[name] for name in collapsed(net).param_shapes()}


def collapse_block(
    block: Linear,
    channels: int,
    own: Values,
    arithmetic: Arithmetic = FLOAT,
    like: Array | None = None,
) -> Values:
    """Collapse one composite.

    Parameters
    ----------
    block : Linear
        The composite.
    channels : int
        Channels of its input.
    own : dict of arrays
        Its parameters by their short names.
    arithmetic : Arithmetic
        How sums of products are computed.
    like : array, optional
        If the composite has no parameters, the result has the dtype of this array.

    Returns
    -------
    dict of arrays
        ``weight`` and, if it has one, ``bias``.
    """
    made = collapse_body(block, channels, own, arithmetic, like)
    return {"weight": made["weight"] + made["bias"]} if is_leaky(block) else made


def collapse_params_vjp(net: Network, params: Params, dcollapsed: Params) -> Params:
    """Compute the gradients of the parameters of `net` from those of ``collapsed(net)``.

    Parameters
    ----------
    net, params
        As given to `collapse_params`.
    dcollapsed : dict of arrays
        Keyed like the result of `collapse_params`.

    Returns
    -------
    dict of arrays
        Keyed as `params`; zeros for a BatchNorm's stored statistics.

    Raises
    ------
    ValueError
        If `params` or `dcollapsed` do not fit `net`.

    Notes
    -----
    The backward half of the paper's efficient training (section 3.3).
    """
    check_params(net, params)
    check_params(collapsed(net), dcollapsed)
    return collapse_with_vjp(net, params, dcollapsed)


def collapse_with_vjp(net: Network, params: Params, dcollapsed: Params) -> Params:
    """`collapse_params_vjp` for arrays that are known to fit."""
    out = dict(dcollapsed)
    for each in composites(net):
        d = {"weight": out.pop(f"{each.block.name}.weight")}
        if is_leaky(each.block):
            d["bias"] = d["weight"].sum((0, 1, 2))
        elif (dbias := out.pop(f"{each.block.name}.bias", None)) is not None:
            d["bias"] = dbias
        own = each.own(params)
        out |= each.named(collapse_body_vjp(each.block, each.channels, own, d))
    return {name: out[name] for name in params}


def expand_params(net: Network, params: Params) -> Params:
    """Rename the parameters of `net` to those of ``expanded(net)``; the arrays are the same.

    Parameters
    ----------
    net : Network
        The network with its composites.
    params : dict of arrays
        Its parameters.

    Returns
    -------
    dict of arrays
        ``b.expand.weight``, ``b.expand.bias``, ``b.project.weight`` and ``b.project.bias`` for a
        linear block's ``b.expand``, ``b.expand_bias``, ``b.project`` and ``b.project_bias``;
        the parameters of other composites have such names already.

    Raises
    ------
    ValueError
        If `params` do not fit `net`, or as `expanded`.
    """
    names = expanded(net).param_shapes()
    check_params(net, params)
    renamed = expanded_names(net)
    out = {renamed[name]: array for name, array in params.items()}
    return {name: out[name] for name in names}


def expanded_names(net: Network) -> dict[str, str]:
    """What ``expanded(net)`` calls each parameter of a network, keyed by the network's own name."""
    renamed = {
        f"{each.block.name}.{key}": f"{each.block.name}.{theirs}"
        for each in composites(net)
        for key, theirs in each.block.keys.items()
    }
    return {name: renamed.get(name, name) for name in net.param_shapes()}
