"""One training step (loss, gradients through the collapse, Adam) here and in PyTorch.

The PyTorch step uses the collapse in closed form, channels-last images and the fused Adam.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

import sesr_ref as sr
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.train.optimiser import Adam

Step = Callable[[], float]
RATE = 5e-4


class Problem(NamedTuple):
    """A network to train and one batch."""

    net: sr.Network
    params: Params
    low: Array
    high: Array


def problem(batch: int = 32, crop: int = 64) -> Problem:
    """The paper's training problem: M5 x2, batches of 32 crops of 64 x 64 (section 4.1)."""
    net, rng = sr.sesr(5), np.random.default_rng(2)
    shape = (batch, crop, crop, 1), (batch, 2 * crop, 2 * crop, 1)
    low, high = (rng.random(s, np.float32) for s in shape)
    return Problem(net, sr.initialise(net, 0), low, high)


def collapsed(given: Problem, threads: int) -> Step:
    """A step with this engine's kernels; returns the loss."""
    ops = sr.fast(threads=threads)
    adam = Adam({name: value.copy() for name, value in given.params.items()})
    count = 0

    def step() -> float:
        nonlocal count
        loss, dparams = sr.loss_and_grads(given.net, adam.params, given.low, given.high, ops=ops)
        adam.update(dparams, RATE, count, ops.adam)
        count += 1
        return loss

    return step


def expanded(given: Problem, threads: int) -> Step:
    """A step without the collapse: 256 channels between the two convolutions of a block."""
    wide, params = sr.expanded(given.net), sr.expand_params(given.net, given.params)
    return collapsed(given._replace(net=wide, params=params), threads)


def pytorch(given: Problem, threads: int) -> Step:
    """PyTorch, operation by operation."""
    return _pytorch(given, threads, lambda function: function)


def pytorch_compiled(given: Problem, threads: int) -> Step:
    """``torch.compile`` of the loss."""
    import torch

    torch._dynamo.reset()
    return _pytorch(given, threads, torch.compile)


def _pytorch(given: Problem, threads: int, wrap: Callable[[Any], Any]) -> Step:
    import torch

    torch.set_num_threads(threads)
    weights = {k: torch.tensor(v, requires_grad=True) for k, v in given.params.items()}
    optimiser = torch.optim.Adam(list(weights.values()), lr=RATE, fused=True)
    low, high = (
        torch.from_numpy(a.transpose(0, 3, 1, 2)).contiguous(memory_format=torch.channels_last)
        for a in (given.low, given.high)
    )
    function = wrap(lambda: (_sesr(given.net, weights, low) - high).abs().mean())

    def step() -> float:
        optimiser.zero_grad()
        loss = function()
        loss.backward()
        optimiser.step()
        return float(loss.detach())

    return step


def _sesr(net: sr.Network, w: dict[str, Any], x: Any) -> Any:
    """SESR of the paper with PReLU and both long residuals, collapsed at every step."""
    import torch
    from torch.nn import functional as F

    def conv(layer: Any, given: Any) -> Any:
        weight = w[f"{layer.name}.expand"] @ w[f"{layer.name}.project"][0, 0]
        if layer.residual:
            middle = torch.zeros(layer.kernel_size, layer.kernel_size)
            middle[layer.kernel_size // 2, layer.kernel_size // 2] = 1
            weight = weight + middle[:, :, None, None] * torch.eye(layer.features)
        return F.conv2d(given, weight.permute(3, 2, 0, 1), padding=layer.kernel_size // 2)

    rules: dict[str, Callable[..., Any]] = {
        "LinearBlock": conv,
        "PReLU": lambda layer, given: F.prelu(given, w[f"{layer.name}.slope"]),
        "Add": lambda layer, first, second: first + second,
        "DepthToSpace": lambda layer, given: F.pixel_shuffle(given, layer.block),
    }
    tensors = {"input": x}
    for layer, inputs in net.steps():
        given = [tensors[i] for i in inputs]
        tensors[layer.name] = rules[type(layer).__name__](layer, *given)
    return tensors[net.output]


STEPS: dict[str, tuple[str, Callable[[Problem, int], Step]]] = {
    "sesr_ref fast": ("numba", collapsed),
    "sesr_ref expanded": ("numba", expanded),
    "PyTorch": ("torch", pytorch),
    "torch.compile": ("torch", pytorch_compiled),
}
"""Name of a candidate: the package it needs, and the function that builds its step."""


def installed() -> dict[str, Callable[[Problem, int], Step]]:
    """Candidates whose package is installed, by name."""
    return {name: build for name, (package, build) in STEPS.items() if find_spec(package)}
