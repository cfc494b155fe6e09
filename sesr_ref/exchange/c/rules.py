"""What each kind of layer is in C: the body of the function that makes one row of its output.

Every rule serves floats and integers; `Numbers` says how values are loaded, stored and summed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sesr_ref import network as nw
from sesr_ref.exchange.c import text
from sesr_ref.exchange.c.convolution import convolution, stencil, transposed
from sesr_ref.exchange.c.resampling import resize
from sesr_ref.exchange.c.site import Rule, Site, each_value, height, width

Expression = Callable[[Site], str]
"""A function of the real number ``v`` of channel ``c``."""


def _library(name: str, *needs: str) -> Expression:
    """A function of one number, of this file; it may need others, which come first."""

    def expression(site: Site) -> str:
        for each in (*needs, name):
            function = site.sheet.helper(each, FUNCTIONS[each], "math.h")
        return f"{function}(v)"

    return expression


FUNCTIONS = {
    "sigmoid": """\
/* 1 / (1 + exp(-v)), in the form that cannot overflow */
static float @_sigmoid(float v)
{
    const float small = expf(-fabsf(v));
    return (v >= 0.0f ? 1.0f : small) / (1.0f + small);
}
""",
    "silu": """\
static float @_silu(float v)
{
    return v * @_sigmoid(v);
}
""",
    "tanh": """\
static float @_tanh(float v)
{
    return tanhf(v);
}
""",
    "gelu": """\
/* v * Phi(v), Phi the normal distribution function */
static float @_gelu(float v)
{
    return v * (0.5f * erff(v * 0.70710678f) + 0.5f);
}
""",
    "gelu_tanh": """\
/* GELU's approximation by tanh */
static float @_gelu_tanh(float v)
{
    return v * (0.5f * tanhf(0.79788456f * (v + 0.044715f * v * v * v)) + 0.5f);
}
""",
}


def _batch_norm(site: Site) -> str:
    p = site.params
    factor = p["scale"] / np.sqrt(p["var"] + site.layer.eps)
    mean, scale, offset = (
        site.constant(key, values)
        for key, values in (("mean", p["mean"]), ("factor", factor), ("offset", p["offset"]))
    )
    return f"(v - {mean}) * {scale} + {offset}"


def _below(site: Site, slope: str) -> str:
    return f"v > {site.literal(0)} ? v : {slope} * v"


def _clip(site: Site) -> str:
    low, high = site.literal(site.layer.low), site.literal(site.layer.high)
    return f"v < {low} ? {low} : v > {high} ? {high} : v"


EXPRESSIONS: dict[type[nw.Layer], Expression] = {
    nw.PReLU: lambda site: _below(site, site.constant("slope", site.params["slope"])),
    nw.ReLU: lambda site: f"v > {site.literal(0)} ? v : {site.literal(0)}",
    nw.LeakyReLU: lambda site: _below(site, site.literal(site.layer.slope)),
    nw.Sigmoid: _library("sigmoid"),
    nw.SiLU: _library("silu", "sigmoid"),
    nw.Tanh: _library("tanh"),
    nw.GELU: lambda site: _library("gelu" if site.layer.approximate == "none" else "gelu_tanh")(site),
    nw.Shift: lambda site: f"v + {site.literal(site.layer.offset)}",
    nw.Scale: lambda site: f"v * {site.literal(site.layer.factor)}",
    nw.Gain: lambda site: f"v * {site.constant('gain', site.params['gain'])}",
    nw.BatchNorm: _batch_norm,
    nw.Clip: _clip,
}
"""Kinds that change each value separately."""


def _pointwise(site: Site) -> str:
    at = f"i * {site.out.channels} + c"
    loaded = site.numbers.load(site, 0, f"x[{at}]", "c")
    made = site.numbers.store(site, EXPRESSIONS[type(site.layer)](site), "c")
    body = f"const {site.numbers.real} v = {loaded};\ny[{at}] = {made};"
    return site.same_rows() + each_value(site, body)


def joined(site: Site, sign: str) -> str:
    """Sum or product of the inputs from left to right; one channel serves all."""
    terms = []
    for index, tensor in enumerate(site.inputs):
        at, channel = ("i", "0") if tensor.channels == 1 else (f"i * {tensor.channels} + c", "c")
        value = f"{site.variable(index)}[{at}]"
        terms.append(site.numbers.load(site, index, value, channel))
    total = f" {sign} ".join(terms)
    body = f"y[i * {site.out.channels} + c] = {site.numbers.store(site, total, 'c')};"
    return site.same_rows() + each_value(site, body)


def _concat(site: Site) -> str:
    lines, start = [], 0
    for index, tensor in enumerate(site.inputs):
        value = f"{site.variable(index)}[i * {tensor.channels} + c]"
        moved = site.numbers.move(site, index, value, "c")
        place = f"i * {site.out.channels} + c" + (f" + {start}" if start else "")
        lines.append(f"for (int c = 0; c < {tensor.channels}; c++)\n    y[{place}] = {moved};\n")
        start += tensor.channels
    body = text.block("".join(lines))
    return site.same_rows() + f"for (int i = 0; i < {width(site.out)}; i++) {{\n{body}}}\n"


def _slice(site: Site) -> str:
    channels, start = site.inputs[0].channels, site.layer.start
    value = f"x[i * {channels} + c" + (f" + {start}]" if start else "]")
    moved = site.numbers.move(site, 0, value, f"c + {start}" if start else "c")
    return site.same_rows() + each_value(site, f"y[i * {site.out.channels} + c] = {moved};")


def _pad(site: Site) -> str:
    source, by = site.inputs[0], site.layer.size
    loaded = site.numbers.load(site, 0, f"x[at * {source.channels} + c]", "c")
    zero = site.literal(0)
    inside = f"x && at >= 0 && at < {width(source)}"
    shift = f"{'-' if by >= 0 else '+'} {abs(by)}"
    body = (
        f"const int at = i {shift};\n"
        f"const {site.numbers.real} v = {inside} ? {loaded} : {zero};\n"
        f"y[i * {site.out.channels} + c] = {site.numbers.store(site, 'v', 'c')};"
    )
    return (
        f"const int from = row {shift};\n"
        f"const {site.types[0]} *x = from < 0 || from >= {height(source)} ? NULL : "
        f"{site.row(0, 'from')};\n" + each_value(site, body)
    )


def _depth_to_space(site: Site) -> str:
    block, channels = site.layer.block, site.out.channels
    order = f"(row % {block} * {block} + i % {block}) * {channels} + c"
    if site.layer.mode == "CRD":
        order = f"c * {block**2} + row % {block} * {block} + i % {block}"
    value = f"x[i / {block} * {site.inputs[0].channels} + from]"
    moved = site.numbers.move(site, 0, value, "from")
    body = f"const int from = {order};\ny[i * {channels} + c] = {moved};"
    place = site.row(0, f"(row / {block})")
    return f"const {site.types[0]} *x = {place};\n" + each_value(site, body)


RULES: nw.Rules[Rule] = nw.Rules(
    {
        nw.Conv: convolution,
        nw.ConvTranspose: transposed,
        nw.Stencil: stencil,
        nw.Pointwise: _pointwise,
        nw.Add: lambda site: joined(site, "+"),
        nw.Multiply: lambda site: joined(site, "*"),
        nw.Concat: _concat,
        nw.Slice: _slice,
        nw.Pad: _pad,
        nw.DepthToSpace: _depth_to_space,
        nw.Resize: resize,
    }
)
