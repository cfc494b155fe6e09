"""Published linear blocks, each a body that collapses to one convolution.

A function takes the channels of the input and of the output and, where the block has one, the width
inside it; `border` is how its authors compute it layer by layer.  `BLOCKS` are those that `sesr`
takes in place of the paper's.
"""

from __future__ import annotations

from collections.abc import Callable

from sesr_ref.network import (
    Add,
    BatchNorm,
    Composite,
    Concat,
    Conv,
    Layer,
    Linear,
    LinearBlock,
    Slice,
    Stencil,
)

Body = tuple[Layer, ...]
SOBEL_X = ((1.0, 0.0, -1.0), (2.0, 0.0, -2.0), (1.0, 0.0, -1.0))
SOBEL_Y = ((1.0, 2.0, 1.0), (0.0, 0.0, 0.0), (-1.0, -2.0, -1.0))
LAPLACE = ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0))
MEAN = ((1 / 9,) * 3,) * 3
RIGHT = ((0.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.0, 0.0))
"""Moves an image by one pixel: each takes the one to its right."""


def expandnet_cl(channels: int, features: int, expand: int, kernel_size: int = 3) -> Body:
    """ExpandNets-CL: 1 x 1, k x k, 1 x 1 (Guo et al., NeurIPS 2020, section 3.1)."""
    return (
        Conv("widen", expand, 1, bias=True),
        Conv("middle", expand, kernel_size, bias=True),
        Conv("narrow", features, 1, bias=True),
    )


def expandnet_depthwise(channels: int, features: int, ratio: int = 4, kernel_size: int = 3) -> Body:
    """ExpandNets-CL of a depthwise convolution: each channel by itself (Guo et al., appendix)."""
    wide = ratio * channels
    return (
        Conv("widen", wide, 1, channels),
        Conv("middle", wide, kernel_size, channels),
        Conv("narrow", channels, 1, channels),
    )


def expandnet_ck(channels: int, features: int, expand: int, kernel_size: int = 5) -> Body:
    """ExpandNets-CK: a k x k as 3 x 3 after 3 x 3 (Guo et al., section 3.2)."""
    if kernel_size == 3:  # holds no smaller square
        return Conv("tall", expand, (3, 1), bias=True), Conv("long", features, (1, 3), bias=True)
    count = kernel_size // 2
    sizes = (*[expand] * (count - 1), features)
    return tuple(Conv(f"conv{i}", size, 3, bias=True) for i, size in enumerate(sizes))


def acnet(channels: int, features: int) -> Body:
    """ACNet's: 3 x 3, 3 x 1 and 1 x 3 beside each other (Ding et al., ICCV 2019, figure 3)."""
    shapes: dict[str, int | tuple[int, int]] = {"square": 3, "tall": (3, 1), "long": (1, 3)}
    body: list[Layer] = []
    for name, shape in shapes.items():
        body += [Conv(name, features, shape, inputs=("input",)), BatchNorm(f"{name}_norm")]
    return (*body, Add("output", inputs=tuple(f"{name}_norm" for name in shapes)))


def repvgg(channels: int, features: int, groups: int = 1) -> Body:
    """RepVGG's: 3 x 3, 1 x 1 and the input, each normalised (Ding et al., CVPR 2021, figure 4)."""
    body: list[Layer] = [
        Conv("square", features, 3, groups, inputs=("input",)),
        BatchNorm("square_norm"),
        Conv("point", features, 1, groups, inputs=("input",)),
        BatchNorm("point_norm"),
    ]
    same = [BatchNorm("identity_norm", inputs=("input",))] if channels == features else []
    names = ("square_norm", "point_norm", *(layer.name for layer in same))
    return (*body, *same, Add("output", inputs=names))


def dbb(channels: int, features: int) -> Body:
    """Diverse Branch Block of four normalised branches (Ding et al., CVPR 2021, figure 2)."""
    return (
        Conv("square", features, 3, inputs=("input",)),
        BatchNorm("square_norm"),
        Conv("mean_point", features, 1, inputs=("input",)),
        BatchNorm("mean_inner"),
        Stencil("mean", MEAN),
        BatchNorm("mean_norm"),
        Conv("point", features, 1, inputs=("input",)),
        BatchNorm("point_norm"),
        Conv("deep_point", channels, 1, inputs=("input",)),
        Add("deep_sum", inputs=("deep_point", "input")),
        BatchNorm("deep_inner"),
        Conv("deep", features, 3),
        BatchNorm("deep_norm"),
        Add("output", inputs=("square_norm", "mean_norm", "point_norm", "deep_norm")),
    )


