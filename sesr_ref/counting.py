"""What a network costs: parameters, multiply-accumulates and bytes, layer by layer.

The conventions are those of the papers that the figures are compared with.  Parameters are
convolution weights only; biases and slopes are counted separately.  A MAC is one
multiply-accumulate of a convolution; activations, additions, resampling and shuffles have none.
Products with the zeros of the padding count.  A transposed convolution is counted at its output
resolution by default.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sesr_ref import network as nw
from sesr_ref.collapse import collapsed
from sesr_ref.limits import one_of, whole_number

TRANSPOSED = ("output", "input")
"""Resolutions at which a transposed convolution may be counted."""


# kind: (layer, number of its weights, pixels by the resolution they are counted at) -> MACs
MACS: nw.Rules[Callable[[Any, int, dict[str, int]], int]] = nw.Rules(
    {
        nw.Layer: lambda layer, weights, pixels: 0,
        nw.Conv: lambda layer, weights, pixels: weights * pixels["output"],
        nw.ConvTranspose: lambda layer, weights, pixels: weights * pixels["transposed"],
        nw.Stencil: lambda layer, weights, pixels: math.prod(layer.sides) * pixels["values"],
    }
)


@dataclass(frozen=True)
class LayerCost:
    """Cost of one layer.

    Parameters
    ----------
    name, kind : str
        The layer and its kind.
    parameters, biases, slopes : int
        Convolution weights, biases, and slopes (also gains and what normalisation stores) that the
        layer owns; 0 if it shares another layer's.
    macs : int
        Multiply-accumulates.
    read_bytes, written_bytes : int
        Activations, each input read once and the output written once.
    weight_bytes : int
        Size of the weights, biases and slopes that it uses, its own or shared.
    """

    name: str
    kind: str
    parameters: int
    biases: int
    slopes: int
    macs: int
    read_bytes: int
    written_bytes: int
    weight_bytes: int


@dataclass(frozen=True)
class Cost:
    """Cost of a network: one row per layer, and their sums."""

    network: str
    height: int
    width: int
    transposed: str
    rows: tuple[LayerCost, ...]

    @property
    def parameters(self) -> int:
        """Convolution weights, the papers' count of parameters."""
        return sum(row.parameters for row in self.rows)

    @property
    def biases(self) -> int:
        """Biases, which the papers' counts leave out."""
        return sum(row.biases for row in self.rows)

    @property
    def slopes(self) -> int:
        """Slopes of the activations, which the papers' counts leave out."""
        return sum(row.slopes for row in self.rows)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return sum(row.macs for row in self.rows)

    @property
    def activation_bytes(self) -> int:
        """Bytes of activations: each tensor is written once and read once by every reader."""
        return sum(row.read_bytes + row.written_bytes for row in self.rows)

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights, biases and slopes that the layers read."""
        return sum(row.weight_bytes for row in self.rows)


def cost(
    net: nw.Network, height: int, width: int, transposed: str = "output", element_bytes: int = 1
) -> Cost:
    """Count a network's parameters, multiply-accumulates and bytes.

    Parameters
    ----------
    net : Network
        Linear blocks are counted collapsed, as deployed; pass ``expanded(net)`` to count them as
        trained.
    height, width : int
        Pixels of the input, the low resolution.
    transposed : {"output", "input"}
        Count transposed convolutions at their output resolution, which gives the paper's 6.00 G for
        FSRCNN, or at their input resolution, which leaves out products with inserted zeros.
    element_bytes : int
        Bytes of an activation and of a weight: 1 for 8 bit, 4 for float32.

    Returns
    -------
    Cost
        ``.parameters``, ``.biases``, ``.slopes``, ``.macs`` and ``.rows``, one per layer.

    Raises
    ------
    ValueError
        If a size is not an integer from 1 to 2**20 or the convention is unknown.

    Notes
    -----
    Bhardwaj et al. (MLSys 2022), section 3.2: P = 25 f + 9 m f^2 + 25 f s^2, MACs = H W P.
    """
    height, width = whole_number("height", height), whole_number("width", width)
    element_bytes = whole_number("element_bytes", element_bytes)
    one_of("transposed", transposed, TRANSPOSED)
    net = collapsed(net)
    shapes = net.shapes(height, width)
    rows = tuple(
        _row(layer, inputs, shapes, transposed, element_bytes) for layer, inputs in net.steps()
    )
    return Cost(net.name, height, width, transposed, rows)


def _row(
    layer: nw.Layer,
    inputs: tuple[str, ...],
    shapes: dict[str, nw.Shape],
    transposed: str,
    element_bytes: int,
) -> LayerCost:
    out, first = shapes[layer.name], shapes[inputs[0]]
    params = layer.param_shapes(*(shapes[i][2] for i in inputs))
    used = {key: math.prod(shape) for key, shape in params.items()}
    own = {} if layer.shares else used
    pixels = {"output": out[0] * out[1], "input": first[0] * first[1]}
    pixels |= {"transposed": pixels[transposed], "values": math.prod(out)}
    return LayerCost(
        name=layer.name,
        kind=type(layer).__name__,
        parameters=own.get("weight", 0),
        biases=own.get("bias", 0),
        slopes=sum(size for key, size in own.items() if key not in ("weight", "bias")),
        macs=MACS[type(layer)](layer, used.get("weight", 0), pixels),
        read_bytes=element_bytes * sum(math.prod(shapes[i]) for i in inputs),
        written_bytes=element_bytes * math.prod(out),
        weight_bytes=element_bytes * sum(used.values()),
    )
