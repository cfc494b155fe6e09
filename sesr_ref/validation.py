"""PSNR of a folder while training goes on: pairs are read once, the network changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from sesr_ref.data import find_images
from sesr_ref.engine import run
from sesr_ref.images import imresize, luma_of, modcrop, read_image
from sesr_ref.metrics import psnr
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Params
from sesr_ref.ops.table import REFERENCE, Ops

STUDIO = (16 / 255, 235 / 255)
"""Black and white of BT.601 luma; outputs are clipped to them before they are scored."""


def validation_psnr(
    folder: Path, upscale: int, ops: Ops = REFERENCE
) -> Callable[[Network, Params], float]:
    """Mean Y-PSNR in dB over a folder's images, reduced by `imresize`; border = `upscale`.

    Parameters
    ----------
    folder : Path
        Searched as training folders are.
    upscale : int
        The networks' enlargement.
    ops : Ops
        The implementation that runs them.

    Returns
    -------
    function (net, params) -> float
        The score, by the default protocol of ``sesr-ref evaluate`` (Y not rounded).

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no image in the folder or one cannot be read.
    """
    pairs = []
    for path in find_images(folder):
        high = modcrop(read_image(path).pixels, upscale)
        low = luma_of(imresize(high, 1 / upscale))
        pairs.append((low.astype(np.float32)[None, ..., None], luma_of(high).astype(np.float32)))

    def score(net: Network, params: Params) -> float:
        enlarged = (np.clip(run(net, params, low, ops), *STUDIO)[0, ..., 0] for low, _ in pairs)
        scores = [psnr(high, y, upscale) for (_, high), y in zip(pairs, enlarged, strict=True)]
        return float(np.mean(scores))

    return score
