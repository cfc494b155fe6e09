"""CARN-M: cascading residual blocks of grouped, shared convolutions."""

from __future__ import annotations

from sesr_ref.architectures.options import check_choice
from sesr_ref.network import Add, Concat, Conv, DepthToSpace, Layer, Network, ReLU


def carn_m(upscale: int = 2, features: int = 64, groups: int = 4) -> Network:
    """CARN-M: cascading residual blocks of grouped, shared convolutions.

    Parameters
    ----------
    upscale : int
        2, 3 or 4; the original holds an upsampler for each and runs the one asked for, this
        description holds that one alone (named ``up2``, ``up3`` or ``up4`` and so on).
    features, groups : int
        Channels of every convolution, and the groups of the 3 x 3 ones.

    Returns
    -------
    Network
        Three channels (RGB) in and out.

    Raises
    ------
    ValueError
        For another enlargement.

    Notes
    -----
    Ahn et al., "Fast, Accurate, and Lightweight Super-Resolution with Cascading Residual Network"
    (ECCV 2018), section 3.  The mean colour that the authors' code takes from the input and adds
    to the output is pre- and postprocessing here.
    """
    check_choice("upscale", upscale, (2, 3, 4))
    layers: list[Layer] = [Conv("entry", features, 3)]
    joined = made = "entry"
    for i in range(3):
        cascade, out = _cascade(f"block{i}", made, features, groups)
        joined, made = f"join{i}", f"fuse{i}_act"
        previous = f"join{i - 1}" if i else "entry"
        layers += [
            *cascade,
            Concat(joined, inputs=(previous, out)),
            Conv(f"fuse{i}", features, 1),
            ReLU(made),
        ]
    for i, factor in enumerate({2: (2,), 3: (3,), 4: (2, 2)}[upscale]):
        name = f"up{upscale}.{i}"
        layers += [
            Conv(f"{name}.conv", features * factor**2, 3, groups),
            ReLU(f"{name}.act"),
            DepthToSpace(f"{name}.shuffle", factor, "CRD"),
        ]
    return Network(f"carn-m-x{upscale}", upscale, 3, (*layers, Conv("exit", 3, 3)))


def _cascade(name: str, start: str, features: int, groups: int) -> tuple[list[Layer], str]:
    """One cascading block: one residual unit three times, each result fused with all before."""
    layers: list[Layer] = []
    previous, made = start, start
    for i in range(3):
        unit = f"{name}.unit{i}"
        layers += _residual_unit(unit, f"{name}.unit0" if i else "", made, features, groups)
        layers += [
            Concat(f"{name}.join{i}", inputs=(previous, unit)),
            Conv(f"{name}.fuse{i}", features, 1),
            ReLU(f"{name}.fuse{i}_act"),
        ]
        previous, made = f"{name}.join{i}", f"{name}.fuse{i}_act"
    return layers, made


def _residual_unit(name: str, shares: str, start: str, features: int, groups: int) -> list[Layer]:
    """Two grouped 3 x 3 convolutions and a 1 x 1; `shares` names the unit that owns the weights."""

    def conv(stage: str, kernel_size: int, groups: int, *inputs: str) -> Conv:
        owner = shares and f"{shares}.{stage}"
        return Conv(f"{name}.{stage}", features, kernel_size, groups, shares=owner, inputs=inputs)

    return [
        conv("conv0", 3, groups, start),
        ReLU(f"{name}.act0"),
        conv("conv1", 3, groups),
        ReLU(f"{name}.act1"),
        conv("mix", 1, 1),
        Add(f"{name}.sum", inputs=(f"{name}.mix", start)),
        ReLU(name),
    ]
