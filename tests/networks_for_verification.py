"""Networks, parameters and a picture that tests of verification share."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

import sesr_ref as sr
from sesr_ref import network as nw

Array = npt.NDArray[Any]


def random_params(net: sr.Network, rng: np.random.Generator) -> dict[str, Array]:
    return {
        name: rng.normal(0, 0.3, shape).astype(np.float32)
        for name, shape in net.param_shapes().items()
    }


def every_kind() -> sr.Network:
    """A network with every kind of layer."""
    return sr.Network(
        "all", 4, 2,
        (
            nw.Shift("shift", -0.3),
            nw.Conv("conv", 6, 3, groups=2, bias=True),
            nw.PReLU("prelu"),
            nw.Conv("wide", 8, 5),
            nw.LeakyReLU("leaky", 0.1),
            nw.Conv("point", 8, 1, bias=True),
            nw.ReLU("relu"),
            nw.Sigmoid("sigmoid", inputs=("point",)),
            nw.Concat("concat", inputs=("relu", "leaky", "sigmoid", "shift")),
            nw.ConvTranspose("deconv", 8, 4, 2, bias=True),
            nw.Scale("scale", 0.7),
            nw.DepthToSpace("shuffle", 2),
            nw.Resize("bicubic", 4, inputs=("input",)),
            nw.Resize("bilinear", 4, "bilinear", inputs=("input",)),
            nw.Add("three", inputs=("shuffle", "bicubic", "bilinear")),
            nw.Add("two", inputs=("three", "bicubic")),
            nw.Clip("clip", 0.1, 0.9),
        ),
    )  # fmt: skip


@functools.cache
def case() -> tuple[sr.Network, dict[str, Array], Array]:
    """A collapsed M5 with slopes that are not 0, and a picture with edges and a gradient."""
    rng = np.random.default_rng(5)
    net = sr.sesr()
    params = sr.initialise(net, 3)
    for name, array in params.items():
        if name.endswith("slope"):
            params[name] = rng.uniform(-0.1, 0.4, array.shape).astype(np.float32)
    rows, columns = np.indices((25, 31)) / 31
    picture = 0.3 + 0.3 * np.sin(9 * rows + 4 * columns) + 0.3 * ((rows * 3 + columns) % 0.4 > 0.2)
    x = (picture + rng.normal(0, 0.01, picture.shape)).clip(0, 1).astype(np.float32)
    return sr.collapsed(net), sr.collapse_params(net, params), x[None, ..., None]
