"""Whether two networks compute the same, tensor by tensor."""

from __future__ import annotations

import numpy as np

from sesr_ref.collapse import collapse_params, collapsed
from sesr_ref.execute import forward
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.receptive import halo
from sesr_ref.verify.arithmetic import Arithmetic, format_named
from sesr_ref.verify.bounds import walk
from sesr_ref.verify.model import prepare
from sesr_ref.verify.proof import compared

KNOWN_ULPS = 4
"""Of an array's largest value: how well equivalent networks' parameters are known."""


def assert_equivalent(
    net_a: Network,
    params_a: Params,
    net_b: Network,
    params_b: Params,
    x: Array | None = None,
    dtype: str = "float64",
) -> None:
    """Assert that two networks compute the same, in every tensor that both name and the output.

    Parameters
    ----------
    net_a, params_a, net_b, params_b
        With linear blocks, which are collapsed, or without.
    x : (n, height, width, channels) float array, optional
        The input; random unless given.
    dtype : {"float64", "float32"}
        In which to run both.  Parameters count as known to a few units in the last place of their
        own type, so a network collapsed in float32 equals its expanded form.

    Raises
    ------
    AssertionError
        Naming the first tensor that differs by more than both networks' bounds together.
    ValueError
        If networks, parameters or the input do not fit.

    Examples
    --------
    >>> import sesr_ref as sr
    >>> net = sr.sesr(blocks=2, features=4, expand=8)
    >>> params = sr.initialise(net)
    >>> assert_equivalent(sr.expanded(net), sr.expand_params(net, params), net, params)
    """
    if x is None:
        size = 2 * max(halo(net_a), halo(net_b))
        x = np.random.default_rng(0).random((1, size + 3, size + 6, net_a.channels))
    left = _known_tensors(net_a, params_a, x.astype(dtype), dtype)
    right = _known_tensors(net_b, params_b, x.astype(dtype), dtype)
    for name, (tensor, allowed) in left.items():
        if name in right:
            other, more = right[name]
            assert tensor.shape == other.shape, f"{name}: shapes {tensor.shape}, {other.shape}"
            check = compared(name, tensor, other, allowed + more, dtype)
            assert check.passed, (
                f"{check.name}: differs by {check.worst:.3g}, {check.used:.3g} times the allowed"
            )


def _known_tensors(
    net: Network, params: Params, x: Array, dtype: str
) -> dict[str, tuple[Array, Array]]:
    """Each tensor with how well it is known, the parameters being rounded ones; output last."""
    own: Params = {name: array.astype(dtype) for name, array in params.items()}
    tensors = forward(collapsed(net), collapse_params(net, own), x)
    model = prepare(net, own, Arithmetic(dtype, dtype))
    unit = max(format_named(array.dtype.name).unit for array in params.values())
    for name, array in model.params.items():
        rounding = KNOWN_ULPS * unit * np.abs(array).max(initial=0.0)
        model.uncertain[2][name] = model.uncertain[2][name] + rounding**2
    bounds = {name: tensor.bound(2) for name, tensor in walk(model, x, {}, (2,))}
    known = {name: (tensors[name], bound) for name, bound in bounds.items()}
    return known | {"the output": known[net.output]}
