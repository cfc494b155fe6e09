"""One training step (loss, gradients through the collapse, Adam) here and in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import sesr_ref as sr
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.optimiser import Adam

Step = Callable[[], float]
RATE = 5e-4


def ours(net: sr.Network, params: Params, x: Array, target: Array, ops: sr.Ops) -> Step:
    """Step of this engine with the operations given; returns the loss."""
    adam = Adam({name: value.copy() for name, value in params.items()})
    count = 0

    def step() -> float:
        nonlocal count
        loss, dparams = sr.loss_and_grads(net, adam.params, x, target, ops=ops)
        adam.update(dparams, RATE, count)
        count += 1
        return loss

    return step


def pytorch(
    net: sr.Network, params: Params, x: Array, target: Array, threads: int, compiled: bool
) -> Step:
    """PyTorch, channels last, eager or compiled; the same collapse in closed form."""
    import torch

    torch.set_num_threads(threads)
    weights = {k: torch.tensor(v, requires_grad=True) for k, v in params.items()}
    optimiser = torch.optim.Adam(list(weights.values()), lr=RATE, fused=True)
    low = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    low = low.contiguous(memory_format=torch.channels_last)
    high = torch.from_numpy(np.ascontiguousarray(target.transpose(0, 3, 1, 2)))

    def loss_of() -> Any:
        return (_sesr(net, weights, low) - high).abs().mean()

    function = torch.compile(loss_of) if compiled else loss_of

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
