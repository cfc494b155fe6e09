"""Run a network of primitives forward and backward, tensor by named tensor.

There is no tape: the backward pass needs only the named tensors of the forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sesr_ref import network as nw
from sesr_ref.checks import check_runnable, layer_params
from sesr_ref.moved import names_moved
from sesr_ref.ops import pointwise, rearrange, stencil
from sesr_ref.ops.arrays import Array, Params, check_same_dtype
from sesr_ref.ops.table import REFERENCE, Ops

Gradients = tuple[Sequence[Array], Params]
"""Gradients of a layer's inputs, in order, and of its parameters by their short names."""


class Rule(NamedTuple):
    """How one kind of layer is computed: ``forward(layer, ops, inputs, params)`` and its vjp."""

    forward: Callable[[Any, Ops, Any, Params], Array]
    vjp: Callable[[Any, Ops, Array, Any, Params], Gradients]


def _transpose_args(layer: nw.ConvTranspose) -> dict[str, int]:
    return {"stride": layer.stride, "padding": layer.crop}


def _elementwise(forward: Callable[..., Array], vjp: Callable[..., Array], *fields: str) -> Rule:
    """Make the rule of a function of one tensor and of some of the layer's fields."""

    def numbers(layer: nw.Layer) -> tuple[Any, ...]:
        return tuple(getattr(layer, key) for key in fields)

    return Rule(
        lambda layer, ops, x, p: forward(x[0], *numbers(layer)),
        lambda layer, ops, dy, x, p: ([vjp(dy, x[0], *numbers(layer))], {}),
    )


RULES: nw.Rules[Rule] = nw.Rules(
    {
        nw.Conv: Rule(
            lambda layer, ops, x, p: ops.conv2d(*x, **p, groups=layer.groups),
            lambda layer, ops, dy, x, p: _split(
                ops.conv2d_vjp(dy, *x, **p, groups=layer.groups), p
            ),
        ),
        nw.ConvTranspose: Rule(
            lambda layer, ops, x, p: ops.conv_transpose2d(*x, **p, **_transpose_args(layer)),
            lambda layer, ops, dy, x, p: _split(
                ops.conv_transpose2d_vjp(dy, *x, **p, **_transpose_args(layer)), p
            ),
        ),
        nw.PReLU: Rule(
            lambda layer, ops, x, p: ops.prelu(*x, **p),
            lambda layer, ops, dy, x, p: _split(ops.prelu_vjp(dy, *x, **p), p),
        ),
        nw.ReLU: _elementwise(pointwise.relu, pointwise.relu_vjp),
        nw.LeakyReLU: _elementwise(pointwise.leaky_relu, pointwise.leaky_relu_vjp, "slope"),
        nw.Sigmoid: _elementwise(pointwise.sigmoid, pointwise.sigmoid_vjp),
        nw.SiLU: _elementwise(pointwise.silu, pointwise.silu_vjp),
        nw.Tanh: _elementwise(pointwise.tanh, pointwise.tanh_vjp),
        nw.GELU: _elementwise(pointwise.gelu, pointwise.gelu_vjp, "approximate"),
        nw.Gain: Rule(
            lambda layer, ops, x, p: pointwise.gain(x[0], **p),
            lambda layer, ops, dy, x, p: _split(pointwise.gain_vjp(dy, x[0], **p), p),
        ),
        nw.FakeQuantize: Rule(
            lambda layer, ops, x, p: pointwise.fake_quantize(
                x[0], p["log_scale"], layer.zero_point, layer.low, layer.high
            ),
            lambda layer, ops, dy, x, p: _split(
                pointwise.fake_quantize_vjp(
                    dy, x[0], p["log_scale"], layer.zero_point, layer.low, layer.high
                ),
                p,
            ),
        ),
        nw.BatchNorm: Rule(
            lambda layer, ops, x, p: pointwise.batch_norm(x[0], **p, eps=layer.eps),
            lambda layer, ops, dy, x, p: _split(
                pointwise.batch_norm_vjp(dy, x[0], **p, eps=layer.eps), p
            ),
        ),
        nw.Stencil: Rule(
            lambda layer, ops, x, p: stencil.stencil(x[0], layer.taps, **p),
            lambda layer, ops, dy, x, p: _split(
                [d for d in stencil.stencil_vjp(dy, x[0], layer.taps, **p) if d is not None], p
            ),
        ),
        nw.Slice: _elementwise(rearrange.cut_channels, rearrange.cut_channels_vjp, "start", "stop"),
        nw.Pad: _elementwise(rearrange.pad, rearrange.pad_vjp, "size"),
        nw.Multiply: Rule(
            lambda layer, ops, x, p: pointwise.multiply(*x),
            lambda layer, ops, dy, x, p: (pointwise.multiply_vjp(dy, *x), {}),
        ),
        nw.Shift: _elementwise(pointwise.shift, pointwise.shift_vjp, "offset"),
        nw.Scale: _elementwise(pointwise.scale, pointwise.scale_vjp, "factor"),
        nw.Clip: _elementwise(pointwise.clip, pointwise.clip_vjp, "low", "high"),
        nw.Resize: _elementwise(rearrange.resize, rearrange.resize_vjp, "upscale", "mode"),
        nw.Add: Rule(
            lambda layer, ops, x, p: pointwise.add(*x),
            lambda layer, ops, dy, x, p: (pointwise.add_vjp(dy, *x), {}),
        ),
        nw.Concat: Rule(
            lambda layer, ops, x, p: pointwise.concat(*x),
            lambda layer, ops, dy, x, p: (pointwise.concat_vjp(dy, *x), {}),
        ),
        nw.DepthToSpace: Rule(
            lambda layer, ops, x, p: rearrange.depth_to_space(x[0], layer.block, layer.mode),
            lambda layer, ops, dy, x, p: (
                [rearrange.depth_to_space_vjp(dy, layer.block, layer.mode)],
                {},
            ),
        ),
    }
)


