"""Random networks, parameters and images for tests that must hold for any of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from sesr_ref import network as nw

Array = npt.NDArray[Any]
Draw = Callable[[st.SearchStrategy[Any]], Any]

Builder = Callable[[Draw, str, int, tuple[str, ...]], nw.Layer]

NAMES = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=5)
SMALL = st.floats(-2, 2, allow_subnormal=False)
ODD = st.sampled_from([1, 3, 5])
SIZE = st.integers(1, 5)


def seeds() -> st.SearchStrategy[int]:
    return st.integers(0, 2**32 - 1)


def parameters(net: nw.Network, seed: int, dtype: Any = np.float64) -> dict[str, Array]:
    """Random parameters of a network, scaled so that its tensors stay about as large as images."""
    rng = np.random.default_rng(seed)
    drawn = {
        name: (rng.standard_normal(shape) / math.prod(shape[:-1]) ** 0.5).astype(dtype)
        for name, shape in net.param_shapes().items()
    }
    return {k: np.abs(v) + dtype(0.25) if k.endswith(".var") else v for k, v in drawn.items()}


def images(shape: tuple[int, ...], seed: int, dtype: Any = np.float64) -> Array:
    return np.random.default_rng(seed).random(shape).astype(dtype)


def _conv(draw: Draw, name: str, channels: int, inputs: tuple[str, ...]) -> nw.Layer:
    groups = draw(st.sampled_from([g for g in (1, 2, 3) if channels % g == 0]))
    features = groups * draw(st.integers(1, 3))
    return nw.Conv(name, features, draw(ODD), groups, draw(st.booleans()), inputs=inputs)


def _conv_transpose(draw: Draw, name: str, channels: int, inputs: tuple[str, ...]) -> nw.Layer:
    stride, k = draw(st.integers(1, 2)), draw(st.integers(2, 5))
    padding = draw(st.none() | st.integers(0, k - 1))
    return nw.ConvTranspose(
        name, draw(SIZE), k, stride, draw(st.booleans()), padding, inputs=inputs
    )


def _linear_block(draw: Draw, name: str, channels: int, inputs: tuple[str, ...]) -> nw.Layer:
    residual = draw(st.booleans())
    features = channels if residual else draw(SIZE)
    bias = draw(st.sampled_from(["none", "true"]))
    return nw.LinearBlock(name, features, draw(ODD), draw(SIZE), residual, bias, inputs=inputs)


def _clip(draw: Draw, name: str, channels: int, inputs: tuple[str, ...]) -> nw.Layer:
    low, high = draw(st.floats(-1, 0)), draw(st.floats(0.5, 1))
    return nw.Clip(name, low, high, inputs=inputs)


def _resize(draw: Draw, name: str, channels: int, inputs: tuple[str, ...]) -> nw.Layer:
    modes = st.sampled_from(["nearest", "bilinear", "bicubic", "bicubic75"])
    return nw.Resize(name, draw(st.integers(1, 2)), draw(modes), inputs=inputs)


def _depth_to_space(draw: Draw, name: str, channels: int, inputs: tuple[str, ...]) -> nw.Layer:
    block = 2 if channels % 4 == 0 else 1
    return nw.DepthToSpace(name, block, draw(st.sampled_from(["DCR", "CRD"])), inputs=inputs)


EDGE = ((1.0, 0.0, -1.0), (0.5, 0.25, -2.0), (0.0, 1.0, 0.0))
BOTH = (st.booleans(), st.booleans())
GELUS = ["none", "tanh"]
LONG = [(1, 3), (5, 1), (3, 1)]

ONE_INPUT: tuple[Builder, ...] = (
    _conv,
    _conv_transpose,
    _linear_block,
    _clip,
    _resize,
    _depth_to_space,
    lambda draw, name, channels, i: nw.Conv(name, 4, 1, inputs=i),
    lambda draw, name, channels, i: nw.PReLU(name, inputs=i),
    lambda draw, name, channels, i: nw.ReLU(name, inputs=i),
    lambda draw, name, channels, i: nw.LeakyReLU(name, draw(SMALL), inputs=i),
    lambda draw, name, channels, i: nw.Shift(name, draw(SMALL), inputs=i),
    lambda draw, name, channels, i: nw.Scale(name, draw(SMALL), inputs=i),
    lambda draw, name, channels, i: nw.Sigmoid(name, inputs=i),
    lambda draw, name, channels, i: nw.SiLU(name, inputs=i),
    lambda draw, name, channels, i: nw.Tanh(name, inputs=i),
    lambda draw, name, channels, i: nw.GELU(name, draw(st.sampled_from(GELUS)), inputs=i),
    lambda draw, name, channels, i: nw.Gain(name, inputs=i),
    lambda draw, name, channels, i: nw.BatchNorm(name, inputs=i),
    lambda draw, name, channels, i: nw.Stencil(name, EDGE, *draw(st.tuples(*BOTH)), inputs=i),
    lambda draw, name, channels, i: nw.Conv(name, 3, draw(st.sampled_from(LONG)), inputs=i),
    lambda draw, name, channels, i: nw.Slice(name, channels // 2, channels, inputs=i),
)


def _layer(draw: Draw, name: str, layers: list[nw.Layer], shapes: dict[str, Any]) -> nw.Layer:
    """One more layer that fits: it shares parameters, joins two tensors or reads one."""
    source = draw(st.sampled_from(sorted(n for n in shapes if shapes[n][0] <= 2)))
    height, channels = shapes[source]
    alike = [n for n in shapes if shapes[n][0] == height]
    owners = [s for s in layers if not s.shares and shapes[s.inputs[0]][1] == channels]
    choice = draw(st.integers(0, 6))
    if choice == 0 and owners:
        owner: nw.Layer = draw(st.sampled_from(owners))
        if owner.param_shapes(channels):
            return dataclasses.replace(owner, name=name, inputs=(source,), shares=owner.name)
    if choice == 1:
        fit = [n for n in alike if shapes[n][1] in (channels, 1)]
        others = draw(st.lists(st.sampled_from(fit), max_size=2))
        return nw.Add(name, inputs=(source, *others))
    if choice == 3:
        fit = [n for n in alike if shapes[n][1] in (channels, 1)]
        return nw.Multiply(name, inputs=(source, draw(st.sampled_from(fit))))
    if choice == 2:
        others = draw(st.lists(st.sampled_from(alike), max_size=2))
        return nw.Concat(name, inputs=(source, *others))
    build: Builder = draw(st.sampled_from(ONE_INPUT))
    return build(draw, name, channels, (source,))


@st.composite
def networks(draw: Draw, most: int = 6) -> nw.Network:
    """Valid networks of any kinds of layers, some unread, some with shared parameters."""
    channels = draw(st.integers(1, 3))
    layers: list[nw.Layer] = []
    shapes = {"input": (1, channels)}
    for i in range(draw(st.integers(0, most))):
        layer = _layer(draw, f"{i}{draw(NAMES)}", layers, shapes)
        out = layer.out_shape(*((shapes[n][0], shapes[n][0], shapes[n][1]) for n in layer.inputs))
        shapes[layer.name] = out[1:]
        layers.append(layer)
    source = draw(st.sampled_from(sorted(shapes)))
    layers.append(nw.Conv("last", channels, 1, inputs=(source,)))
    return nw.Network("random", shapes[source][0], channels, tuple(layers))
