"""XLSR: grouped convolutions for 8-bit hardware."""

from __future__ import annotations

from sesr_ref.limits import whole_number
from sesr_ref.network import Clip, Concat, Conv, DepthToSpace, Layer, Network, ReLU


def xlsr(upscale: int = 2, features: int = 32, blocks: int = 3, groups: int = 4) -> Network:
    """XLSR: `blocks` of a grouped 3 x 3 and a 1 x 1 convolution, beside one 3 x 3 of the input.

    Parameters
    ----------
    upscale : int
        Of the shuffle; 3 in the paper.
    features, blocks, groups : int
        Channels, blocks, and groups of their 3 x 3 convolutions.

    Returns
    -------
    Network
        Three channels (RGB) in and out.

    Raises
    ------
    ValueError
        If a size is out of bounds or `features` does not divide by `groups` and 2.

    Notes
    -----
    Ayazoglu, "Extremely Lightweight Quantization Robust Real-Time Single-Image Super Resolution
    for Mobile Devices" (CVPR Workshops 2021), section 3.  Its four 3 x 3 convolutions of the input
    side by side are one here.
    """
    whole_number("upscale", upscale, 2, 16)
    whole_number("blocks", blocks, 1, 1000)
    if features % 2:
        raise ValueError(f"features must be even, got {features}")
    layers: list[Layer] = [
        Conv("skip", features // 2, 3, bias=True),
        Conv("head", features, 3, bias=True, inputs=("input",)),
        ReLU("head_act"),
        Conv("mix", features, 1, bias=True),
    ]
    for i in range(blocks):
        layers += [
            Conv(f"block{i}.conv", features, 3, groups, bias=True),
            ReLU(f"block{i}.act"),
            Conv(f"block{i}", features, 1, bias=True),
        ]
    layers += [
        Concat("joined", inputs=(layers[-1].name, "skip")),
        Conv("fuse", features, 1, bias=True),
        ReLU("fuse_act"),
        Conv("tail", 3 * upscale**2, 3, bias=True),
        DepthToSpace("shuffle", upscale, "CRD"),
        Clip("clip"),
    ]
    return Network(f"xlsr-x{upscale}", upscale, 3, tuple(layers))
