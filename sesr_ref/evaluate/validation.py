"""PSNR of a folder while training goes on: images are read once, the network changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import fmean

from sesr_ref.evaluate.metrics import psnr
from sesr_ref.evaluate.scores import PROTOCOLS, luma_float64, network
from sesr_ref.evaluate.sets import find_high
from sesr_ref.images import imresize, modcrop
from sesr_ref.images.files import opaque, read_image
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Params
from sesr_ref.ops.table import REFERENCE, Ops


def validation_psnr(
    folder: Path, upscale: int, ops: Ops = REFERENCE
) -> Callable[[Network, Params], float]:
    """Mean Y-PSNR in dB over a folder's images, reduced by `imresize`; border = `upscale`.

    Parameters
    ----------
    folder : Path
        A test set's folder, as `score_folder` takes it.
    upscale : int
        The networks' enlargement.
    ops : Ops
        The implementation that runs them.

    Returns
    -------
    function (net, params) -> float
        The score under protocol "y".

    Raises
    ------
    OSError
        If an image cannot be read.
    ValueError
        If there is no image in the folder, or one is damaged, too small or not opaque.
    """
    pairs = []
    for path in find_high(folder):
        try:
            high = modcrop(opaque(read_image(path).pixels), upscale)
        except ValueError as error:
            text = str(error)
            raise ValueError(text if text.startswith(f"{path}") else f"{path}: {text}") from None
        pairs.append((imresize(high, 1 / upscale), luma_float64(high)))

    def score(net: Network, params: Params) -> float:
        enlarge = network(net, params, ops)
        return fmean(psnr(high, enlarge(low, PROTOCOLS["y"]), upscale) for low, high in pairs)

    return score
