"""The larger networks that the paper's tables compare with: VDSR, LapSRN and CARN-M.

Without biases, as everywhere here: the papers' parameter counts leave them out.
"""

from __future__ import annotations

from sesr_ref.network import (
    Add,
    Concat,
    Conv,
    ConvTranspose,
    DepthToSpace,
    Layer,
    LeakyReLU,
    Network,
    ReLU,
    Resize,
)


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
    _check_int("upscale", upscale, range(2, 17))
    _check_int("depth", depth, range(2, 1001))
    layers: list[Layer] = [Resize("bicubic", upscale)]
    for i in range(depth - 1):
        layers += [Conv(f"conv{i}", features, 3), ReLU(f"act{i}")]
    layers.append(Conv(f"conv{depth - 1}", 1, 3))
    layers.append(Add("output", inputs=(f"conv{depth - 1}", "bicubic")))
    return Network(f"vdsr-x{upscale}", upscale, 1, tuple(layers))


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
    _check_int("upscale", upscale, (2, 4, 8))
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
    _check_int("upscale", upscale, (2, 3, 4))
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


def _check_int(key: str, value: object, known: range | tuple[int, ...]) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value not in known:
        needed = f"{known[0]} to {known[-1]}" if isinstance(known, range) else f"one of {known}"
        raise ValueError(f"{key} must be {needed}, got {value!r}")
