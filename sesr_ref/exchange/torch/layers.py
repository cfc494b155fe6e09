"""What each layer is in the source of a PyTorch module: one table, one small rule a kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from sesr_ref import network as nw
from sesr_ref.exchange.phases import phase_taps

Rows = tuple[tuple[float, ...], ...]
"""A table of numbers that a module states once."""


class Rule(NamedTuple):
    """How a kind of layer is written.

    ``called(layer, inputs, module)`` is the expression of its output; ``made(layer, channels)``
    that of its module, for kinds with parameters.
    """

    called: Callable[[Any, Sequence[str], str], str]
    made: Callable[[Any, int], str] | None = None


def numbers(rows: Iterable[Iterable[float]]) -> Rows:
    """A table as tuples of floats, whose repr is its source."""
    return tuple(tuple(float(number) for number in row) for row in rows)


def _conv(layer: nw.Conv, channels: int) -> str:
    rows, columns = layer.sides
    square = rows == columns
    size = str(rows) if square else f"({rows}, {columns})"
    options = [f"{channels}, {layer.features}, {size}"]
    if max(rows, columns) > 1:
        padding = str(rows // 2) if square else f"({rows // 2}, {columns // 2})"
        options.append(f"padding={padding}")
    options += [f"groups={layer.groups}"] if layer.groups > 1 else []
    options += [] if layer.bias else ["bias=False"]
    return f"nn.Conv2d({', '.join(options)})"


def _conv_transpose(layer: nw.ConvTranspose, channels: int) -> str:
    k, stride, crop = layer.kernel_size, layer.stride, layer.crop
    sizes = f"{channels}, {layer.features}, {k}, {stride}"
    bias = "" if layer.bias else ", bias=False"
    more = stride - k + 2 * crop  # rows that padding on both sides takes too many
    if 0 <= more < stride:
        return f"nn.ConvTranspose2d({sizes}, padding={crop}, output_padding={more}{bias})"
    return f"CutConvTranspose2d({sizes}, crop={crop}{bias})"


def _stencil(layer: nw.Stencil, channels: int) -> str:
    return f"Stencil({channels}, {numbers(layer.taps)!r}, {layer.factor}, {layer.bias})"


def _module(layer: nw.Layer, inputs: Sequence[str], module: str) -> str:
    return f"{module}({inputs[0]})"


def _text(form: str) -> Rule:
    """Rule of a kind that is written as its form says, with the layer and its first inputs."""
    return Rule(lambda layer, inputs, module: form.format(*inputs, layer=layer))


def _shift(layer: nw.Shift, inputs: Sequence[str], module: str) -> str:
    sign = "-" if layer.offset < 0 else "+"
    return f"{inputs[0]} {sign} {abs(layer.offset)!r}"


def _shuffle(layer: nw.DepthToSpace, inputs: Sequence[str], module: str) -> str:
    name = {"CRD": "F.pixel_shuffle", "DCR": "depth_to_space"}[layer.mode]
    return f"{name}({inputs[0]}, {layer.block})"


def _resize(layer: nw.Resize, inputs: Sequence[str], module: str) -> str:
    x, scale = inputs[0], layer.upscale
    if scale == 1:
        return x
    if layer.mode == "bicubic":
        return f"bicubic({x}, {numbers(phase_taps(scale))!r})"
    if layer.mode == "nearest":
        return f"{x}.repeat_interleave({scale}, 2).repeat_interleave({scale}, 3)"
    mode = {"bilinear": "bilinear", "bicubic75": "bicubic"}[layer.mode]
    return f'F.interpolate({x}, scale_factor={scale}, mode="{mode}", align_corners=False)'


RULES: nw.Rules[Rule] = nw.Rules(
    {
        nw.Conv: Rule(_module, _conv),
        nw.ConvTranspose: Rule(_module, _conv_transpose),
        nw.Stencil: Rule(_module, _stencil),
        nw.PReLU: Rule(_module, lambda layer, channels: f"nn.PReLU({channels})"),
        nw.FakeQuantize: Rule(
            _module,
            lambda layer, channels: f"FakeQuantize({layer.zero_point}, {layer.low}, {layer.high})",
        ),
        nw.Gain: Rule(_module, lambda layer, channels: f"Gain({channels})"),
        nw.BatchNorm: Rule(
            _module, lambda layer, channels: f"nn.BatchNorm2d({channels}, eps={layer.eps!r})"
        ),
        nw.ReLU: _text("torch.relu({})"),
        nw.LeakyReLU: _text("F.leaky_relu({}, {layer.slope!r})"),
        nw.Sigmoid: _text("torch.sigmoid({})"),
        nw.SiLU: _text("F.silu({})"),
        nw.Tanh: _text("torch.tanh({})"),
        nw.GELU: _text("F.gelu({}, approximate={layer.approximate!r})"),
        nw.Shift: Rule(_shift),
        nw.Scale: _text("{} * {layer.factor!r}"),
        nw.Clip: _text("{}.clamp({layer.low!r}, {layer.high!r})"),
        nw.Add: Rule(lambda layer, inputs, module: " + ".join(inputs)),
        nw.Multiply: Rule(lambda layer, inputs, module: " * ".join(inputs)),
        nw.Concat: Rule(lambda layer, inputs, module: f"torch.cat([{', '.join(inputs)}], 1)"),
        nw.Slice: _text("{}[:, {layer.start} : {layer.stop}]"),
        nw.Pad: _text("F.pad({}, ({layer.size},) * 4)"),
        nw.DepthToSpace: Rule(_shuffle),
        nw.Resize: Rule(_resize),
    }
)
"""How each primitive is written."""
