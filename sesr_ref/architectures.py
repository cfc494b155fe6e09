"""The architectures, each written once, in the order of its paper's figure."""

from __future__ import annotations

from collections.abc import Iterable

from sesr_ref.network import (
    Add,
    Clip,
    Conv,
    ConvTranspose,
    DepthToSpace,
    Layer,
    LinearBlock,
    Network,
    PReLU,
    ReLU,
    Shift,
)

ACTIVATIONS: dict[str, type[PReLU] | type[ReLU]] = {"prelu": PReLU, "relu": ReLU}
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
    _check_count("blocks", blocks, 1, 1000)
    if type(upscale) is not int or upscale < 2 or upscale & (upscale - 1):
        raise ValueError(f"upscale must be a power of two from 2 on, got {upscale!r}")
    _check_choice("activation", activation, ACTIVATIONS)
    _check_choice("dialect", dialect, BLOCK_BIASES)
    if block_bias not in BLOCK_BIASES[dialect]:
        known = BLOCK_BIASES[dialect]
        raise ValueError(f"block_bias of dialect {dialect!r} is one of {known}, got {block_bias!r}")
    if block_bias == "leaky" and not linear_blocks:
        raise ValueError("block_bias 'leaky' needs linear blocks")


def _check_choice(name: str, value: object, known: Iterable[str]) -> None:
    if value not in (choices := sorted(known)):
        raise ValueError(f"{name} must be one of {choices}, got {value!r}")


def _check_count(name: str, value: object, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{name} must be {low} to {high}, got {value!r}")


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
    _check_choice("activation", activation, ACTIVATIONS)
    _check_count("upscale", upscale, 1, 9)
    _check_count("maps", maps, 0, 1000)
    mapping = [(f"map{i}", shrink, 3) for i in range(maps)]
    stages = [("extract", features, 5), ("shrink", shrink, 1), *mapping, ("expand", features, 1)]
    layers: list[Layer] = []
    for name, size, kernel in stages:
        layers += [Conv(name, size, kernel), ACTIVATIONS[activation](f"{name}_act")]
    deconv = ConvTranspose("deconv", 1, 9, upscale)
    return Network(f"fsrcnn-x{upscale}", upscale, 1, (*layers, deconv))
