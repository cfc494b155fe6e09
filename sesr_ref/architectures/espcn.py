"""ESPCN: three convolutions and the first shuffle."""

from __future__ import annotations

from sesr_ref.limits import whole_number
from sesr_ref.network import Conv, DepthToSpace, Network, Tanh


def espcn(upscale: int = 2, features: int = 64) -> Network:
    """ESPCN: 5 x 5, 3 x 3 and 3 x 3 convolutions at the low resolution, then depth to space.

    Parameters
    ----------
    upscale : int
        Of the shuffle.
    features : int
        Channels of the first convolution; the second has half of them.

    Returns
    -------
    Network
        One channel in and out.

    Raises
    ------
    ValueError
        If a size is out of bounds.

    Notes
    -----
    Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
    Convolutional Neural Network" (CVPR 2016), section 3; its authors found tanh better than ReLU.
    """
    whole_number("upscale", upscale, 2, 16)
    whole_number("features", features, 2, 1 << 15)
    return Network(
        f"espcn-x{upscale}",
        upscale,
        channels=1,
        layers=(
            Conv("conv0", features, 5, bias=True),
            Tanh("act0"),
            Conv("conv1", features // 2, 3, bias=True),
            Tanh("act1"),
            Conv("conv2", upscale**2, 3, bias=True),
            DepthToSpace("shuffle", upscale, "CRD"),
        ),
    )
