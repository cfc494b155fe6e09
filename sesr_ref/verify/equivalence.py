"""Check that two networks compute the same result, tensor by tensor."""

from __future__ import annotations

import numpy as np

from sesr_ref.collapse import collapse_params, collapsed
from sesr_ref.execute import forward
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.receptive import halo
from sesr_ref.verify.bounds.arithmetic import Arithmetic, format_named
from sesr_ref.verify.bounds.model import prepare
from sesr_ref.verify.bounds.walk import walk
from sesr_ref.verify.proof import compared

KNOWN_ULPS = 4
"""Uncertainty of each parameter of equivalent networks, in units in its last place."""


def assert_equivalent(
    net_a: Network,
    params_a: Params,
    net_b: Network,
    params_b: Params,
    x: Array | None = None,
    dtype: str = "float64",
) -> None:
    """Assert that two networks compute the same output and the same tensors of common names.

    Parameters
    ----------
    net_a, params_a, net_b, params_b
        Networks and their parameters; linear blocks are collapsed.
    x : (n, height, width, channels) float array, optional
        The input; random by default.
    dtype : {"float64", "float32"}
        The dtype in which both run.  Each parameter is taken as known to `KNOWN_ULPS` units in its
        last place, those of linear blocks to the accuracy of a collapse in their own dtype, and
        tensors to eight standard deviations of both networks' errors.  So a network collapsed in
        float32, in any order of its sums, equals its expanded form.  A network whose block is
        scaled by 1 + 1e-5 differs in float64; in float32 the rounding errors of the sums hide that.

    Raises
    ------
    AssertionError
        Naming the first tensor that differs by more than the sum of both networks' bounds.
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
    """Each tensor with its uncertainty, for parameters rounded to `dtype`; the output last."""
    own: Params = {name: array.astype(dtype) for name, array in params.items()}
    tensors = forward(collapsed(net), collapse_params(net, own), x)
    model = prepare(net, own, Arithmetic(dtype, dtype))
    model.uncertain[2].update(_known_parameters(net, own, params))
    bounds = {name: tensor.bound(2) for name, tensor in walk(model, x, {}, (2,))}
    known = {name: (tensors[name], bound) for name, bound in bounds.items()}
    return known | {"the output": known[net.output]}


def _known_parameters(net: Network, own: Params, params: Params) -> Params:
    """Variances of collapsed parameters: a collapse in their type, a few units of each value."""
    # the error of a linear block's collapse depends on hundreds of products; of a weight that is
    # given collapsed, these products are unknown
    kinds = [array.dtype.name for array in (*params.values(), *own.values())]
    kind = max(kinds, key=lambda name: format_named(name).unit)
    model, unit = prepare(net, own, Arithmetic(kind, kind)), format_named(kind).unit
    return {
        name: model.uncertain[2][name] + (KNOWN_ULPS * unit * array) ** 2
        for name, array in model.params.items()
    }
