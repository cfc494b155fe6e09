"""Parameters as integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_ref import network as nw
from sesr_ref.integers.grid import Quantization
from sesr_ref.integers.model import collapsed_exactly
from sesr_ref.ops.arrays import Params

IntegerParams = dict[str, npt.NDArray[Any]]
"""Integer arrays keyed ``layer.parameter``."""


def quantize(net: nw.Network, params: Params, q: Quantization) -> IntegerParams:
    """Round parameters to their grids, half to even.

    Parameters
    ----------
    net, params
        With linear blocks, which are collapsed first, or without.
    q : Quantization
        Of the collapsed network, from `calibrate`.

    Returns
    -------
    dict of integer arrays
        Keyed as the collapsed network's parameters; int8 weights and slopes, int32 biases.

    Raises
    ------
    ValueError
        If a parameter has no grid, or its channels are not the grid's.
    """
    small, exact = collapsed_exactly(net, params)
    check_quantization(small, q)
    return {
        name: q.params[name].to_integers(value).astype(q.params[name].dtype())
        for name, value in exact.items()
    }


def check_quantization(net: nw.Network, q: Quantization) -> None:
    """Raise ValueError unless `q` has a fitting grid for every tensor and parameter of `net`."""
    channels = {name: shape[2] for name, shape in net.shapes(16, 24).items()}
    for kind, needed, found in (
        ("tensor", channels.keys(), q.tensors),
        ("parameter", net.param_shapes().keys(), q.params),
    ):
        if missing := [name for name in needed if name not in found]:
            raise ValueError(f"{net.name}: {kind} {missing[0]!r} has no grid")
        if extra := [name for name in found if name not in needed]:
            raise ValueError(f"{net.name} has no {kind} {extra[0]!r:.80}")
    sizes = {name: (channels[name],) * 4 for name in channels} | net.param_shapes()
    for name, grid in (*q.tensors.items(), *q.params.items()):
        shape = sizes[name]
        if grid.axis is not None and np.size(grid.scale) != shape[grid.axis % len(shape)]:
            raise ValueError(
                f"{name}: {np.size(grid.scale)} scales for {shape[grid.axis % len(shape)]} channels"
            )


def check_integer_params(net: nw.Network, iparams: IntegerParams, q: Quantization) -> None:
    """Raise ValueError unless `iparams` are the collapsed network's, integers on their grids."""
    check_quantization(net, q)
    shapes = net.param_shapes()
    if odd := sorted(set(iparams) ^ set(shapes)):
        raise ValueError(f"parameter {odd[0]!r} is {'missing' if odd[0] in shapes else 'unknown'}")
    for name, shape in shapes.items():
        value, grid = iparams[name], q.params[name]
        if not isinstance(value, np.ndarray) or value.dtype.kind != "i" or value.shape != shape:
            kind = getattr(value, "dtype", type(value).__name__)
            got = getattr(value, "shape", ())
            raise ValueError(f"{name} must be integers of shape {shape}, got {kind} of {got}")
        if value.size and not (grid.low <= value.min() and value.max() <= grid.high):
            raise ValueError(f"{name} must lie in {grid.low}..{grid.high} ({grid.bits} bits)")
