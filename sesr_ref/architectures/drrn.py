"""DRRN: one residual unit applied again and again to a bicubic enlargement."""

from __future__ import annotations

from sesr_ref.limits import whole_number
from sesr_ref.network import Add, Conv, Layer, Network, ReLU, Resize


def drrn(upscale: int = 2, features: int = 128, units: int = 25) -> Network:
    """DRRN-B1U25: one recursive block of `units` residual units that share their weights.

    Parameters
    ----------
    upscale : int
        Of the bicubic enlargement; the convolutions are the same for every one.
    features, units : int
        Channels of the convolutions, and residual units.

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
    Tai et al., "Image Super-Resolution via Deep Recursive Residual Network" (CVPR 2017), section
    3, figure 2(d).  Without the batch normalisation ahead of each ReLU, which later work leaves
    out as well: it cannot be part of a convolution behind the ReLU.
    """
    whole_number("upscale", upscale, 2, 16)
    whole_number("units", units, 1, 1000)
    layers: list[Layer] = [
        Resize("bicubic", upscale),
        ReLU("entry_act"),
        Conv("entry", features, 3),
    ]
    for i in range(units):
        layers += _unit(f"unit{i}", layers[-1].name, "unit0" if i else "", features)
    layers += [
        ReLU("exit_act"),
        Conv("exit", 1, 3),
        Add("output", inputs=("exit", "bicubic")),
    ]
    return Network(f"drrn-x{upscale}", upscale, 1, tuple(layers))


def _unit(name: str, start: str, owner: str, features: int) -> list[Layer]:
    """Two convolutions, each behind a ReLU; what the block begins with is added to all of them."""

    def conv(stage: str) -> Conv:
        return Conv(f"{name}.{stage}", features, 3, shares=owner and f"{owner}.{stage}")

    return [
        ReLU(f"{name}.act0", inputs=(start,)),
        conv("conv0"),
        ReLU(f"{name}.act1"),
        conv("conv1"),
        Add(name, inputs=(f"{name}.conv1", "entry")),
    ]
