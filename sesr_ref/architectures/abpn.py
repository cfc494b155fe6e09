"""ABPN: plain convolutions that correct the repeated input."""

from __future__ import annotations

from sesr_ref.limits import whole_number
from sesr_ref.network import Add, Clip, Concat, Conv, DepthToSpace, Layer, Network, ReLU


def abpn(upscale: int = 2, blocks: int = 4, features: int = 28) -> Network:
    """ABPN-M{blocks}C{features}: every subpixel is its input pixel and a correction.

    Parameters
    ----------
    upscale : int
        Of the shuffle; 3 in the paper.
    blocks, features : int
        3 x 3 convolutions between the first and the last two, and their channels.

    Returns
    -------
    Network
        Three channels (RGB) in and out.

    Raises
    ------
    ValueError
        If a size is out of bounds.

    Notes
    -----
    Du et al., "Anchor-based Plain Net for Mobile Image Super-Resolution" (CVPR Workshops 2021),
    section 3.  The input side by side with itself and TensorFlow's order of the shuffle repeat
    it, as in the authors' code.
    """
    whole_number("upscale", upscale, 2, 16)
    whole_number("blocks", blocks, 0, 1000)
    layers: list[Layer] = [Conv("head", features, 3, bias=True), ReLU("head_act")]
    for i in range(blocks):
        layers += [Conv(f"conv{i}", features, 3, bias=True), ReLU(f"act{i}")]
    layers += [
        Conv("tail", 3 * upscale**2, 3, bias=True),
        ReLU("tail_act"),
        Conv("correction", 3 * upscale**2, 3, bias=True),
        Concat("repeated", inputs=("input",) * upscale**2),
        Add("subpixels", inputs=("correction", "repeated")),
        DepthToSpace("shuffle", upscale),
        Clip("clip"),
    ]
    return Network(f"abpn-m{blocks}c{features}-x{upscale}", upscale, 3, tuple(layers))
