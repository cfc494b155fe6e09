"""Enlargement by interpolation in C: along the height into a scratch row, then along the width."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_ref.exchange.c.site import Site, height, line_at, width
from sesr_ref.limits import check
from sesr_ref.ops.resampling import MODES, resample_matrix

FOLDS = {
    "clamp": """\
/* The pixel of 0 .. count - 1 that is nearest to pixel i. */
static int @_clamp(int i, int count)
{
    return i < 0 ? 0 : i >= count ? count - 1 : i;
}
""",
    "mirror": """\
/* The pixel of 0 .. count - 1 that pixel i becomes when an image is mirrored at its edges. */
static int @_mirror(int i, int count)
{
    i %= 2 * count;
    if (i < 0)
        i += 2 * count;
    return i < count ? i : 2 * count - 1 - i;
}
""",
}
MIDDLE = 32
"""A pixel that is far from both edges."""


def phase_weights(upscale: int, mode: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Pixels relative to the own one, and their weights, for each phase of an enlargement.

    Parameters
    ----------
    upscale : int
        The enlargement.
    mode : str
        A key of `MODES`.

    Returns
    -------
    offsets : (upscale, taps) int array
        In the engine's order; 0 where the weight is 0, so that no row is read in vain.
    weights : (upscale, taps) float64 array
    """
    matrix = resample_matrix(2 * MIDDLE, upscale, mode)
    middle = slice(MIDDLE * upscale, (MIDDLE + 1) * upscale)
    weights = matrix.weights[middle]
    return np.where(weights != 0, matrix.taps[middle] - MIDDLE, 0), weights


def resize(site: Site) -> str:
    """Weighted sums of rows, then of their pixels."""
    layer, source, real = site.layer, site.inputs[0], site.numbers.real
    upscale = layer.upscale
    exact = upscale & (upscale - 1) == 0 or layer.mode == "nearest" or real == "float"
    check(exact, f"{layer.name}: upscale in integers", "a power of two", upscale)
    offsets, weights = phase_weights(upscale, layer.mode)
    edge, taps = MODES[layer.mode][2], offsets.shape[1]
    fold = site.sheet.helper(edge, FOLDS[edge])
    key = f"resize_{layer.mode}_{upscale}"
    at = site.sheet.array(key, "offset", offsets, "int")
    weight = site.sheet.array(key, "weight", weights, real)
    line = site.sheet.line("line", real, source)
    loaded = site.numbers.load(site, 0, "x[i]", "c")
    return f"""\
const int down = row % {upscale} * {taps};
for (int c = 0; c < {site.out.channels}; c++) {{
    for (int i = 0; i < {width(source)}; i++)
        {line}[i] = 0;
    for (int t = 0; t < {taps}; t++) {{
        const int from = {fold}(row / {upscale} + {at}[down + t], {height(source)});
        const {site.types[0]} *x = {site.row(0, "from")} + {line_at("c", source)};
        for (int i = 0; i < {width(source)}; i++)
            {line}[i] += {loaded} * {weight}[down + t];
    }}
    for (int i = 0; i < {width(site.out)}; i++) {{
        const int across = i % {upscale} * {taps};
        {real} sum = 0;
        for (int t = 0; t < {taps}; t++) {{
            const int from = {fold}(i / {upscale} + {at}[across + t], {width(source)});
            sum += {line}[from] * {weight}[across + t];
        }}
        {site.y} = {site.numbers.store(site, "sum")};
    }}
}}
"""
