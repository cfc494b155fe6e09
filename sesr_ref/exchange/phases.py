"""MATLAB's bicubic enlargement as a convolution for each phase, for programs that lack it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sesr_ref.ops.resampling import resample_matrix

MIRROR = 2
"""Pixels read beyond the edge."""
TAPS = 2 * MIRROR + 1


def phase_taps(upscale: int) -> npt.NDArray[np.float64]:
    """(upscale, 5): what each output pixel takes of the 5 pixels around its own, along one axis."""
    middle = resample_matrix(TAPS, upscale, "bicubic")
    along = np.zeros((upscale, TAPS))
    for phase, row in enumerate(range(MIRROR * upscale, (MIRROR + 1) * upscale)):
        np.add.at(along[phase], middle.taps[row], middle.weights[row])
    return along


def phase_weights(upscale: int) -> npt.NDArray[np.float64]:
    """(upscale**2, 1, 5, 5): what each output pixel takes of the 5 x 5 pixels around its own."""
    along = phase_taps(upscale)
    phases: npt.NDArray[np.float64] = np.einsum("ai,bj->abij", along, along)
    return phases.reshape(upscale**2, 1, TAPS, TAPS)
