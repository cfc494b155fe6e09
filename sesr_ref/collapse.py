"""Linear blocks rewritten: expanded (what they stand for) and collapsed (one convolution).

Both rewrites keep the name of each block's output, so the two networks compare tensor by tensor.
Collapsing parameters is a differentiable map, which is all that training needs of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np

from sesr_ref.checks import check_network, check_params
from sesr_ref.network import Add, Conv, Layer, LinearBlock, Network, NetworkError
from sesr_ref.ops.arrays import Array, Params

Rewrite = Callable[[LinearBlock, tuple[str, ...]], list[Layer]]


def expanded(net: Network) -> Network:
    """Each linear block as a k x k convolution, a 1 x 1 convolution and an addition.

    Parameters
    ----------
    net : Network
        With linear blocks or without; without, it comes back as it is.

    Returns
    -------
    Network
        Block ``b`` becomes ``b.expand``, ``b.project`` and ``b``; its parameters are those of
        `expand_params`.

    Raises
    ------
    NetworkError
        For a block with bias "leaky", which is a different model from its expanded form.

    Notes
    -----
    Bhardwaj et al. (MLSys 2022), section 3.1, figure 2(a) and (b).
    """
    return _rewrite(net, _expand_block)


def collapsed(net: Network) -> Network:
    """Each linear block as one convolution; its parameters are those of `collapse_params`.

    Parameters
    ----------
    net : Network
        With linear blocks or without; without, it comes back as it is.

    Returns
    -------
    Network

    Notes
    -----
    Bhardwaj et al. (MLSys 2022), section 3.1, figure 2(c) and (d).
    """
    check_network(net)
    return _collapsed(net) if any(_blocks(net)) else net


@lru_cache(maxsize=32)
def _collapsed(net: Network) -> Network:
    """Rewritten once: every step of a training asks for it."""
    return _rewrite(net, _collapse_block)


def _rewrite(net: Network, rule: Rewrite) -> Network:
    check_network(net)
    if not any(_blocks(net)):
        return net
    layers: list[Layer] = []
    for layer, inputs in net.steps():
        if isinstance(layer, LinearBlock):
            layers += rule(layer, inputs)
        else:
            layers.append(layer if layer.inputs else dataclasses.replace(layer, inputs=inputs))
    return dataclasses.replace(net, layers=tuple(layers))


def _expand_block(block: LinearBlock, inputs: tuple[str, ...]) -> list[Layer]:
    if block.bias == "leaky":
        raise NetworkError(
            f"{block.name}: a linear block with bias 'leaky' has no expanded form (its biases are "
            "part of every weight); use block_bias='true'"
        )
    name, bias = block.name, block.bias == "true"
    shares = block.shares
    return [
        Conv(
            f"{name}.expand", block.expand, block.kernel_size, bias=bias,
            inputs=inputs, shares=shares and f"{shares}.expand",
        ),
        Conv(
            f"{name}.project", block.features, 1, bias=bias,
            shares=shares and f"{shares}.project",
        ),
        Add(name, inputs=(f"{name}.project", *(inputs if block.residual else ()))),
    ]  # fmt: skip


def _collapse_block(block: LinearBlock, inputs: tuple[str, ...]) -> list[Layer]:
    bias = block.bias == "true"
    return [
        Conv(
            block.name, block.features, block.kernel_size, bias=bias,
            inputs=inputs, shares=block.shares,
        )
    ]  # fmt: skip


def _blocks(net: Network) -> Iterator[LinearBlock]:
    """The linear blocks that own parameters."""
    for layer in net.layers:
        if isinstance(layer, LinearBlock) and not layer.shares:
            yield layer


def collapse_params(net: Network, params: Params) -> Params:
    """Parameters of ``collapsed(net)`` from those of `net`.

    The weight of a block is ``expand @ project``, plus the identity at the middle tap where the
    block has a residual; its bias is ``expand_bias @ project + project_bias``, which a block with
    bias "leaky" adds to every tap of its weight instead.

    Parameters
    ----------
    net : Network
        The network with its linear blocks.
    params : dict of arrays
        Its parameters, in the dtype in which to collapse.

    Returns
    -------
    dict of arrays
        ``b.weight`` (k, k, in, out) for ``b.expand`` and ``b.project``, and ``b.bias`` (out,) for
        bias "true"; the other parameters as they are.

    Raises
    ------
    ValueError
        If `params` do not fit `net`.

    Notes
    -----
    Closed form of Bhardwaj et al. (MLSys 2022), Algorithms 1 and 2.
    """
    check_params(net, params)
    out = dict(params)
    for block in _blocks(net):
        own = {key: out.pop(f"{block.name}.{key}") for key in _param_names(block)}
        weight = own["expand"] @ own["project"][0, 0]
        if block.bias != "none":
            bias = own["expand_bias"] @ own["project"][0, 0] + own["project_bias"]
            if block.bias == "leaky":
                weight = weight + bias
            else:
                out[f"{block.name}.bias"] = bias
        if block.residual:
            middle = block.kernel_size // 2
            weight[middle, middle] += np.eye(block.features, dtype=weight.dtype)
        out[f"{block.name}.weight"] = weight
    return {name: out[name] for name in collapsed(net).param_shapes()}


def collapse_params_vjp(net: Network, params: Params, dcollapsed: Params) -> Params:
    """Gradients of the parameters of `net` from those of ``collapsed(net)``.

    Parameters
    ----------
    net, params
        As given to `collapse_params`.
    dcollapsed : dict of arrays
        Keyed as what `collapse_params` returns.

    Returns
    -------
    dict of arrays
        Keyed as `params`.

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
    out = dict(dcollapsed)
    for block in _blocks(net):
        own = {key: params[f"{block.name}.{key}"] for key in _param_names(block)}
        dweight = out.pop(f"{block.name}.weight")
        dbias = out.pop(f"{block.name}.bias", None)
        if block.bias == "leaky":
            dbias = dweight.sum((0, 1, 2))
        grads = _collapse_block_vjp(dweight, dbias, own)
        out |= {f"{block.name}.{key}": grad for key, grad in grads.items()}
    return {name: out[name] for name in params}


