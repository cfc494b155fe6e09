"""Run a network as a port with a storage type: every tensor is rounded once, from rounded ones.

A port that rounds once per layer, to nearest with ties to even, can reproduce each tensor from the
parameters and the tensors before it.  Sums are float64 in a fixed order without BLAS: exact for
integers of 8 and 16 bits, whose products and sums fit 53 bits, and for other types the same on
every machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from sesr_ref.arrays_file import Stored
from sesr_ref.checks import check_input, layer_params
from sesr_ref.collapse import collapsed
from sesr_ref.execute import RULES
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.verify.golden.encodings import Kind, restore, store
from sesr_ref.verify.golden.exact import FIXED_ORDER, exact_params

Scales = Mapping[tuple[str, str], int]
"""Fraction bits of each array by its role ("tensor" or "parameter") and name."""


class Rounded(NamedTuple):
    """An array as stored, its fraction bits, and how many values saturated."""

    stored: Stored
    fraction_bits: int
    saturated: int


def rounded_run(
    net: Network, params: Params, x: Array, kind: Kind, scales: Scales | None = None
) -> dict[str, dict[str, Rounded]]:
    """Compute every tensor and parameter of a run in which all of them are rounded.

    Parameters
    ----------
    net, params
        A network and its parameters; linear blocks are collapsed in float64 first.
    x : (n, height, width, channels) float32 or float64 array
        The input.
    kind : Kind
        The type to round to.
    scales : mapping, optional
        Fraction bits for integers; by default as many as each array's largest value leaves.

    Returns
    -------
    dict of dict of Rounded
        By role, "tensor" (NHWC) or "parameter" (HWIO), and name.

    Raises
    ------
    ValueError
        If parameters or images do not fit the network, values leave a floating-point type's range,
        or an array has no scale.
    """
    small, exact = collapsed(net), exact_params(net, params)
    check_input(small, x)
    found: dict[str, dict[str, Rounded]] = {"tensor": {}, "parameter": {}}

    def keep(role: str, name: str, values: Array) -> Array:
        given = None if scales is None else _scale(scales, role, name)
        stored, bits = store(values, kind, given)
        beyond = np.rint(values * 2.0**bits) != stored if kind.is_integer else False
        found[role][name] = Rounded(stored, bits, int(np.count_nonzero(beyond)))
        return restore(stored, bits)

    own = {name: keep("parameter", name, values) for name, values in exact.items()}
    tensors = {"input": keep("tensor", "input", x.astype(np.float64))}
    for layer, inputs in small.steps():
        read, rule = [tensors[name] for name in inputs], RULES[type(layer)]
        made = rule.forward(layer, FIXED_ORDER, read, layer_params(layer, own))
        tensors[layer.name] = keep("tensor", layer.name, made)
    return found


def _scale(scales: Scales, role: str, name: str) -> int:
    if (role, name) not in scales:
        raise ValueError(f"the pack with the scales has no {role} {name!r}")
    return scales[role, name]
