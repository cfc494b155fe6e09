"""The compiled half of training: images through a program of kernels, forward and back.

An image's tensors are planes in one workspace, each row followed by a few columns of zeros that
are at once its right and the next row's left padding, so that a plane is one long row and there
are no ragged edges.  Every step leaves that padding zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sesr_kernels.blocks.convolve import KEEP
from sesr_kernels.blocks.pointwise import pointwise, pointwise_vjp
from sesr_kernels.blocks.rows import add, reduce_lanes
from sesr_kernels.blocks.winograd_points import GROUP
from sesr_kernels.description.shuffles import Place
from sesr_kernels.machine.compiled import Floats, Integers, compiled
from sesr_kernels.machine.emit import VECTOR_BYTES
from sesr_kernels.machine.tiling import TILE
from sesr_kernels.training.direct import convolution, weight_gradient
from sesr_kernels.training.loss import Doubles, loss_and_gradient
from sesr_kernels.training.operands import (
    ADD,
    DIRECT,
    LOSS,
    POINTWISE,
    POINTWISE_GRADIENT,
    WEIGHT_GRADIENT,
    WINOGRAD,
    WINOGRAD_WEIGHT_GRADIENT,
    Add,
    Geometry,
    Pointwise,
    PointwiseGradient,
    Tables,
)
from sesr_kernels.training.winograd import winograd
from sesr_kernels.training.winograd_weight import winograd_weight_gradient


@compiled
def train_images(
    tables: Tables,
    shifts: Integers,
    geometry: Geometry,
    images: Floats,
    targets: Floats,
    losses: Doubles,
    places: Sequence[Place],
    work: Floats,
    scratch: Floats,
    sums: Floats,
    gradients: Floats,
    weights: int,
    upscale: int,
    dloss: np.float32,
    terms: Doubles,
) -> None:
    """Run a program on images in order: each one's loss, the sum of their gradients."""
    sums[:] = 0
    for i in range(len(images)):
        _load(images[i], work, geometry)
        losses[i] = _train_image(
            tables,
            shifts,
            geometry,
            targets[i],
            places,
            work,
            scratch,
            sums.ctypes.data,
            weights,
            upscale,
            dloss,
            terms,
        )
    # once for all images: until here every sum is a vector of partial sums
    reduce_lanes(sums.ctypes.data, gradients.ctypes.data, len(gradients))


@compiled
def _train_image(
    tables: Tables,
    shifts: Integers,
    geometry: Geometry,
    target: Floats,
    places: Sequence[Place],
    work: Floats,
    scratch: Floats,
    sums: int,
    weights: int,
    upscale: int,
    dloss: np.float32,
    terms: Doubles,
) -> float:
    """Add an image's gradients to `sums`; returns its loss, times its values."""
    base, there, loss = work.ctypes.data + 4 * geometry.start, scratch.ctypes.data, 0.0
    addresses = np.empty(64, np.int64)
    # in order: a step finds what it reads where an earlier one has left it
    for i in range(len(tables.steps)):
        kind, row = tables.steps[i].kind, tables.steps[i].row
        if kind == DIRECT:
            direct = tables.directs[row]
            convolution(direct, addresses, base, weights, geometry)
            _clear(work, direct.target, direct.planes, geometry)
            if direct.epilogue & KEEP:  # Winograd's last group of rows reads it below the image
                _clear(work, direct.kept, direct.planes, geometry)
        elif kind == WINOGRAD:  # writes the pixels alone, but whole groups of rows
            fast = tables.winograds[row]
            winograd(fast, addresses, base, there, weights, sums, geometry)
            _clear_below(work, fast.target, fast.planes, geometry)
            if fast.epilogue & KEEP:
                _clear_below(work, fast.kept, fast.planes, geometry)
        elif kind == WEIGHT_GRADIENT:
            weight_gradient(tables.weight_gradients[row], shifts, base, sums, geometry)
        elif kind == WINOGRAD_WEIGHT_GRADIENT:
            own = tables.winograd_weight_gradients[row]
            winograd_weight_gradient(own, shifts, addresses, base, there, weights, sums, geometry)
        elif kind == POINTWISE:
            _pointwise(tables.pointwise[row], work, base, weights, geometry)
        elif kind == POINTWISE_GRADIENT:
            _pointwise_gradient(
                tables.pointwise_gradients[row], work, base, weights, sums, geometry
            )
        elif kind == ADD:
            _add(tables.sums[row], base, geometry)
        elif kind == LOSS:
            end = tables.losses[row]
            loss += loss_and_gradient(end, work, geometry, target, places, upscale, dloss, terms)
            _clear(work, end.gradient, len(places), geometry)
    return loss


@compiled
def _load(image: Floats, work: Floats, geometry: Geometry) -> None:
    for c in range(image.shape[2]):
        for y in range(image.shape[0]):
            start = geometry.start + c * geometry.plane + y * geometry.pitch
            for x in range(image.shape[1]):
                work[start + x] = image[y, x, c]


@compiled
def _clear(work: Floats, target: int, planes: int, geometry: Geometry) -> None:
    """Zero what a step over whole tiles left between and behind the rows."""
    height, width, pitch = geometry.height, geometry.width, geometry.pitch
    for c in range(planes):
        first = geometry.start + target // 4 + c * geometry.plane
        for y in range(height - 1):
            for x in range(width, pitch):
                work[first + y * pitch + x] = 0
        # the last row has no next one: as far as the last tile reaches
        for i in range((height - 1) * pitch + width, geometry.tiles * TILE):
            work[first + i] = 0


@compiled
def _clear_below(work: Floats, target: int, planes: int, geometry: Geometry) -> None:
    """Zero what a last group of less than four rows left below the image."""
    for c in range(planes):
        first = geometry.start + target // 4 + c * geometry.plane
        for y in range(geometry.height, (geometry.height + GROUP - 1) // GROUP * GROUP):
            for x in range(geometry.width):
                work[first + y * geometry.pitch + x] = 0


@compiled
def _pointwise(op: Pointwise, work: Floats, base: int, weights: int, geometry: Geometry) -> None:
    for c in range(op.channels):
        here = base + 4 * c * geometry.plane
        pointwise(
            function=op.function,
            x=here + op.source,
            first=weights + op.first + 4 * c,
            second=weights + op.second + 4 * c,
            count=geometry.vectors,
            y=here + op.target,
        )
    # a function need not make 0 of 0
    _clear(work, op.target, op.channels, geometry)


@compiled
def _pointwise_gradient(
    op: PointwiseGradient,
    work: Floats,
    base: int,
    weights: int,
    sums: int,
    geometry: Geometry,
) -> None:
    for c in range(op.channels):
        here = base + 4 * c * geometry.plane
        pointwise_vjp(
            function=op.function,
            dy=here + op.dy,
            x=here + op.seen,
            first=weights + op.first + 4 * c,
            second=weights + op.second + 4 * c,
            count=geometry.vectors,
            dx=here + op.target,
            sums=sums + op.sums + c * VECTOR_BYTES,
        )
    # a slope that is NaN makes one of 0
    _clear(work, op.target, op.channels, geometry)


@compiled
def _add(op: Add, base: int, geometry: Geometry) -> None:
    for c in range(op.channels):
        # a stride of 0 takes the same plane for every channel
        x = base + op.source + c * op.source_stride
        other = base + op.other + c * op.other_stride
        add(x, other, geometry.vectors, base + op.target + 4 * c * geometry.plane)
