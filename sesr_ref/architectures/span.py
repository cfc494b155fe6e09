"""SPAN: attention without parameters."""

from __future__ import annotations

from sesr_ref.architectures.blocks import conv3xc
from sesr_ref.limits import whole_number
from sesr_ref.network import (
    Add,
    Composite,
    Concat,
    Conv,
    DepthToSpace,
    Layer,
    Multiply,
    Network,
    Shift,
    Sigmoid,
    SiLU,
)


def span(upscale: int = 2, features: int = 48, blocks: int = 6, ratio: int = 2) -> Network:
    """SPAN: blocks whose result is multiplied by an odd function of itself.

    Parameters
    ----------
    upscale : int
        Of the shuffle.
    features, blocks : int
        Channels and attention blocks; 48 and 6 in the authors' code, 52 channels in their tables.
    ratio : int
        How many times as wide the 3 x 3 blocks are inside, before they collapse.

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
    Wan et al., "Swift Parameter-free Attention Network for Efficient Super-Resolution" (CVPR
    Workshops 2024), section 3, and its authors' code, where the activation of a block's first
    convolution works in place, so that the last block's is read activated.  The mean colour that
    the code takes from the input, and its factor of 255, are preprocessing here.
    """
    whole_number("upscale", upscale, 2, 16)
    whole_number("features", features, 1, 1 << 10)
    whole_number("blocks", blocks, 1, 1000)
    whole_number("ratio", ratio, 1, 1 << 5)
    layers: list[Layer] = [_conv("head", 3, features, ratio)]
    for i in range(blocks):
        layers += _attention(f"block{i}", layers[-1].name, features, ratio)
    seen = ("head", "body", "block0", f"block{blocks - 1}.act0")
    layers += [
        _conv("body", features, features, ratio),
        Concat("joined", inputs=seen),
        Conv("fuse", features, 1, bias=True),
        Conv("tail", 3 * upscale**2, 3, bias=True),
        DepthToSpace("shuffle", upscale, "CRD"),
    ]
    return Network(f"span-x{upscale}", upscale, 3, tuple(layers))


def _conv(name: str, channels: int, features: int, ratio: int, *inputs: str) -> Composite:
    body = conv3xc(channels, features, ratio * features, ratio * channels)
    return Composite(name, body, inputs=inputs)


def _attention(name: str, start: str, features: int, ratio: int) -> list[Layer]:
    """Three convolutions h of x, then ``(h + x) * (sigmoid(h) - 0.5)``."""
    return [
        _conv(f"{name}.conv0", features, features, ratio, start),
        SiLU(f"{name}.act0"),
        _conv(f"{name}.conv1", features, features, ratio),
        SiLU(f"{name}.act1"),
        _conv(f"{name}.conv2", features, features, ratio),
        Add(f"{name}.sum", inputs=(f"{name}.conv2", start)),
        Sigmoid(f"{name}.gate", inputs=(f"{name}.conv2",)),
        Shift(f"{name}.attention", -0.5),
        Multiply(name, inputs=(f"{name}.sum", f"{name}.attention")),
    ]
