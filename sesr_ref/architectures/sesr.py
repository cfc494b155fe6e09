"""SESR: the paper's networks, with the options of its ablations and of the official code."""

from __future__ import annotations

from sesr_ref.architectures.options import ACTIVATIONS, check_choice
from sesr_ref.limits import whole_number
from sesr_ref.network import Add, Clip, Conv, DepthToSpace, Layer, LinearBlock, Network, Shift

BLOCK_BIASES = {"paper": ("none", "true"), "arm": ("true", "leaky")}


def sesr(
    blocks: int = 5,
    features: int = 16,
    upscale: int = 2,
    expand: int = 256,
    activation: str = "prelu",
    input_residual: bool = True,
    short_residuals: bool = True,
    linear_blocks: bool = True,
    dialect: str = "paper",
    block_bias: str = "none",
) -> Network:
    """SESR-M{blocks}; XL is ``sesr(11, 32)``.

    Parameters
    ----------
    blocks, features, expand : int
        The paper's m, f and p.
    upscale : int
        2, 4, 8, ...: a power of two, shuffled by 2 as many times as needed.
    activation : {"prelu", "relu"}
        After each 3 x 3 block; "relu" with ``input_residual=False`` is the hardware variant.
    input_residual : bool
        Add the input to every subpixel (the long black residual).
    short_residuals : bool
        Residuals over each 3 x 3 block; without them the blocks are ExpandNets'.
    linear_blocks : bool
        False takes plain convolutions instead; their short residuals become layers ``skip0``...
    dialect : {"paper", "arm"}
        "arm" is the network of the official code: input shifted by -0.5 ahead of the first block,
        output clipped to [0, 1].
    block_bias : {"none", "true", "leaky"}
        Biases of the blocks: "none" is the paper's; "true" fits both dialects and is the official
        code's expanded mode; "leaky" is its collapsed mode ("arm" only, see `LinearBlock`).

    Returns
    -------
    Network

    Raises
    ------
    ValueError
        For an unknown option value, with the ones that are known.

    Notes
    -----
    Bhardwaj et al. (MLSys 2022), sections 3.1 and 3.2, figure 2; ablations of section 4.4.
    """
    _check_options(blocks, upscale, activation, dialect, block_bias, linear_blocks)

    def block(name: str, size: int, kernel: int, residual: bool, *inputs: str) -> Layer:
        if linear_blocks:
            return LinearBlock(name, size, kernel, expand, residual, block_bias, inputs=inputs)
        return Conv(name, size, kernel, bias=block_bias == "true", inputs=inputs)

    body: list[Layer] = []
    for i in range(blocks):
        previous = body[-1].name if body else "head"
        body.append(block(f"block{i}", features, 3, short_residuals))
        if short_residuals and not linear_blocks:
            body.append(Add(f"skip{i}", inputs=(f"block{i}", previous)))
        body.append(ACTIVATIONS[activation](f"act{i}"))
    leaky_tail = block_bias == "leaky" and features == upscale**2
    arm = dialect == "arm"
    return Network(
        _sesr_name(blocks, features, upscale),
        upscale,
        channels=1,
        layers=(
            *([Shift("shift", -0.5)] if arm else []),
            block("head", features, 5, False),
            *body,
            Add("features", inputs=(body[-1].name, "head")),
            block("tail", upscale**2, 5, leaky_tail),
            *([Add("subpixels", inputs=("tail", "input"))] if input_residual else []),
            *(DepthToSpace(f"shuffle{i}", 2) for i in range(upscale.bit_length() - 1)),
            *([Clip("clip")] if arm else []),
        ),
    )


def _sesr_name(blocks: int, features: int, upscale: int) -> str:
    if (blocks, features) == (11, 32):
        return f"sesr-xl-x{upscale}"
    return (
        f"sesr-m{blocks}-x{upscale}" if features == 16 else f"sesr-m{blocks}-f{features}-x{upscale}"
    )


def _check_options(
    blocks: int, upscale: int, activation: str, dialect: str, block_bias: str, linear_blocks: bool
) -> None:
    whole_number("blocks", blocks, 1, 1000)
    if type(upscale) is not int or upscale < 2 or upscale & (upscale - 1):
        raise ValueError(f"upscale must be a power of two from 2 on, got {upscale!r}")
    check_choice("activation", activation, ACTIVATIONS)
    check_choice("dialect", dialect, BLOCK_BIASES)
    if block_bias not in BLOCK_BIASES[dialect]:
        known = BLOCK_BIASES[dialect]
        raise ValueError(f"block_bias of dialect {dialect!r} is one of {known}, got {block_bias!r}")
    if block_bias == "leaky" and not linear_blocks:
        raise ValueError("block_bias 'leaky' needs linear blocks")
