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

ABSOLUTE, EPSILON, SQUARE, LOG_MSE, FLOOR = range(5)
"""Places of the loss's terms, which `run.gradients` explains."""


@compiled
def loss_and_gradient(
    op: Loss,
    work: Floats,
    geometry: Geometry,
    target: Floats,
    places: Sequence[Place],
    upscale: int,
    dloss: np.float32,
    terms: Doubles,
) -> float:
    """Write the gradient (or the target, if it is given as that); the loss times its values."""
    total, squares, width = 0.0, 0.0, geometry.width
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
            total += _row(errors, gradient, dloss, terms)
            if terms[LOG_MSE] > 0:  # a crop's whole error is known behind its last row alone
                for x in range(width):
                    squares += np.float64(errors[x]) * errors[x]
    if terms[LOG_MSE] > 0 and op.as_given == 0:
        count = len(places) * geometry.height * width
        mean = squares / count + terms[FLOOR]
        total += terms[LOG_MSE] * count * math.log(mean)
        factor = np.float32(2 * terms[LOG_MSE] * dloss / mean)
        _add_errors(op, work, geometry, target, places, upscale, factor)
    return total


@compiled
def _row(errors: Floats, gradient: Floats, dloss: np.float32, terms: Doubles) -> float:
    """Gradient of the terms that need one value each; their sum."""
    total, soft, factor = 0.0, np.float32(terms[EPSILON] ** 2), np.float32(terms[ABSOLUTE] * dloss)
    if terms[ABSOLUTE] > 0 and soft > 0:
        for x in range(len(errors)):
            size = math.sqrt(errors[x] * errors[x] + soft)
            gradient[x] = errors[x] / size * factor
            total += size
        total *= terms[ABSOLUTE]
    elif terms[ABSOLUTE] > 0:
        total += terms[ABSOLUTE] * _absolute(errors)
        for x in range(len(errors)):  # without a branch that would follow the error's sign
            gradient[x] = np.sign(errors[x]) * factor
    else:
        gradient[: len(errors)] = 0
    if terms[SQUARE] > 0:
        factor = np.float32(2 * terms[SQUARE] * dloss)
        for x in range(len(errors)):
            gradient[x] += errors[x] * factor
            total += terms[SQUARE] * errors[x] * errors[x]
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


@compiled
def _add_errors(
    op: Loss,
    work: Floats,
    geometry: Geometry,
    target: Floats,
    places: Sequence[Place],
    upscale: int,
    factor: np.float32,
) -> None:
    """Add the errors times a factor to the gradient."""
    for c in range(len(places)):
        place = places[c]
        for y in range(geometry.height):
            start = geometry.start + c * geometry.plane + y * geometry.pitch
            made, gradient = work[op.source // 4 + start :], work[op.gradient // 4 + start :]
            line = target[y * upscale + place.row]
            for x in range(geometry.width):
                error = made[x] - line[x * upscale + place.column, place.channel]
                gradient[x] += error * factor
