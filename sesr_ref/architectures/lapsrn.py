"""LapSRN: a Laplacian pyramid."""

from __future__ import annotations

from sesr_ref.architectures.options import check_choice
from sesr_ref.network import Add, Conv, ConvTranspose, Layer, LeakyReLU, Network


def lapsrn(upscale: int = 2, depth: int = 10, features: int = 64) -> Network:
    """LapSRN: a Laplacian pyramid, one level for every doubling.

    Parameters
    ----------
    upscale : int
        2, 4 or 8.
    depth, features : int
        3 x 3 convolutions in each level, and their channels.

    Returns
    -------
    Network
        One channel in and out.

    Raises
    ------
    ValueError
        For another enlargement.

    Notes
    -----
    Lai et al., "Deep Laplacian Pyramid Networks for Fast and Accurate Super-Resolution" (CVPR
    2017), section 3.  The features are enlarged by a 3 x 3 transposed convolution, as in the
    authors' published code (crop 0 above, 1 below) and as the printed 813 K weights require; the
    image by a 4 x 4 one, which starts as bilinear interpolation.  813 K is the network for x4.
    """
    check_choice("upscale", upscale, (2, 4, 8))
    layers: list[Layer] = [Conv("head", features, 3), LeakyReLU("head_act", 0.2)]
    image, feature = "input", "head_act"
    for level in range(upscale.bit_length() - 1):
        made, image, feature = _pyramid_level(f"level{level}", image, feature, depth, features)
        layers += made
    return Network(f"lapsrn-x{upscale}", upscale, 1, tuple(layers))


def _pyramid_level(
    name: str, image: str, feature: str, depth: int, features: int
) -> tuple[list[Layer], str, str]:
    """Layers that double the image and the features, and the names of both."""
    layers: list[Layer] = []
    for i in range(depth):
        inputs = () if i else (feature,)
        layers.append(Conv(f"{name}.conv{i}", features, 3, inputs=inputs))
        layers.append(LeakyReLU(f"{name}.act{i}", 0.2))
    layers += [
        ConvTranspose(f"{name}.enlarge", features, 3, 2, padding=0),
        LeakyReLU(f"{name}.features", 0.2),
        Conv(f"{name}.residual", 1, 3),
        ConvTranspose(f"{name}.image", 1, 4, 2, inputs=(image,)),
        Add(f"{name}.output", inputs=(f"{name}.image", f"{name}.residual")),
    ]
    return layers, f"{name}.output", f"{name}.features"