def _collapse_block_vjp(dweight: Array, dbias: Array | None, own: Params) -> Params:
    project = own["project"][0, 0]
    # tap by tap: products this small stay on one thread, and no BLAS thread is left spinning
    dproject = (own["expand"].swapaxes(2, 3) @ dweight).sum((0, 1))
    grads: Params = {"expand": dweight @ project.T, "project": dproject[None, None]}
    if dbias is not None:
        grads["project"] = grads["project"] + np.outer(own["expand_bias"], dbias)
        grads |= {"expand_bias": project @ dbias, "project_bias": dbias}
    return grads


def _param_names(block: LinearBlock) -> tuple[str, ...]:
    return tuple(block.param_shapes(1))


def expand_params(net: Network, params: Params) -> Params:
    """Parameters of ``expanded(net)`` from those of `net`: the same arrays under layers' names.

    Parameters
    ----------
    net : Network
        The network with its linear blocks.
    params : dict of arrays
        Its parameters.

    Returns
    -------
    dict of arrays
        ``b.expand.weight``, ``b.expand.bias``, ``b.project.weight`` and ``b.project.bias`` for
        ``b.expand``, ``b.expand_bias``, ``b.project`` and ``b.project_bias``.

    Raises
    ------
    ValueError
        If `params` do not fit `net`, or as `expanded`.
    """
    names = expanded(net).param_shapes()
    check_params(net, params)
    renamed = {
        f"{block.name}.{key}": f"{block.name}.{stage}.{kind}"
        for block in _blocks(net)
        for key, stage, kind in (
            ("expand", "expand", "weight"), ("expand_bias", "expand", "bias"),
            ("project", "project", "weight"), ("project_bias", "project", "bias"),
        )
    }  # fmt: skip
    out = {renamed.get(name, name): array for name, array in params.items()}
    return {name: out[name] for name in names}
