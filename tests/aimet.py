"""State dicts as other people's SESR has them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

import sesr_ref as sr

Array = npt.NDArray[Any]
State = dict[str, Array]


def aimet_state(
    rng: np.random.Generator, blocks: int = 5, upscale: int = 2, features: int = 16, p: int = 256
) -> State:
    """A state dict as AIMET's model zoo and AI Hub lay it out: OIHW, biases on the 1 x 1 only."""

    def block(name: str, channels: int, outputs: int, k: int) -> State:
        scale = 1 / math.sqrt(channels * k * k)
        return {
            f"{name}.conv_expand.weight": rng.normal(0, scale, (p, channels, k, k)),
            f"{name}.conv_squeeze.weight": rng.normal(0, 0.5 / math.sqrt(p), (outputs, p, 1, 1)),
            f"{name}.conv_squeeze.bias": rng.normal(0, 0.1, outputs),
        }

    outputs = 3 * upscale**2
    anchor = np.repeat(np.eye(3), upscale**2, axis=0).reshape(outputs, 3, 1, 1)
    state = {"model.anchor.net.weight": anchor, "model.anchor.net.bias": np.zeros(outputs)}
    state |= block("model.conv_first", 3, features, 5)
    for i in range(blocks):
        state |= block(f"model.residual_block.{i}", features, features, 3)
    state |= block("model.conv_last", features, outputs, 5)
    return {name: array.astype(np.float32) for name, array in state.items()}


def weights(net: sr.Network) -> int:
    return sum(math.prod(shape) for shape in net.param_shapes().values() if len(shape) == 4)
