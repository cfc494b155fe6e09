"""Run a network on integers, exactly: one rule for each kind of layer, one arithmetic by name."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_ref import network as nw
from sesr_ref.checks import check_primitive
from sesr_ref.collapse import collapsed
from sesr_ref.integers.arithmetic import Arithmetic, arithmetic_named
from sesr_ref.integers.grid import Integers, Quantization
from sesr_ref.integers.operations import kept_operations
from sesr_ref.integers.parameters import IntegerParams, check_integer_params
from sesr_ref.integers.rules import codes_of, site_of
from sesr_ref.limits import tile_shape
from sesr_ref.ops.table import REFERENCE, KernelsLeftOut, Ops
from sesr_ref.receptive import halo
from sesr_ref.tiles import Tile, assemble, windows


def forward_int(
    net: nw.Network,
    iparams: IntegerParams,
    q: Quantization,
    x: npt.NDArray[Any],
    arithmetic: str = "tflite",
    ops: Ops = REFERENCE,
) -> dict[str, npt.NDArray[Any]]:
    """Every tensor of a quantised network as integers, by name.

    Parameters
    ----------
    net : Network
        With linear blocks, which count as collapsed, or without.
    iparams : dict of integer arrays
        From `quantize`.
    q : Quantization
        Its grids.
    x : (n, height, width, channels) integer array
        Codes on the input's grid.
    arithmetic : str
        A key of `ARITHMETICS`: how products and sums are rounded.
    ops : Ops
        `REFERENCE`, or `fast()`, whose kernels give the same integers sooner.

    Returns
    -------
    dict of integer arrays
        "input" and every layer's name, each of the narrowest dtype that its grid fits.

    Raises
    ------
    ValueError
        If parameters, grids or codes do not fit, or the arithmetic is unknown.

    Notes
    -----
    With `fast()` a warning (`KernelsLeftOut`) says so, and why, where NumPy runs a network all the
    same: tensors of 16 or 32 bits, layers that are computed in floating point and rounded once
    (`Resize`, `Multiply`, `Stencil`, `Pad`, sums of three tensors), numbers beyond 32 bits.
    """
    small, rule = _checked(net, iparams, q, x), arithmetic_named(arithmetic)
    names = [layer.name for layer in small.layers]
    if (made := _by_kernels(small, iparams, q, x, rule, ops, names)) is not None:
        return {"input": x.astype(q.tensors["input"].dtype()), **made}
    tensors = _compute(small, iparams, q, x, rule, ops)
    return {name: value.astype(q.tensors[name].dtype()) for name, value in tensors.items()}


def _checked(
    net: nw.Network, iparams: IntegerParams, q: Quantization, x: npt.NDArray[Any]
) -> nw.Network:
    """The network collapsed, once everything is known to fit it."""
    small = collapsed(net)
    check_primitive(small)
    check_integer_params(small, iparams, q)
    _check_codes(small, q, x)
    return small


def _compute(
    net: nw.Network,
    iparams: IntegerParams,
    q: Quantization,
    x: npt.NDArray[Any],
    arithmetic: Arithmetic,
    ops: Ops,
    keep: bool = True,
) -> dict[str, Integers]:
    """Every tensor; without `keep` each is dropped after its last reader."""
    last = {name: layer.name for layer, inputs in net.steps() for name in inputs}
    wide: dict[str, Any] = {name: value.astype(np.int64) for name, value in iparams.items()}
    tensors: dict[str, Integers] = {"input": x.astype(np.int64)}
    for layer, inputs in net.steps():
        read = [tensors[name] for name in inputs]
        site = site_of(layer, inputs, read, wide, q, arithmetic, ops)
        tensors[layer.name] = codes_of(layer, site)
        for name in () if keep else set(inputs):
            if last[name] == layer.name:
                del tensors[name]
    return tensors


def _by_kernels(
    net: nw.Network,
    iparams: IntegerParams,
    q: Quantization,
    x: npt.NDArray[Any],
    arithmetic: Arithmetic,
    ops: Ops,
    outputs: Sequence[str],
) -> dict[str, npt.NDArray[Any]] | None:
    """Some tensors, made by kernels; None, with a warning if there are any, where they are not."""
    if ops.integers is None:
        return None
    try:
        network = kept_operations(net, iparams, q, arithmetic)
        return ops.integers(network, x.astype(np.int8, copy=False), outputs)
    except NotImplementedError as reason:
        message = f"{net.name}: NumPy runs these integers, the kernels do not: {reason}"
        warnings.warn(message, KernelsLeftOut, stacklevel=3)
        return None


def run_int(
    net: nw.Network,
    iparams: IntegerParams,
    q: Quantization,
    x: npt.NDArray[Any],
    arithmetic: str = "tflite",
    ops: Ops = REFERENCE,
    tile: Tile | None = None,
) -> npt.NDArray[Any]:
    """Enlarge pictures in integers.

    Parameters
    ----------
    net, iparams, q, x, arithmetic, ops
        As for `forward_int`.
    tile : int or (int, int), optional
        Work on tiles of this many input rows and columns, each with its exact halo: less memory,
        the same integers.

    Returns
    -------
    (n, upscale * height, upscale * width, channels) integer array
        Codes on the output's grid.

    Raises
    ------
    ValueError
        As `forward_int` does, and for a tile below 1.
    """
    small, rule = _checked(net, iparams, q, x), arithmetic_named(arithmetic)
    dtype = q.tensors[small.output].dtype()

    def whole(part: npt.NDArray[Any]) -> npt.NDArray[Any]:
        outputs = [small.output]
        if (found := _by_kernels(small, iparams, q, part, rule, ops, outputs)) is not None:
            return found[small.output]
        made = _compute(small, iparams, q, part, rule, ops, keep=False)
        return made[small.output].astype(dtype)

    if tile is None:
        return whole(x)
    parts = windows(x.shape[1], x.shape[2], tile_shape(tile), halo(small))
    return assemble(whole, x, small.upscale, parts, dtype)


def _check_codes(net: nw.Network, q: Quantization, x: npt.NDArray[Any]) -> None:
    grid = q.tensors["input"]
    if not isinstance(x, np.ndarray) or x.dtype.kind != "i":
        kind = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
        raise ValueError(f"codes must be integers with a sign, got {kind}")
    if x.ndim != 4 or x.shape[3] != net.channels or not x.size:
        raise ValueError(
            f"codes must be (n, height, width, {net.channels}) and not empty, got shape {x.shape}"
        )
    if not (grid.low <= x.min() and x.max() <= grid.high):
        raise ValueError(
            f"codes must lie in {grid.low}..{grid.high}, got {x.min()}..{x.max()} "
            "(8-bit pictures are x - 128)"
        )