def _split(gradients: Sequence[Array | None], params: Params) -> Gradients:
    dx, *dparams = gradients
    assert dx is not None
    return [dx], {k: d for k, d in zip(params, dparams, strict=False) if d is not None}


def forward(net: nw.Network, params: Params, x: Array, ops: Ops = REFERENCE) -> dict[str, Array]:
    """Compute every tensor of a network of primitives, by name.

    Parameters
    ----------
    net : Network
        Without linear blocks: apply `collapsed` or `expanded` first.
    params : dict of arrays
        Keyed ``layer.parameter``.
    x : (n, height, width, channels) float array
        In [0, 1]; float32 or float64, which is every tensor's dtype.
    ops : Ops
        The implementation.

    Returns
    -------
    dict of (n, height, width, channels) float arrays
        ``"input"`` and every layer's name, in order.

    Raises
    ------
    ValueError
        For a linear block, which is named, for parameters that do not fit, or for images that do
        not fit or are not finite.
    """
    check_runnable(net, params, x)
    return compute(net, params, x, ops)


def output(net: nw.Network, params: Params, x: Array, ops: Ops = REFERENCE) -> Array:
    """Compute only the output of `forward`; each tensor is dropped after its last reader."""
    check_runnable(net, params, x)
    return compute(net, params, x, ops, keep=False)[net.output]


def compute(
    net: nw.Network, params: Params, x: Array, ops: Ops, keep: bool = True
) -> dict[str, Array]:
    """`forward` for arguments that are known to fit.

    Parameters
    ----------
    net, params, x, ops
        As for `forward`.
    keep : bool
        Whether to keep every tensor; otherwise each is dropped after its last reader.

    Returns
    -------
    dict of (n, height, width, channels) float arrays
        The output and, with `keep`, all other tensors.
    """
    last = {name: layer.name for layer, inputs in net.steps() for name in inputs}
    tensors = {"input": x}
    for layer, inputs in net.steps():
        rule = RULES[type(layer)]
        own = layer_params(layer, params)
        tensors[layer.name] = rule.forward(layer, ops, [tensors[i] for i in inputs], own)
        for name in () if keep else set(inputs):
            if last[name] == layer.name:
                del tensors[name]
    return tensors


def backward(
    net: nw.Network, params: Params, tensors: dict[str, Array], dy: Array, ops: Ops = REFERENCE
) -> Params:
    """Compute the gradients of every parameter, given that of the output.

    Parameters
    ----------
    net, params, ops
        As given to `forward`.
    tensors : dict of arrays
        What `forward` returned.
    dy : (n, height, width, channels) float array
        Gradient of the output.

    Returns
    -------
    dict of arrays
        Keyed as `params`; zeros for parameters that do not affect the output.

    Raises
    ------
    ValueError
        As `forward`, or if `tensors` or `dy` do not belong to this network.
    """
    names = ("input", *(layer.name for layer in net.layers))
    if missing := [name for name in names if name not in tensors]:
        raise ValueError(f"{net.name}: tensor {missing[0]!r} of the forward pass is missing")
    check_runnable(net, params, tensors["input"])
    check_same_dtype(dy, tensors[net.output].shape, tensors[net.output])
    return compute_gradients(net, params, tensors, dy, ops)


def compute_gradients(
    net: nw.Network, params: Params, tensors: dict[str, Array], dy: Array, ops: Ops
) -> Params:
    """`backward` for arguments that are known to fit."""
    grads: dict[str, Array] = {net.output: dy}
    dparams: Params = {}
    for layer, inputs in reversed(list(net.steps())):
        if (own_dy := grads.pop(layer.name, None)) is None:
            continue  # the output does not depend on this tensor
        own = layer_params(layer, params)
        x = [tensors[i] for i in inputs]
        dinputs, down = RULES[type(layer)].vjp(layer, ops, own_dy, x, own)
        for name, d in zip(inputs, dinputs, strict=True):
            grads[name] = grads[name] + d if name in grads else d
        for key, d in down.items():
            full = f"{layer.shares or layer.name}.{key}"
            dparams[full] = dparams[full] + d if full in dparams else d
    return {
        name: dparams[name] if name in dparams else np.zeros(value.shape, dy.dtype)
        for name, value in params.items()
    }


if not TYPE_CHECKING:  # so that mypy still reports missing names
    __getattr__ = names_moved(__name__)
