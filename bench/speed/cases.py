"""Cases of `run_speed.py`: networks with random parameters, images, candidates."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import sesr_ref as sr
from sesr_ref.collapse import collapse_params, collapsed
from sesr_ref.ops.arrays import Array, Params
from speed import peers

NETWORKS: dict[str, Callable[[], sr.Network]] = {
    "m3-x2": lambda: sr.sesr(3),
    "m5-x2": lambda: sr.sesr(5),
    "m7-x2": lambda: sr.sesr(7),
    "m11-x2": lambda: sr.sesr(11),
    "xl-x2": lambda: sr.sesr(11, 32),
    "fsrcnn-x2": lambda: sr.fsrcnn(2),
    "m3-x4": lambda: sr.sesr(3, upscale=4),
    "m5-x4": lambda: sr.sesr(5, upscale=4),
    "m7-x4": lambda: sr.sesr(7, upscale=4),
    "m11-x4": lambda: sr.sesr(11, upscale=4),
    "xl-x4": lambda: sr.sesr(11, 32, upscale=4),
    "fsrcnn-x4": lambda: sr.fsrcnn(4),
}
SIZES = {"360p": (360, 640), "540p": (540, 960), "1080p": (1080, 1920)}
SCALES = {
    f"{width} x {height}": (height, width)
    for width, height in [
        (300, 200),
        (640, 360),
        (960, 540),
        (1920, 1080),
        (3840, 2160),
        (7680, 4320),
    ]
}
"""Images from 0.06 to 33 megapixels."""


class Case(NamedTuple):
    """One row: a network, the name of a size, and the number of threads."""

    network: str
    size: str
    threads: int


def parameters(net: sr.Network) -> Params:
    """Random parameters: equal slopes and biases would make some runtimes slower."""
    rng = np.random.default_rng(0)

    def one(shape: tuple[int, ...]) -> Array:
        width = 0.3 if len(shape) == 1 else 1 / math.sqrt(math.prod(shape[:-1]))
        return (rng.standard_normal(shape) * width).astype(np.float32)

    return {name: one(shape) for name, shape in net.param_shapes().items()}


def image(size: tuple[int, int]) -> Array:
    """One random luma image."""
    return np.random.default_rng(1).random((1, *size, 1), np.float32)


def written(name: str, case: Case) -> Any:
    """Write the collapsed network in the form that a candidate loads."""
    net = NETWORKS[case.network]()
    small, params = collapsed(net), collapse_params(net, parameters(net))
    return peers.installed()[name].write(small, params, pixels(case))


def loaded(name: str, case: Case, model: Any) -> Callable[[], Array]:
    """Load a candidate, ready to run on one image."""
    run, x = peers.installed()[name].load(model, case.threads), image(pixels(case))
    return lambda: run(x)


def pixels(case: Case) -> tuple[int, int]:
    """Height and width of the case's image."""
    return (SIZES | SCALES)[case.size]


def gflop(case: Case) -> float:
    """Billions of multiplications and additions of its direct convolutions."""
    # transposed convolutions at their input: products with inserted zeros are not computed
    return 2 * sr.cost(NETWORKS[case.network](), *pixels(case), "input").macs / 1e9
