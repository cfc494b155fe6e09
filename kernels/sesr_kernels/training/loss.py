"""The loss in a training program: errors of the output's subpixels, and their gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sesr_kernels.description.shuffles import Place
from sesr_kernels.machine.compiled import Floats, compiled
from sesr_kernels.training.operands import Geometry, Loss

Doubles = npt.NDArray[np.float64]


@compiled
def loss_and_gradient(
    op: Loss,
    work: Floats,
    geometry: Geometry,
    target: Floats,
    places: Sequence[Place],
    upscale: int,
    dloss: np.float32,
    soft: np.float32,
) -> float:
    """Errors against the target's subpixels, and their gradient (or that as given)."""
    total, width = 0.0, geometry.width
    given, errors = np.empty(width, np.float32), np.empty(width, np.float32)
    for c in range(len(places)):
        place = places[c]
        for y in range(geometry.height):
            start = geometry.start + c * geometry.plane + y * geometry.pitch
            made, gradient = work[op.source // 4 + start :], work[op.gradient // 4 + start :]
            line = target[y * upscale + place.row]
            # copied first: the loops over errors then run over neighbours
            for x in range(width):
                given[x] = line[x * upscale + place.column, place.channel]
            if op.as_given != 0:  # a single operation's gradient: there is no loss
                for x in range(width):
                    gradient[x] = given[x]
                continue
            for x in range(width):
                errors[x] = made[x] - given[x]
            if soft > 0:  # Charbonnier's
                for x in range(width):
                    size = math.sqrt(errors[x] * errors[x] + soft)
                    gradient[x] = errors[x] / size * dloss
                    total += size
            else:
                total += _absolute(errors)
                for x in range(width):  # without a branch that would follow the error's sign
                    gradient[x] = np.sign(errors[x]) * dloss
    return total


@compiled
def _absolute(values: Floats) -> float:
    """Sum of magnitudes, in four chains that do not wait for each other."""
    a = b = c = d = 0.0
    whole = len(values) // 4 * 4
    for x in range(0, whole, 4):
        a += abs(values[x])
        b += abs(values[x + 1])
        c += abs(values[x + 2])
        d += abs(values[x + 3])
    for x in range(whole, len(values)):
        a += abs(values[x])
    return a + b + (c + d)
