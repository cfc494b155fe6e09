"""QuickSRNet: plain 3 x 3 convolutions whose results are clipped."""

from __future__ import annotations

from sesr_ref.limits import whole_number
from sesr_ref.network import Add, Clip, Conv, DepthToSpace, Layer, Network


def quicksrnet(
    upscale: int = 2, blocks: int = 2, features: int = 32, anchor: bool = False
) -> Network:
    """QuickSRNet; Small is the default, Medium has 5 blocks, Large ``(11, 64, anchor=True)``.

    Parameters
    ----------
    upscale : int
        Of the shuffle.
    blocks, features : int
        3 x 3 convolutions between the first and the last, and their channels.
    anchor : bool
        Add a 1 x 1 convolution of the input, which its authors start as its repetition.

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
    Berger et al., "QuickSRNet: Plain Single-Image Super-Resolution Architecture for Faster
    Inference on Mobile Platforms" (CVPR Workshops 2023), section 3, and its authors' code.
    """
    whole_number("upscale", upscale, 2, 16)
    whole_number("blocks", blocks, 0, 1000)
    layers: list[Layer] = [Conv("head", features, 3, bias=True), Clip("head_act")]
    for i in range(blocks):
        layers += [Conv(f"conv{i}", features, 3, bias=True), Clip(f"act{i}")]
    layers.append(Conv("tail", 3 * upscale**2, 3, bias=True))
    if anchor:
        layers += [
            Conv("anchor", 3 * upscale**2, 1, bias=True, inputs=("input",)),
            Add("subpixels", inputs=("tail", "anchor")),
        ]
    layers += [Clip("clip"), DepthToSpace("shuffle", upscale, "CRD")]
    return Network(f"quicksrnet-m{blocks}c{features}-x{upscale}", upscale, 3, tuple(layers))
