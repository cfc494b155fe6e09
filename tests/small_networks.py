"""Every architecture that is known by name, small: its own builder with reduced options."""

from __future__ import annotations

import functools

import numpy as np

import generate
import sesr_ref as sr
from sesr_ref.architectures import NAMES
from sesr_ref.ops.arrays import Array, Params

SESR = {"blocks": 1, "features": 3, "expand": 4}
SIZES: dict[str, dict[str, int]] = {
    **{pattern: SESR for pattern in NAMES if pattern.startswith("sesr-")},
    "espcn-x{upscale}": {"features": 4},
    "fsrcnn-x{upscale}": {"features": 5, "shrink": 3, "maps": 1},
    "vdsr-x{upscale}": {"depth": 3, "features": 4},
    "drcn-x{upscale}": {"features": 3, "recursions": 3},
    "lapsrn-x{upscale}": {"depth": 1, "features": 3},
    "btsrn-x{upscale}": {"features": 4, "bottleneck": 3, "low_blocks": 1, "high_blocks": 1},
    "btsrn-code-x{upscale}": {"features": 3, "bottleneck": 2, "low_blocks": 1, "high_blocks": 1},
    "drrn-x{upscale}": {"features": 3, "units": 2},
    "carn-m-x{upscale}": {"features": 4, "groups": 2},
    "moremnas-c-x{upscale}": {"features": 16},
    "moremnas-d-x{upscale}": {"features": 16},
    "tpsr-x{upscale}": {"features": 3},
    "ecbsr-m{blocks}c{features}-x{upscale}": {"blocks": 1, "features": 3},
    "xlsr-x{upscale}": {"features": 4, "blocks": 1, "groups": 2},
    "abpn-m{blocks}c{features}-x{upscale}": {"blocks": 1, "features": 3},
    "quicksrnet-small-x{upscale}": {"blocks": 1, "features": 4},
    "quicksrnet-medium-x{upscale}": {"blocks": 2, "features": 3},
    "quicksrnet-large-x{upscale}": {"blocks": 1, "features": 5},
    "etds-t-x{upscale}": {"blocks": 1, "features": 5},
    "etds-s-x{upscale}": {"blocks": 1, "features": 6},
    "etds-m-x{upscale}": {"blocks": 2, "features": 5},
    "etds-l-x{upscale}": {"blocks": 1, "features": 7},
    "span-x{upscale}": {"features": 3, "blocks": 2},
}
"""Options by the pattern of a name; a network that has none here is taken as it is."""
SLOW = ("moremnas-d-x{upscale}",)
"""Those whose sizes no option reduces."""
CASES = [(pattern, upscale) for pattern, family in NAMES.items() for upscale in family.upscales]
"""One for every architecture and enlargement."""


@functools.cache
def small(pattern: str, upscale: int) -> sr.Network:
    """The reduced network of one of `CASES`."""
    return NAMES[pattern].build(**SIZES.get(pattern, {}), upscale=upscale)


@functools.cache
def case(pattern: str, upscale: int, dtype: str = "float32") -> tuple[sr.Network, Params, Array]:
    """The network, random parameters and two images."""
    net, kind = small(pattern, upscale), np.dtype(dtype).type
    params = generate.parameters(net, 3, kind)
    return net, params, generate.images((2, 9, 7, net.channels), 4, kind)
