"""Networks, parameters and images on which the kernels are compared with the reference."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

import sesr_ref as sr
from sesr_ref.network import (
    Add,
    Clip,
    Concat,
    Conv,
    ConvTranspose,
    DepthToSpace,
    LeakyReLU,
    Network,
    PReLU,
    Scale,
    Shift,
)
from sesr_ref.ops.arrays import Array, Params

COLOUR = Network(
    "colour",
    2,
    3,
    (
        Scale("doubled", 2.0),
        Conv("a", 5, 1, bias=True),
        LeakyReLU("b", 0.1),
        Conv("c", 6, 3, bias=True),
        Conv("d", 6, 3, bias=True, inputs=("c",)),
        Conv("one", 1, 3, inputs=("d",)),
        Add("e", inputs=("d", "c", "one")),
        Conv("f", 12, 5),
        DepthToSpace("g", 2, "CRD"),
    ),
)
"""Three channels, sums of three, a broadcast within, PyTorch's shuffle."""

TWO_SCALES = Network(
    "two-scales",
    4,
    1,
    (
        Conv("a", 12, 3, bias=True),
        PReLU("a_act"),
        ConvTranspose("up", 8, 6, 2, bias=True),
        PReLU("up_act"),
        Conv("grouped", 8, 3, groups=4),
        Concat("both", inputs=("grouped", "up_act", "grouped")),
        Conv("wide", 4, 7),
        DepthToSpace("shuffle", 2),
        Shift("shift", 0.25),
        Conv("last", 1, 9),
        Clip("clip"),
    ),
)
"""Layers at three resolutions, groups, kernels wider than the tuned ones."""

TRAINABLE = [
    sr.sesr(2),
    sr.sesr(2, activation="relu", input_residual=False),
    sr.sesr(1, features=32, upscale=4),
    sr.sesr(2, features=7, linear_blocks=False),
    sr.sesr(2, dialect="arm", block_bias="true", short_residuals=False),
    sr.sesr(2, dialect="arm", block_bias="leaky"),
    sr.fsrcnn(2),
    sr.fsrcnn(3, activation="relu"),
    COLOUR,
]
RUNNABLE = [*TRAINABLE, TWO_SCALES]


def random_params(net: Network, rng: np.random.Generator) -> Params:
    """Parameters under which no tensor dies out or explodes."""

    def one(name: str, shape: tuple[int, ...]) -> Array:
        width = 0.3 if len(shape) == 1 else 1 / np.sqrt(np.prod(shape[:-1]))
        if name.endswith("_bias"):  # of a linear block: added to every tap in the leaky mode
            width = 0.01
        return (rng.standard_normal(shape) * width).astype(np.float32)

    return {name: one(name, shape) for name, shape in net.param_shapes().items()}


def images(net: Network, rng: np.random.Generator, n: int, height: int, width: int) -> Array:
    """Random images."""
    return rng.random((n, height, width, net.channels), np.float32)


def targets(net: Network, rng: np.random.Generator, x: Array) -> Array:
    """Random targets for such images."""
    n, height, width, channels = x.shape
    return rng.random((n, height * net.upscale, width * net.upscale, channels), np.float32)


def many_jobs(plan: Any) -> Callable[[int, int, int, int], Any]:
    """What cuts images into strips and bands much smaller than a plan's own."""
    from sesr_kernels.inference.partition import Job

    def cut(n: int, height: int, width: int, threads: int) -> list[Job]:
        rows = [*range(0, height, 2 * plan.step + plan.step * threads), height]
        columns = [*range(0, width, 18 + threads), width]
        return [
            Job(image, *band, *strip)
            for image in range(n)
            for band in itertools.pairwise(rows)
            for strip in itertools.pairwise(columns)
        ]

    return cut
