"""Networks of other sizes than those with a name, recognised by the shapes of convolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sesr_ref.architectures import fsrcnn, sesr
from sesr_ref.network import Network

Shape = tuple[int, ...]
"""Of a convolution's weight as PyTorch stores it."""


def sized(shapes: Sequence[Shape], ordered: bool = True) -> list[Network]:
    """FSRCNN and SESR in the sizes that convolutions have.

    Parameters
    ----------
    shapes : sequence of tuples of int
        Of all weights.
    ordered : bool
        Whether they are in the order of the layers.

    Returns
    -------
    list of Network
        Each under the name that `architecture` takes for its variant; none where the convolutions
        are of another structure.
    """
    shapes = shapes if ordered else sorted(shapes, key=_rank)
    return [*_fsrcnn(shapes), *_sesr(shapes)]


def _rank(shape: Shape) -> int:
    """Where a convolution stands in FSRCNN, and among those k x k or those 1 x 1 of SESR."""
    features, channels, side, _ = shape
    if side == 1:  # FSRCNN shrinks at first and expands in the end
        return 1 if features < channels else 3
    return {3: 2, 5: 0 if channels == 1 else 4}.get(side, 5)


def _fsrcnn(shapes: Sequence[Shape]) -> list[Network]:
    """FSRCNN for every enlargement: its convolutions are the same."""
    maps = len(shapes) - 4
    if maps < 0 or len(shapes[0]) != 4 or len(shapes[1]) != 4:
        return []
    features, shrink = shapes[0][0], shapes[1][0]
    wanted = [
        (features, 1, 5, 5),
        (shrink, features, 1, 1),
        *[(shrink, shrink, 3, 3)] * maps,
        (features, shrink, 1, 1),
        (features, 1, 9, 9),
    ]
    if list(shapes) != wanted:
        return []
    return [fsrcnn(upscale, "prelu", features, shrink, maps) for upscale in (2, 3, 4)]


def _sesr(shapes: Sequence[Shape]) -> list[Network]:
    """SESR, collapsed or not, with its input added to the output and without."""
    if len(shapes) < 3 or any(len(shape) != 4 for shape in shapes):
        return []
    lasts = [shape for shape in shapes if shape[2:] == (1, 1)]
    firsts = [shape for shape in shapes if shape[2:] != (1, 1)]
    if not lasts:  # collapsed
        lasts = firsts
    if not firsts:
        return []
    # of the 1 x 1 convolutions all but the last one make what the last block reads
    features, expand = firsts[-1][1], firsts[0][0]
    lasts = sorted(lasts, key=lambda shape: shape[0] != features)
    blocks, upscale = len(lasts) - 2, math.isqrt(lasts[-1][0])
    power = upscale >= 2 and upscale & (upscale - 1) == 0 and upscale**2 == lasts[-1][0]
    if len(firsts) != len(lasts) or blocks < 1 or not power or firsts[0][1] != 1:
        return []
    full = sesr(blocks, features, upscale, expand)
    npu = sesr(blocks, features, upscale, expand, "relu", input_residual=False)
    name = f"sesr-m{blocks}-x{upscale}"
    return [_named(full, name), _named(npu, f"{name}-npu")]


def _named(net: Network, name: str) -> Network:
    return Network(name, net.upscale, net.channels, net.layers)
