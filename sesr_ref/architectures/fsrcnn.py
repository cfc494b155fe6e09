"""FSRCNN, the baseline of the paper's tables."""

from __future__ import annotations

from sesr_ref.architectures.options import ACTIVATIONS, check_choice
from sesr_ref.limits import whole_number
from sesr_ref.network import Conv, ConvTranspose, Layer, Network


def fsrcnn(
    upscale: int = 2, activation: str = "prelu", features: int = 56, shrink: int = 12, maps: int = 4
) -> Network:
    """FSRCNN(d, s, m) = FSRCNN(`features`, `shrink`, `maps`), the paper's baseline.

    Parameters
    ----------
    upscale : int
        Stride of the 9 x 9 transposed convolution that makes the output.
    activation : {"prelu", "relu"}
        After every convolution but the last.
    features, shrink, maps : int
        The FSRCNN paper's d, s and m.

    Returns
    -------
    Network

    Raises
    ------
    ValueError
        For an unknown activation, an enlargement outside 1 to 9 or another size out of bounds.

    Notes
    -----
    Dong et al., "Accelerating the Super-Resolution Convolutional Neural Network" (ECCV 2016),
    figure 2.  No biases: 12.46 K is the count of its weights alone.
    """
    check_choice("activation", activation, ACTIVATIONS)
    whole_number("upscale", upscale, 1, 9)
    whole_number("maps", maps, 0, 1000)
    mapping = [(f"map{i}", shrink, 3) for i in range(maps)]
    stages = [("extract", features, 5), ("shrink", shrink, 1), *mapping, ("expand", features, 1)]
    layers: list[Layer] = []
    for name, size, kernel in stages:
        layers += [Conv(name, size, kernel), ACTIVATIONS[activation](f"{name}_act")]
    deconv = ConvTranspose("deconv", 1, 9, upscale)
    return Network(f"fsrcnn-x{upscale}", upscale, 1, (*layers, deconv))
