"""A program of somebody else: mypy --strict must know the types of everything that it uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import sesr_ref as sr
from sesr_ref.evaluate.metrics import psnr
from sesr_ref.network import Conv, DepthToSpace, PReLU

if TYPE_CHECKING:
    from typing_extensions import assert_type
else:

    def assert_type(value: object, kind: object) -> None:
        """Types are for mypy."""


net = sr.Network(
    "theirs", 2, 1, (Conv("head", 4, 3), PReLU("act"), Conv("tail", 4, 3), DepthToSpace("out", 2))
)
assert_type(net.upscale, int)
assert_type(net.shapes(4, 5), dict[str, tuple[int, int, int]])
params = sr.initialise(net, seed=0)
x = np.random.default_rng(0).random((1, 9, 12, 1), np.float32)
y = sr.run(net, params, x, ops=sr.REFERENCE)
assert_type(y.ndim, int)
loss, gradients = sr.loss_and_grads(net, params, x, y)
assert_type(loss, float)
assert_type(sr.cost(net, 90, 120).parameters, int)
assert_type(sr.estimate(net, 90, 120, sr.ETHOS_N78_4TOPS).latency_ms, float)
assert_type(sr.compare(net, params, x, y).agrees, bool)
assert_type(psnr(y[0, ..., 0], y[0, ..., 0]), float)
if TYPE_CHECKING:
    sr.run(net, params, 3)  # type: ignore[arg-type]  # a mistake that mypy must see
