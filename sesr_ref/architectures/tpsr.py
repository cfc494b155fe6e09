"""TPSR: a tiny network found by architecture search."""

from __future__ import annotations

from sesr_ref.architectures.options import check_choice
from sesr_ref.network import Add, Conv, DepthToSpace, Layer, Network, PReLU


def tpsr(upscale: int = 2, features: int = 16) -> Network:
    """TPSR-NoGAN: a cell of ten convolutions, then one shuffle for every doubling.

    Parameters
    ----------
    upscale : int
        2 or 4.
    features : int
        Channels of every convolution but the last of each doubling.

    Returns
    -------
    Network
        Three channels (RGB) in and out.

    Raises
    ------
    ValueError
        For another enlargement or a size out of bounds.

    Notes
    -----
    Lee et al., "Journey Towards Tiny Perceptual Super-Resolution" (ECCV 2020), the generator
    trained without a discriminator.  The cell's numbers are those of the authors' code; its
    depthwise convolutions have no biases.
    """
    check_choice("upscale", upscale, (2, 4))
    layers: list[Layer] = [
        Conv("first", features, 3, bias=True),
        *_separable("node0", features, 5),
        *_node("node1", features, 7),
        *_node("node2", features, 7),
        *_node("node4", features, 3, "node2"),
        *_node("node5", features, 5),
        *_separable("node6", features, 3),
        *_node("node3", features, 3, "node2"),
        *_node("node7", features, 5),
        *_node("node8", features, 3),
        *_node("node9", features, 7, "first"),
        Add("cell", inputs=("node9", "node8", "node6")),
        PReLU("cell_act"),
    ]
    for i in range(upscale.bit_length() - 1):
        layers += [Conv(f"up{i}", 3 * 4, 3, bias=True), DepthToSpace(f"shuffle{i}", 2, "CRD")]
    return Network(f"tpsr-x{upscale}", upscale, 3, tuple(layers))


def _node(name: str, features: int, kernel_size: int, *inputs: str) -> list[Layer]:
    return [Conv(f"{name}.conv", features, kernel_size, bias=True, inputs=inputs), PReLU(name)]


def _separable(name: str, features: int, kernel_size: int) -> list[Layer]:
    return [
        Conv(f"{name}.depthwise", features, kernel_size, features),
        PReLU(f"{name}.act"),
        Conv(f"{name}.point", features, 1, bias=True),
        PReLU(name),
    ]
