"""Networks with random integers and grids: zero points at the ends, slopes of any sign."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

import sesr_ref as sr
from sesr_ref import network as nw
from sesr_ref.integers import Grid, Quantization
from sesr_ref.integers.parameters import IntegerParams

Rng = np.random.Generator

COLOUR = nw.Network(
    "colour",
    2,
    3,
    (
        nw.Conv("a", 8, 3, bias=True),
        nw.LeakyReLU("leaky", -0.25),
        nw.Conv("grouped", 8, 3, groups=2, bias=True),
        nw.GELU("gelu"),
        nw.Slice("some", 1, 6),
        nw.Conv("one", 1, 1, inputs=("a",)),
        nw.Add("repeated", inputs=("gelu", "one")),
        nw.Concat("both", inputs=("repeated", "some", "a")),
        nw.PReLU("slopes"),
        nw.Conv("tall", 6, (5, 1)),
        nw.Conv("narrow", 4, 3, inputs=("one",)),
        nw.Concat("all", inputs=("tall", "narrow")),
        nw.Conv("last", 12, 3, groups=2),
        nw.ReLU("positive"),
        nw.DepthToSpace("shuffle", 2, "CRD"),
        nw.Clip("clip", 0.0, 0.9),
    ),
)
"""Three channels; groups that fill no words, a sum of one channel and many, joined channels."""

TWO_SCALES = nw.Network(
    "two-scales",
    4,
    1,
    (
        nw.Conv("wide", 12, 9, bias=True),
        nw.PReLU("act"),
        nw.ConvTranspose("up", 8, 6, 2, bias=True),
        nw.PReLU("up_act"),
        nw.Conv("seven", 16, 7),
        nw.DepthToSpace("middle", 2),
        nw.Conv("last", 4, 3, bias=True),
        nw.Add("sum", inputs=("last", "middle")),
        nw.Conv("one", 1, 3),
    ),
)
"""Three resolutions, kernels wider than the register blocks unroll."""

NETWORKS = [
    sr.collapsed(sr.sesr(2, expand=4)),
    sr.collapsed(sr.sesr(2, 6, expand=4, activation="relu", input_residual=False)),
    sr.collapsed(sr.sesr(1, 20, upscale=4, expand=4)),
    sr.collapsed(sr.sesr(1, 8, expand=4, dialect="arm", block_bias="true")),
    sr.fsrcnn(3),
    COLOUR,
    TWO_SCALES,
]


def grid(rng: Rng, scale: float, power_of_two: bool, bits: int = 8) -> Grid:
    """A grid about `scale`; its zero point is often at an end."""
    factor = float(rng.uniform(0.4, 2.5))
    if power_of_two:
        scale, factor = 2.0 ** round(np.log2(scale)), 1.0
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    zero = int(rng.choice(np.array([low, high, 0, rng.integers(low, high + 1)])))
    return Grid(scale * factor, zero, bits)


def random_integers(
    net: nw.Network, rng: Rng, power_of_two: bool = False, bits: int = 8
) -> tuple[IntegerParams, Quantization]:
    """Parameters over the whole of their grids, and grids of tensors that values mostly fit."""
    scales, tensors = {"input": 1 / 255}, {"input": grid(rng, 1 / 255, power_of_two)}
    params: dict[str, Grid] = {}
    channels = {name: shape[2] for name, shape in net.shapes(16, 24).items()}
    for layer, inputs in net.steps():
        own = layer.param_shapes(*(channels[name] for name in inputs))
        source = scales[inputs[0]]
        if "weight" in own:
            fan = np.prod(own["weight"][:3])
            several = rng.uniform(0.5, 1, own["weight"][3]) / (74 * np.sqrt(fan))
            if power_of_two:
                several = np.exp2(np.round(np.log2(several)))
            params[f"{layer.name}.weight"] = Grid(tuple(several.tolist()), 0, 8, 3, narrow=True)
        if "bias" in own:
            every = source * params[f"{layer.name}.weight"].scales
            params[f"{layer.name}.bias"] = Grid(tuple(every.tolist()), 0, 32, 0)
        if "slope" in own:
            params[f"{layer.name}.slope"] = Grid(2.0**-7, 0, 8)
        scales[layer.name] = max(scales[name] for name in inputs)
        tensors[layer.name] = grid(rng, scales[layer.name], power_of_two, bits)
        if isinstance(layer, (nw.DepthToSpace, nw.ReLU)) and rng.random() < 0.5:
            tensors[layer.name] = tensors[inputs[0]]
    shapes = net.param_shapes()
    integers: dict[str, npt.NDArray[Any]] = {}
    for name, shape in shapes.items():
        low, high = (-3000, 3000) if name.endswith("bias") else (-127, 127)
        dtype = params[name].dtype()
        integers[name] = rng.integers(low, high + 1, shape).astype(dtype)
    return integers, Quantization(tensors, params)


def codes(net: nw.Network, rng: Rng, *size: int) -> npt.NDArray[np.int8]:
    """Random codes with runs of both ends."""
    x = rng.integers(-128, 128, (*size, net.channels))
    x[:, : size[1] // 3] = rng.choice([-128, 127], x[:, : size[1] // 3].shape)
    return x.astype(np.int8)
