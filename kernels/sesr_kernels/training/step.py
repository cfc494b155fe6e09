"""The compiled half of training: images through a program of kernels, forward and back.

An image's tensors are planes in one workspace, each row followed by a few columns of zeros that
are at once its right and the next row's left padding, so that a plane is one long row and there
are no ragged edges.  Every step leaves that padding zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sesr_kernels.blocks.convolve import KEEP, convolve
from sesr_kernels.blocks.rows import COLUMNS, activation, activation_vjp, add, collapse, correlate
from sesr_kernels.machine.compiled import compiled
from sesr_kernels.machine.emit import LANES, VECTOR_BYTES
from sesr_kernels.machine.tiling import TILE, tile_start, tile_vectors, tiling
from sesr_kernels.training.loss import loss_and_gradient
from sesr_kernels.training.winograd import (
    COUNT,
    HEIGHT,
    PITCH,
    PLANE,
    START,
    TILES,
    WIDTH,
    winograd,
    winograd_correlate,
)

# what a row of the program does, in its first column; the others are its operands
(CONV, ACTIVATION, ADD, SCALE, CLIP, LOSS, CORRELATE, ACTIVATION_VJP, CLIP_VJP, WINOGRAD,
 WINOGRAD_CORRELATE) = range(11)  # fmt: skip
FIELDS = 18

BAND = 1024 // LANES
"""Vectors of a direct weight gradient's pass: a block's planes of `dy` stay close."""


@compiled
def train_images(
    program: Any, shifts: Any, numbers: Any, geometry: Any, images: Any, targets: Any, losses: Any,
    places: Any, work: Any, scratch: Any, sums: Any, gradients: Any, weights: int, upscale: int,
    dloss: Any, terms: Any,
) -> None:  # fmt: skip
    """Run `program` on images in order: each one's loss, the sum of their gradients."""
    sums[:] = 0
    for i in range(len(images)):
        losses[i] = _train_image(
            program, shifts, numbers, geometry, images[i], targets[i], places, work, scratch, sums,
            weights, upscale, dloss, terms,
        )  # fmt: skip
    collapse(sums.ctypes.data, gradients.ctypes.data, len(gradients))


@compiled
def _train_image(
    program: Any, shifts: Any, numbers: Any, geometry: Any, image: Any, target: Any, places: Any,
    work: Any, scratch: Any, sums: Any, weights: int, upscale: int, dloss: Any, terms: Any,
) -> float:  # fmt: skip
    """Add an image's gradients to `sums`; returns its loss, times its number of values."""
    base = work.ctypes.data + 4 * geometry[START]
    _load(image, work, geometry)
    loss = 0.0
    rows = np.empty(64, np.int64)
    for i in range(len(program)):
        op = program[i]
        kind = op[0]
        if kind == CONV:
            _convolve(op, rows, base, weights, geometry)
            _clear(work, op[7], op[9], geometry)
            if op[15] & KEEP:  # Winograd's last group of rows reads it below the image
                _clear(work, op[8], op[9], geometry)
        elif kind == WINOGRAD:
            winograd(op, rows, base, scratch.ctypes.data, weights, sums.ctypes.data, geometry)
            _clear_below(work, op[7], op[9], geometry)
            if op[15] & KEEP:
                _clear_below(work, op[8], op[9], geometry)
        elif kind == WINOGRAD_CORRELATE:
            winograd_correlate(
                op, shifts, rows, base, scratch.ctypes.data, weights, sums.ctypes.data, geometry
            )
        elif kind == CORRELATE:
            _correlate(op, shifts, base, sums.ctypes.data, geometry)
        elif kind == ACTIVATION_VJP:
            for c in range(op[3]):
                step = 4 * c * geometry[PLANE]
                activation_vjp(
                    base + op[1] + step, base + op[2] + step, weights + op[4] + 4 * c * op[6],
                    geometry[COUNT], sums.ctypes.data + op[5] + c * VECTOR_BYTES,
                    base + op[7] + step,
                )  # fmt: skip
            _clear(work, op[7], op[3], geometry)  # a slope that is NaN makes one of 0
        elif kind == ACTIVATION:
            for c in range(op[3]):
                step = 4 * c * geometry[PLANE]
                slope = weights + op[4] + 4 * c * op[6]
                activation(base + op[1] + step, slope, geometry[COUNT], base + op[2] + step)
        elif kind == ADD:
            for c in range(op[6]):
                x, other = base + op[1] + c * op[2], base + op[3] + c * op[4]
                add(x, other, geometry[COUNT], base + op[5] + 4 * c * geometry[PLANE])
        elif kind == LOSS:
            loss += loss_and_gradient(op, work, geometry, target, places, upscale, dloss, terms)
            _clear(work, op[2], len(places), geometry)
        else:
            _pointwise(op, work, numbers, geometry)
    return loss


