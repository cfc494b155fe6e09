"""DRCN: one convolution applied again and again to a bicubic enlargement."""

from __future__ import annotations

from sesr_ref.limits import whole_number
from sesr_ref.network import Add, Concat, Conv, Gain, Layer, Network, ReLU, Resize, Scale


def drcn(upscale: int = 2, features: int = 256, recursions: int = 16) -> Network:
    """DRCN: every recursion makes an image, their weighted mean is the result.

    Parameters
    ----------
    upscale : int
        Of the bicubic enlargement; the convolutions are the same for every one.
    features, recursions : int
        Channels of the convolutions, and how often the shared one is applied.

    Returns
    -------
    Network
        One channel in and out.

    Raises
    ------
    ValueError
        If `upscale` is below 2 or a size is out of bounds.

    Notes
    -----
    Kim et al., "Deeply-Recursive Convolutional Network for Image Super-Resolution" (CVPR 2016),
    section 3, figure 3(a).  The learnt factors ``weight1.gain``, ... are those of the weighted sum
    times the number of recursions, so that all of 1 are the mean.
    """
    whole_number("upscale", upscale, 2, 16)
    whole_number("recursions", recursions, 1, 1000)
    layers: list[Layer] = [
        Resize("bicubic", upscale),
        Conv("embed0", features, 3),
        ReLU("embed0_act"),
        Conv("embed1", features, 3),
        ReLU("state0"),
    ]
    for i in range(1, recursions + 1):
        owner = "recursion1" if i > 1 else ""
        layers.append(Conv(f"recursion{i}", features, 3, inputs=(f"state{i - 1}",), shares=owner))
        layers.append(ReLU(f"state{i}"))
    for i in range(1, recursions + 1):
        layers += _reconstruction(i, features)
    weighted = tuple(f"weight{i}" for i in range(1, recursions + 1))
    layers += [Add("sum", inputs=weighted), Scale("output", 1 / recursions)]
    return Network(f"drcn-x{upscale}", upscale, 1, tuple(layers))


def _reconstruction(i: int, features: int) -> list[Layer]:
    """What makes an image of state `i` and of the input; all share the weights of the first."""

    def owner(name: str) -> str:
        return f"{name}1" if i > 1 else ""

    return [
        Conv(f"rebuild{i}", features, 3, inputs=(f"state{i}",), shares=owner("rebuild")),
        ReLU(f"rebuild{i}_act"),
        Concat(f"joined{i}", inputs=(f"rebuild{i}_act", "bicubic")),
        Conv(f"image{i}", 1, 3, shares=owner("image")),
        Gain(f"weight{i}"),
    ]
