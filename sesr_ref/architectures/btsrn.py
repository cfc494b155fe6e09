"""BTSRN: residual bottlenecks ahead of and behind a nearest-neighbour enlargement."""

from __future__ import annotations

from sesr_ref.architectures.options import check_choice
from sesr_ref.limits import whole_number
from sesr_ref.network import Add, Conv, ConvTranspose, Layer, LeakyReLU, Network, Resize

SLOPE = 0.2
FACTORS = {2: (2,), 3: (3,), 4: (2, 2)}


def btsrn(
    upscale: int = 2,
    features: int = 64,
    bottleneck: int = 64,
    channels: int = 1,
    deconvolutions: bool = False,
    low_blocks: int = 6,
    high_blocks: int = 4,
) -> Network:
    """BTSRN: blocks at the input's resolution, an enlargement, blocks at the output's.

    Parameters
    ----------
    upscale : int
        2, 3 or 4, which is twice 2.
    features, bottleneck : int
        Channels between the blocks, and behind the 1 x 1 convolution inside each.
    channels : int
        1 for a network on Y, 3 for RGB.
    deconvolutions : bool
        Add a transposed convolution to every enlargement, and one more block between two of them.
    low_blocks, high_blocks : int
        Blocks at either resolution.

    Returns
    -------
    Network

    Raises
    ------
    ValueError
        For another enlargement or a size out of bounds.

    Notes
    -----
    Fan et al., "Balanced Two-Stage Residual Networks for Image Super-Resolution" (CVPR Workshops
    2017), section 3.  What other papers print, 410 K weights and 207.7 G (x2) or 165.2 G (x4) MACs,
    is the default: 64 channels throughout, one channel of colour, no deconvolution.  The authors'
    code is ``btsrn(upscale, 128, 64, 3, deconvolutions=True)``: 885.5 K and 476.1 G at x2.
    """
    check_choice("upscale", upscale, FACTORS)
    check_choice("channels", channels, (1, 3))
    whole_number("low_blocks", low_blocks, 0, 1000)
    whole_number("high_blocks", high_blocks, 0, 1000)
    layers: list[Layer] = [Conv("entry", features, 1)]
    for i in range(low_blocks):
        layers += _block(f"low{i}", layers[-1].name, features, bottleneck)
    for i, factor in enumerate(FACTORS[upscale]):
        if i and deconvolutions:
            layers += _block("between", layers[-1].name, features, bottleneck)
        layers += _enlargement(f"up{i}", layers[-1].name, features, factor, deconvolutions)
    for i in range(high_blocks):
        layers += _block(f"high{i}", layers[-1].name, features, bottleneck)
    layers += [LeakyReLU("exit_act", SLOPE), Conv("exit", channels, 1)]
    return Network(f"btsrn-x{upscale}", upscale, channels, tuple(layers))


def _block(name: str, start: str, features: int, bottleneck: int) -> list[Layer]:
    return [
        LeakyReLU(f"{name}.act0", SLOPE, inputs=(start,)),
        Conv(f"{name}.narrow", bottleneck, 1),
        LeakyReLU(f"{name}.act1", SLOPE),
        Conv(f"{name}.filter", features, 3),
        Add(name, inputs=(f"{name}.filter", start)),
    ]


def _enlargement(
    name: str, start: str, features: int, factor: int, deconvolution: bool
) -> list[Layer]:
    if not deconvolution:
        return [Resize(name, factor, "nearest", inputs=(start,))]
    return [
        Resize(f"{name}.nearest", factor, "nearest", inputs=(start,)),
        LeakyReLU(f"{name}.act", SLOPE, inputs=(start,)),
        ConvTranspose(f"{name}.deconv", features, factor, factor),
        Add(name, inputs=(f"{name}.nearest", f"{name}.deconv")),
    ]
