"""PSNR of a folder during training: images are read once, the network changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import fmean

from sesr_ref.evaluate.metrics import psnr
from sesr_ref.evaluate.models import Model, RealModel
from sesr_ref.evaluate.scores import PROTOCOLS, luma_float64, model_method
from sesr_ref.evaluate.sets import find_high
from sesr_ref.images import imresize, modcrop
from sesr_ref.images.files import opaque, read_image
from sesr_ref.limits import naming
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Params
from sesr_ref.ops.table import REFERENCE, Ops

VALIDATION = "y"
"""The protocol, a key of `PROTOCOLS`."""


def validation_psnr(
    folder: Path, upscale: int, ops: Ops = REFERENCE
) -> Callable[[Network, Params], float]:
    """Make a function that computes the mean Y-PSNR in dB over a folder's images.

    Low-resolution images are computed by `imresize`; the border is `upscale`.  A network on RGB is
    scored by the Y of its 8-bit result.

    Parameters
    ----------
    folder : Path
        A test set's folder, as for `score_folder`.
    upscale : int
        Enlargement of the networks.
    ops : Ops
        The implementation that runs them.

    Returns
    -------
    function (net, params) -> float
        The score by protocol "y".

    Raises
    ------
    OSError
        If an image cannot be read.
    ValueError
        If the folder has no image, or one is damaged, too small or not opaque.
    """
    score = validation_of(folder, upscale)
    return lambda net, params: score(RealModel.of(net, params, ops))


def validation_of(folder: Path, upscale: int) -> Callable[[Model], float]:
    """`validation_psnr` of any model, one in integers for instance.

    Parameters
    ----------
    folder, upscale
        As for `validation_psnr`.

    Returns
    -------
    function (model) -> float
        The score by protocol "y".
    """
    pairs = []
    for path in find_high(folder):
        with naming(path):
            high = modcrop(opaque(read_image(path).pixels), upscale)
        pairs.append((imresize(high, 1 / upscale), luma_float64(high)))

    def score(model: Model) -> float:
        enlarge = model_method(model)
        protocol = PROTOCOLS[VALIDATION]
        return fmean(psnr(high, enlarge(low, protocol), upscale) for low, high in pairs)

    return score