@compiled
def _load(image: Any, work: Any, geometry: Any) -> None:
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            for c in range(image.shape[2]):
                place = geometry[START] + c * geometry[PLANE] + y * geometry[PITCH] + x
                work[place] = image[y, x, c]


@compiled
def _clear(work: Any, target: int, planes: int, geometry: Any) -> None:
    """Zero the padding between the rows of a tensor, and what lies behind its last row."""
    height, width, pitch = geometry[HEIGHT], geometry[WIDTH], geometry[PITCH]
    for c in range(planes):
        first = geometry[START] + target // 4 + c * geometry[PLANE]
        for y in range(height - 1):
            for x in range(width, pitch):
                work[first + y * pitch + x] = 0
        for i in range((height - 1) * pitch + width, geometry[TILES] * TILE):
            work[first + i] = 0


@compiled
def _clear_below(work: Any, target: int, planes: int, geometry: Any) -> None:
    """Zero what a last group of less than four rows left below the image."""
    for c in range(planes):
        first = geometry[START] + target // 4 + c * geometry[PLANE]
        for y in range(geometry[HEIGHT], (geometry[HEIGHT] + 3) // 4 * 4):
            for x in range(geometry[WIDTH]):
                work[first + y * geometry[PITCH] + x] = 0


@compiled
def _convolve(op: Any, rows: Any, base: int, weights: int, geometry: Any) -> None:
    size, channels, groups, outs = op[2], op[3], op[4], op[16]
    stride = 4 * geometry[PLANE]
    for y in range(size):
        shift = (y - size // 2) * geometry[PITCH] - size // 2
        rows[y] = base + op[1] + 4 * shift
    whole, tiles = tiling(geometry[COUNT] * LANES)
    for tile in range(tiles):
        offset = 4 * tile_start(tile, whole)
        vectors = tile_vectors(tile, whole)
        for g in range(groups):
            first = g * outs
            plane = first * stride + offset
            weight = weights + op[5] + first * 4 * size * size * channels
            bias, slope = weights + op[6] + 4 * first, weights + op[10] + 4 * first
            after = base + op[11] + offset + first * op[12]
            kept, target = base + op[8] + plane, base + op[7] + plane
            convolve(size, outs, vectors, rows.ctypes.data, size, offset, channels, stride, weight,
                     bias, slope, 0, 0, after, op[12], kept, target, stride,
                     op[15])  # fmt: skip


@compiled
def _correlate(op: Any, shifts: Any, base: int, sums: int, geometry: Any) -> None:
    """Weight gradient: a band of pixels at a time, all of its outputs x inputs."""
    dy, x, groups, first, columns, result, outs = op[1], op[2], op[3], op[4], op[5], op[6], op[7]
    stride, size = 4 * geometry[PLANE], outs * COLUMNS * VECTOR_BYTES
    for start in range(0, geometry[COUNT], BAND):
        count = min(BAND, geometry[COUNT] - start)
        offset = start * VECTOR_BYTES
        for g in range(groups):
            block = sums + result + g * columns * size
            for j in range(columns):
                correlate(
                    outs, base + dy + g * outs * stride + offset, stride, 0, base + x + offset, 0,
                    shifts.ctypes.data + 8 * (first + j * COLUMNS), 1, count, block + j * size,
                )  # fmt: skip


@compiled
def _pointwise(op: Any, work: Any, numbers: Any, geometry: Any) -> None:
    a, b = numbers[op[4]], numbers[op[4] + 1]
    for c in range(op[3]):
        for y in range(geometry[HEIGHT]):
            start = geometry[START] + c * geometry[PLANE] + y * geometry[PITCH]
            for i in range(start, start + geometry[WIDTH]):
                x = work[op[1] // 4 + i]
                if op[0] == SCALE:
                    work[op[2] // 4 + i] = x * a + b
                elif op[0] == CLIP:
                    work[op[2] // 4 + i] = a if x < a else (b if x > b else x)
                elif not (a <= x <= b):  # CLIP_VJP; a NaN has no gradient
                    work[op[2] // 4 + i] = 0
    _clear(work, op[2], op[3], geometry)