def ecb(channels: int, features: int, expand: int, identity: bool = True) -> Body:
    """ECBSR's, with edge filters; widened to 2 x features (Zhang et al., ACM MM 2021, 3.2)."""
    body: list[Layer] = [
        Conv("square", features, 3, bias=True, inputs=("input",)),
        Conv("widen", expand, 1, bias=True, inputs=("input",)),
        Conv("narrow", features, 3, bias=True),
    ]
    for name, taps in (("sobel_x", SOBEL_X), ("sobel_y", SOBEL_Y), ("laplace", LAPLACE)):
        body.append(Conv(f"{name}_point", features, 1, bias=True, inputs=("input",)))
        body.append(Stencil(name, taps, factor=True, bias=True))
    same = ("input",) if identity and channels == features else ()
    names = ("square", "narrow", "sobel_x", "sobel_y", "laplace", *same)
    return (*body, Add("output", inputs=names))


def repsr(channels: int, features: int, expand: int) -> Body:
    """RepSR's: twice 3 x 3, normalised, 1 x 1, and the identity (Wang et al., 2022, figure 3)."""
    body: list[Layer] = []
    for name in ("first", "second"):
        body += [
            Conv(f"{name}_expand", expand, 3, bias=True, inputs=("input",)),
            BatchNorm(f"{name}_norm"),
            Conv(f"{name}_project", features, 1, bias=True),
        ]
    same = ("input",) if channels == features else ()
    return (*body, Add("output", inputs=("first_project", "second_project", *same)))


def conv3xc(channels: int, features: int, expand: int, widen: int = 0) -> Body:
    """SPAN's Conv3XC: 1 x 1, 3 x 3, 1 x 1, and a 1 x 1 beside them (Wan et al., NTIRE 2024)."""
    return (
        Conv("widen", widen or expand, 1, bias=True),  # of another width in SPAN's first one
        Conv("middle", expand, 3, bias=True),
        Conv("narrow", features, 1, bias=True),
        Conv("point", features, 1, bias=True, inputs=("input",)),
        Add("output", inputs=("narrow", "point")),
    )


def etds(channels: int, features: int, residual: int = 3) -> Body:
    """ETDS' two streams; the last channels are the residual one (Chao et al., CVPR 2023)."""
    split, backbone = channels - residual, features - residual
    return (
        Slice("main", 0, split, inputs=("input",)),
        Slice("side", split, channels, inputs=("input",)),
        Conv("main_conv", backbone, 3, bias=True, inputs=("main",)),
        Conv("cross_conv", backbone, 3, bias=True, inputs=("side",)),
        Add("main_sum", inputs=("main_conv", "cross_conv")),
        Conv("side_conv", residual, 3, bias=True, inputs=("side",)),
        Concat("output", inputs=("main_sum", "side_conv")),
    )


def ghost(channels: int, features: int) -> Body:
    """GhostSR's: half of the features, and these moved by a pixel (Nie et al., 2021)."""
    return (
        Conv("primary", features // 2, 3, bias=True),
        Stencil("moved", RIGHT),
        Concat("output", inputs=("primary", "moved")),
    )


Make = Callable[[int, int], tuple[Body, str]]
"""(features, expand) -> body from as many features to as many, and its border as published."""

BLOCKS: dict[str, Make] = {
    "ecb": lambda features, expand: (ecb(features, features, expand), "bias"),
    "repvgg": lambda features, expand: (repvgg(features, features), "zero"),
    "dbb": lambda features, expand: (dbb(features, features), "bias"),
    "acnet": lambda features, expand: (acnet(features, features), "zero"),
    "expandnet_cl": lambda features, expand: (expandnet_cl(features, features, expand), "plane"),
    "expandnet_ck": lambda features, expand: (expandnet_ck(features, features, expand, 3), "plane"),
    "repsr": lambda features, expand: (repsr(features, features, expand), "zero"),
    "conv3xc": lambda features, expand: (conv3xc(features, features, expand), "plane"),
}
"""Blocks by name that stand in for the 3 x 3 ones of SESR."""
OWN_IDENTITY = frozenset({"ecb", "repvgg", "dbb", "repsr"})
"""Those that hold the identity themselves, in place of the short residual."""


def body_block(
    block: str, name: str, features: int, expand: int, residual: bool, bias: str
) -> Linear:
    """One 3 x 3 block of SESR's body.

    Parameters
    ----------
    block : str
        ``"sesr"``, the paper's, or one of `BLOCKS`.
    name : str
        The layer's.
    features, expand : int
        Channels outside and inside.
    residual : bool
        Whether the identity is added, by a block that does not hold it itself.
    bias : str
        Of the paper's block, see `LinearBlock`.

    Returns
    -------
    Linear
    """
    if block == "sesr":
        return LinearBlock(name, features, 3, expand, residual, bias)
    body, border = BLOCKS[block](features, expand)
    if residual and block not in OWN_IDENTITY:
        body = (*body, Add("short", inputs=(body[-1].name, "input")))
    return Composite(name, body, border)
