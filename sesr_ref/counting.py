"""What a network costs: parameters, multiply-accumulates and bytes, layer by layer.

Conventions, those of the papers that the figures are compared with: parameters are convolution
weights alone (biases and slopes are counted apart), a MAC is one multiply-accumulate of a
convolution (activations, additions, resampling and shuffles count none), zeros of the padding
count, and a transposed convolution is counted at its output resolution unless asked otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sesr_ref import network as nw
from sesr_ref.collapse import collapsed
from sesr_ref.limits import whole_number

TRANSPOSED = ("output", "input")
"""Where the taps of a transposed convolution are counted: at which resolution."""


# kind: (layer, its weights, pixels by the resolution they are counted at) -> MACs
MACS: nw.Rules[Callable[[Any, int, dict[str, int]], int]] = nw.Rules(
    {
        nw.Layer: lambda layer, weights, pixels: 0,
        nw.Conv: lambda layer, weights, pixels: weights * pixels["output"],
        nw.ConvTranspose: lambda layer, weights, pixels: weights * pixels["transposed"],
    }
)


@dataclass(frozen=True)
class LayerCost:
    """One layer's share.

    Parameters
    ----------
    name, kind : str
        The layer and its kind.
    parameters, biases, slopes : int
        Convolution weights, biases and slopes that the layer owns; none where it shares another's.
    macs : int
        Multiply-accumulates.
    read_bytes, written_bytes : int
        Activations, each input read once and the output written once.
    weight_bytes : int
        Of the weights, biases and slopes it uses, its own or shared.
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
    """The rows of a network and their sums."""

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
        """Multiply-accumulates of one image."""
        return sum(row.macs for row in self.rows)

    @property
    def activation_bytes(self) -> int:
        """Read and written, each tensor once by its writer and once by every reader."""
        return sum(row.read_bytes + row.written_bytes for row in self.rows)

    @property
    def weight_bytes(self) -> int:
        """Weights, biases and slopes as read by the layers."""
        return sum(row.weight_bytes for row in self.rows)


def cost(
    net: nw.Network, height: int, width: int, transposed: str = "output", element_bytes: int = 1
) -> Cost:
    """Count a network's parameters, multiply-accumulates and bytes.

    Parameters
    ----------
    net : Network
        Linear blocks are counted collapsed, as they are deployed; ``expanded(net)`` as trained.
    height, width : int
        Pixels of the input, the low resolution.
    transposed : {"output", "input"}
        Transposed convolutions at their output resolution, which is behind the paper's 6.00 G for
        FSRCNN, or at their input resolution, the products that remain once those with the stuffed
        zeros are left out.
    element_bytes : int
        Bytes of an activation and of a weight: 1 for 8 bit, 4 for float32.

    Returns
    -------
    Cost
        ``.parameters``, ``.biases``, ``.slopes``, ``.macs`` and ``.rows``, one a layer.

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
    if transposed not in TRANSPOSED:
        raise ValueError(f"transposed must be one of {TRANSPOSED}, got {transposed!r}")
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
    pixels["transposed"] = pixels[transposed]
    return LayerCost(
        name=layer.name,
        kind=type(layer).__name__,
        parameters=own.get("weight", 0),
        biases=own.get("bias", 0),
        slopes=own.get("slope", 0),
        macs=MACS[type(layer)](layer, used.get("weight", 0), pixels),
        read_bytes=element_bytes * sum(math.prod(shapes[i]) for i in inputs),
        written_bytes=element_bytes * math.prod(out),
        weight_bytes=element_bytes * sum(used.values()),
    )
