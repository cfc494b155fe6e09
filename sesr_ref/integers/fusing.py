"""Layouts without a rounding: convolutions whose sums the next layer reads unrounded."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sesr_ref import network as nw
from sesr_ref.integers.grid import Grid
from sesr_ref.limits import one_of

FUSED: dict[str, tuple[type[nw.Layer], ...]] = {
    "activations": (nw.PReLU, nw.ReLU, nw.LeakyReLU, nw.Clip),
    "additions": (nw.Add,),
}
"""What may follow a convolution before its one rounding, by name."""


def fused_tensors(
    net: nw.Network,
    tensors: Mapping[str, Grid],
    params: Mapping[str, Grid],
    fused: Collection[str],
) -> dict[str, Grid]:
    """Give convolutions whose sums stay unrounded the grid of their accumulators.

    Parameters
    ----------
    net : Network
        Collapsed.
    tensors, params : dict of Grid
        Of its tensors and parameters.
    fused : collection of {"activations", "additions"}
        The kinds of layer that read accumulators, each the only reader of its convolution.  An
        addition reads one of them at most.

    Returns
    -------
    dict of Grid
        Of every tensor.

    Raises
    ------
    ValueError
        For an unknown name in `fused`.
    """
    for name in fused:
        one_of("fused", name, FUSED)
    kinds = tuple(kind for name in fused for kind in FUSED[name])
    readers: dict[str, list[nw.Layer]] = {}
    for layer, inputs in net.steps():
        for name in inputs:
            readers.setdefault(name, []).append(layer)
    out, taken = dict(tensors), set[str]()
    for layer, inputs in net.steps():
        following = readers.get(layer.name, [])
        if not isinstance(layer, nw.Conv) or len(following) != 1:
            continue
        (reader,) = following
        if isinstance(reader, kinds) and reader.name not in taken:
            taken.add(reader.name)
            out[layer.name] = accumulator(
                tensors[inputs[0]], params[f"{layer.shares or layer.name}.weight"]
            )
    return out


def accumulator(source: Grid, weight: Grid) -> Grid:
    """The grid of a convolution's sums: 32 bits, the scale of its input times that of its weights.

    Parameters
    ----------
    source : Grid
        Of the input.
    weight : Grid
        Of the weights, with a scale for each output channel.

    Returns
    -------
    Grid
        With a scale for each channel.
    """
    scales = source.scales.max() * weight.scales
    return Grid(tuple(scales.ravel().tolist()), 0, 32, 3)
