"""ECBSR: edge-oriented blocks that become 3 x 3 convolutions."""

from __future__ import annotations

from sesr_ref.architectures.blocks import ecb
from sesr_ref.architectures.options import ACTIVATIONS, check_choice
from sesr_ref.limits import whole_number
from sesr_ref.network import Add, Composite, DepthToSpace, Layer, Network


def ecbsr(
    upscale: int = 2, blocks: int = 4, features: int = 16, activation: str = "prelu"
) -> Network:
    """ECBSR-M{blocks}C{features}: `blocks` + 2 edge blocks, the input added, one shuffle.

    Parameters
    ----------
    upscale : int
        Of the shuffle.
    blocks, features : int
        The paper's M and C.
    activation : {"prelu", "relu"}
        After every block but the last.

    Returns
    -------
    Network
        One channel in and out.

    Raises
    ------
    ValueError
        For an unknown activation or a size out of bounds.

    Notes
    -----
    Zhang et al., "Edge-oriented Convolution Block for Real-time Super Resolution on Mobile
    Devices" (ACM Multimedia 2021), section 3.  The blocks hold no identity, as in the authors'
    configurations of the published networks.
    """
    whole_number("upscale", upscale, 2, 16)
    whole_number("blocks", blocks, 0, 1000)
    whole_number("features", features, 1, 1 << 15)
    check_choice("activation", activation, ACTIVATIONS)
    layers: list[Layer] = [_block("head", 1, features), ACTIVATIONS[activation]("head_act")]
    for i in range(blocks):
        layers += [_block(f"block{i}", features, features), ACTIVATIONS[activation](f"act{i}")]
    layers += [
        _block("tail", features, upscale**2),
        Add("subpixels", inputs=("tail", "input")),
        DepthToSpace("shuffle", upscale, "CRD"),
    ]
    return Network(f"ecbsr-m{blocks}c{features}-x{upscale}", upscale, 1, tuple(layers))


def _block(name: str, channels: int, features: int) -> Composite:
    body = ecb(channels, features, 2 * features, identity=False)
    return Composite(name, body, border="bias")
