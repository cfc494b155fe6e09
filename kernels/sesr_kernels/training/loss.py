"""The loss of one image and its gradient: errors against the target's subpixels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sesr_kernels.machine.compiled import compiled
from sesr_kernels.training.winograd import HEIGHT, PITCH, PLANE, START, WIDTH

ABSOLUTE, EPSILON, SQUARE, LOG_MSE, FLOOR = range(5)
"""Places of the loss's terms, which `run.gradients` explains."""


@compiled
def loss_and_gradient(
    op: Any, work: Any, geometry: Any, target: Any, places: Any, upscale: int, dloss: Any,
    terms: Any,
) -> float:  # fmt: skip
    """Write the gradient (or the target, if `op` says so); the loss times its number of values."""
    total, squares, as_given = 0.0, 0.0, op[3] != 0
    width = geometry[WIDTH]
    given, errors = np.empty(width, np.float32), np.empty(width, np.float32)
    for c in range(len(places)):
        row, column, channel = places[c, 0], places[c, 1], places[c, 2]
        for y in range(geometry[HEIGHT]):
            start = geometry[START] + c * geometry[PLANE] + y * geometry[PITCH]
            made, gradient = work[op[1] // 4 + start :], work[op[2] // 4 + start :]
            line = target[y * upscale + row]
            for x in range(width):
                given[x] = line[x * upscale + column, channel]
            if as_given:
                for x in range(width):
                    gradient[x] = given[x]
                continue
            for x in range(width):
                errors[x] = made[x] - given[x]
            total += _row(errors, gradient, dloss, terms)
            if terms[LOG_MSE] > 0:  # a crop's whole error is known behind its last row alone
                for x in range(width):
                    squares += np.float64(errors[x]) * errors[x]
    if terms[LOG_MSE] > 0 and not as_given:
        count = len(places) * geometry[HEIGHT] * width
        mean = squares / count + terms[FLOOR]
        total += terms[LOG_MSE] * count * math.log(mean)
        factor = np.float32(2 * terms[LOG_MSE] * dloss / mean)
        _add_errors(op, work, geometry, target, places, upscale, factor)
    return total


@compiled
def _row(errors: Any, gradient: Any, dloss: Any, terms: Any) -> float:
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
def _absolute(values: Any) -> float:
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
    op: Any, work: Any, geometry: Any, target: Any, places: Any, upscale: int, factor: Any
) -> None:
    """Add the errors times a factor to the gradient."""
    for c in range(len(places)):
        row, column, channel = places[c, 0], places[c, 1], places[c, 2]
        for y in range(geometry[HEIGHT]):
            start = geometry[START] + c * geometry[PLANE] + y * geometry[PITCH]
            made, gradient = work[op[1] // 4 + start :], work[op[2] // 4 + start :]
            line = target[y * upscale + row]
            for x in range(geometry[WIDTH]):
                gradient[x] += (made[x] - line[x * upscale + column, channel]) * factor
