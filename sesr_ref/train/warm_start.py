"""Starting a training from another network's parameters, where both compute the same with them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from sesr_ref.checks import check_params
from sesr_ref.network import Conv, ConvTranspose, Layer, LinearBlock, Network
from sesr_ref.ops.arrays import Params
from sesr_ref.params import initialise

CONVOLUTIONS = (Conv, ConvTranspose, LinearBlock)


@dataclass(frozen=True)
class Fit:
    """Which layers' parameters can be had from another network, by name.

    Parameters
    ----------
    taken : tuple of str
        Layers whose parameters have the same names and shapes in both networks.
    anew : tuple of str
        All others that have parameters.
    """

    taken: tuple[str, ...]
    anew: tuple[str, ...]


class Misfit(ValueError):
    """Two networks of which one cannot start from the other; `residual`: for a short residual."""

    def __init__(self, message: str, residual: bool = False) -> None:
        super().__init__(message)
        self.residual = residual


def fit(net: Network, source_net: Network) -> Fit:
    """What of `net` can start from the parameters of `source_net`.

    Parameters
    ----------
    net : Network
        What shall be trained.
    source_net : Network
        What has been trained.

    Returns
    -------
    Fit

    Raises
    ------
    Misfit
        (a ValueError) if parameters fit, but their layer computes something else with them, with
        the layer and the field; or if those of no convolution and no linear block fit.
    """
    own, sources = _parts(net), _parts(source_net)
    taken = [name for name, part in own.items() if name in sources and part.fits(sources[name])]
    for name in taken:
        _check_alike(own[name], sources[name])
    if not any(isinstance(own[name].layer, CONVOLUTIONS) for name in taken):
        raise Misfit(_nothing_fits(own, sources))
    return Fit(tuple(taken), tuple(name for name in own if name not in taken))


def transfer(
    net: Network,
    source_net: Network,
    source: Params,
    seed: int = 0,
    init: str = "glorot",
    slope: float = 0.0,
) -> Params:
    """Start `net` from another network's parameters, as the paper starts x4 from x2.

    Parameters
    ----------
    net : Network
        What shall be trained.
    source_net, source : Network, dict of arrays
        What has been trained, as `load` returns both.  A layer of which all parameters fit in
        name and shape is copied.
    seed, init, slope
        Of the remaining layers' `initialise` (SESR x4 from x2: the tail).

    Returns
    -------
    dict of float32 arrays
        Keyed as those of `net`.

    Raises
    ------
    Misfit
        (a ValueError) as `fit` does.
    ValueError
        If `source` are not the parameters of `source_net`.

    Notes
    -----
    Bhardwaj et al. (MLSys 2022), section 4.1.
    """
    check_params(source_net, source)
    taken = set(fit(net, source_net).taken)
    params = initialise(net, seed, init, slope)
    for name in params:
        if name.rpartition(".")[0] in taken:
            params[name] = source[name].astype(np.float32)
    return params


@dataclass(frozen=True)
class _Part:
    """A layer with parameters of its own, their shapes, and the tensors it reads."""

    layer: Layer
    inputs: tuple[str, ...]
    shapes: dict[str, tuple[int, ...]]

    def fits(self, source: _Part) -> bool:
        """Whether all its parameters are there; those of another enlargement are no use."""
        return self.shapes.items() <= source.shapes.items() and (
            getattr(self.layer, "stride", 1) == getattr(source.layer, "stride", 1)
        )


def _parts(net: Network) -> dict[str, _Part]:
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    for key, shape in net.param_shapes().items():
        name, _, param = key.rpartition(".")
        shapes.setdefault(name, {})[param] = shape
    steps = {layer.name: (layer, inputs) for layer, inputs in net.steps()}
    return {name: _Part(*steps[name], own) for name, own in shapes.items()}


def _facts(part: _Part) -> dict[str, Any]:
    """All that decides what a layer computes with its parameters."""
    fields = {f.name: getattr(part.layer, f.name) for f in dataclasses.fields(part.layer)}
    return {"kind": type(part.layer).__name__} | fields | {"inputs": part.inputs}


def _difference(own: _Part, source: _Part) -> str:
    """The first field in which two layers differ and both its values; "" if they are alike."""
    mine, other = _facts(own), _facts(source)
    for key, value in mine.items():
        if value != other.get(key, value):
            return f"{own.layer.name}.{key} is {value!r:.80} here and {other[key]!r:.80} there"
    return ""


def _check_alike(own: _Part, source: _Part) -> None:
    if text := _difference(own, source):
        # without linear blocks a short residual is a layer of its own that the next one reads
        skips = any(name.startswith("skip") for name in (*own.inputs, *source.inputs))
        residual = ".residual is" in text or (".inputs is" in text and skips)
        what = "its short residuals differ" if residual else "the layer computes something else"
        raise Misfit(f"the parameters fit, but {what}: {text}", residual)


def _nothing_fits(own: dict[str, _Part], sources: dict[str, _Part]) -> str:
    common = [name for name in own if name in sources]
    why = next((text for name in common if (text := _difference(own[name], sources[name]))), "")
    return (
        "no convolution or linear block fits, nothing to transfer: "
        f"{why or 'no layer is called alike'}"
    )
