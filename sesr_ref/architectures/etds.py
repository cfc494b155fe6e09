"""ETDS: two streams in training, plain convolutions in use."""

from __future__ import annotations

from sesr_ref.architectures.blocks import Body
from sesr_ref.architectures.blocks import etds as two_streams
from sesr_ref.limits import whole_number
from sesr_ref.network import (
    Add,
    Composite,
    Concat,
    Conv,
    DepthToSpace,
    Layer,
    Network,
    ReLU,
    Scale,
    Shift,
    Slice,
)


def etds(upscale: int = 2, blocks: int = 5, features: int = 16, residual: int = 3) -> Network:
    """ETDS: T is the default, S ``(4, 32)``, M ``(6, 32)``, L ``(7, 48)``.

    Parameters
    ----------
    upscale : int
        Of the shuffle.
    blocks, features : int
        3 x 3 convolutions between the first and the last, and their channels when collapsed.
    residual : int
        Those of `features` that make up the residual stream, which the other stream reads and
        never changes.

    Returns
    -------
    Network
        Three channels (RGB) in and out.  As trained both streams have convolutions of their own;
        collapsed it is what the authors deploy: 3 x 3 convolutions, ReLUs and one fixed 1 x 1.

    Raises
    ------
    ValueError
        If a size is out of bounds.

    Notes
    -----
    Chao et al., "Equivalent Transformation and Dual Stream Network Construction for Mobile Image
    Super-Resolution" (CVPR 2023), section 3.  The result is clipped to [0, 1] as
    ``relu(1 - relu(1 - y))``.  The authors start the residual stream as a copy of the image, and
    their loss also sees what that stream alone makes.
    """
    whole_number("upscale", upscale, 2, 16)
    whole_number("blocks", blocks, 0, 1000)
    whole_number("residual", residual, 3, 1 << 15)
    whole_number("features", features, residual + 1, 1 << 15)
    layers: list[Layer] = [Composite("head", _head(features, residual), "zero"), ReLU("head_act")]
    for i in range(blocks):
        body = two_streams(features, features, residual)
        layers += [Composite(f"block{i}", body, "zero"), ReLU(f"act{i}")]
    layers += [
        Composite("tail", _tail(features, residual, 3 * upscale**2), "zero"),
        Shift("below_white", 1.0),
        ReLU("below_white_act"),
        Composite("clip", _negative()),
        Shift("above_black", 1.0),
        ReLU("above_black_act"),
        DepthToSpace("shuffle", upscale, "CRD"),
    ]
    return Network(f"etds-m{blocks}c{features}-x{upscale}", upscale, 3, tuple(layers))


def _head(features: int, residual: int) -> Body:
    return (
        Conv("main_conv", features - residual, 3, bias=True, inputs=("input",)),
        Conv("side_conv", residual, 3, bias=True, inputs=("input",)),
        Concat("output", inputs=("main_conv", "side_conv")),
    )


def _tail(features: int, residual: int, subpixels: int) -> Body:
    """Both streams' images, added and negated."""
    split = features - residual
    return (
        Slice("main", 0, split, inputs=("input",)),
        Slice("side", split, features, inputs=("input",)),
        Conv("main_conv", subpixels, 3, bias=True, inputs=("main",)),
        Conv("side_conv", subpixels, 3, bias=True, inputs=("side",)),
        Add("sum", inputs=("main_conv", "side_conv")),
        Scale("output", -1.0),
    )


def _negative() -> Body:
    # the concatenation makes it one convolution of all channels, as deployed, not one a channel
    return Concat("all", inputs=("input",)), Scale("output", -1.0)
