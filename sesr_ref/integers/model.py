"""A network as integer tools take it: collapsed, in float64."""

from __future__ import annotations

import numpy as np

from sesr_ref import network as nw
from sesr_ref.collapse import collapse_params, collapsed
from sesr_ref.ops.arrays import Params


def collapsed_exactly(net: nw.Network, params: Params) -> tuple[nw.Network, Params]:
    """Collapse in float64; ValueError where parameters do not fit or are not finite."""
    exact = collapse_params(net, {name: value.astype(np.float64) for name, value in params.items()})
    for name, value in exact.items():
        if not np.isfinite(value).all():
            raise ValueError(f"{name} holds NaN or infinite values")
    return collapsed(net), exact
