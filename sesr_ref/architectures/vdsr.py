"""VDSR: a bicubic enlargement, corrected at the high resolution."""

from __future__ import annotations

from sesr_ref.limits import whole_number
from sesr_ref.network import Add, Conv, Layer, Network, ReLU, Resize


def vdsr(upscale: int = 2, depth: int = 20, features: int = 64) -> Network:
    """VDSR: a bicubic enlargement and `depth` 3 x 3 convolutions that correct it.

    Parameters
    ----------
    upscale : int
        Of the bicubic enlargement; the convolutions are the same for every one.
    depth, features : int
        Convolutions, and channels between them.

    Returns
    -------
    Network
        One channel in and out.

    Raises
    ------
    ValueError
        If `upscale` or `depth` is below 2.

    Notes
    -----
    Kim et al., "Accurate Image Super-Resolution Using Very Deep Convolutional Networks" (CVPR
    2016), section 3.1.  665 K weights, all at the high resolution.
    """
    whole_number("upscale", upscale, 2, 16)
    whole_number("depth", depth, 2, 1000)
    layers: list[Layer] = [Resize("bicubic", upscale)]
    for i in range(depth - 1):
        layers += [Conv(f"conv{i}", features, 3), ReLU(f"act{i}")]
    layers.append(Conv(f"conv{depth - 1}", 1, 3))
    layers.append(Add("output", inputs=(f"conv{depth - 1}", "bicubic")))
    return Network(f"vdsr-x{upscale}", upscale, 1, tuple(layers))
