"""What each kind of layer is in C: the body of the function that makes one row of its output.

Every rule serves floats and integers; `Numbers` says how values are loaded, stored and summed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sesr_ref import network as nw
from sesr_ref.exchange.c.convolution import convolution, stencil, transposed
from sesr_ref.exchange.c.resampling import resize
from sesr_ref.exchange.c.site import Rule, Site, each_value, height, line_at, width

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


FAKE_QUANTIZE = """\
/* Round to a multiple of the scale, half to even, from low to high times the scale. */
static REAL @_fake_quantize(REAL v, REAL scale, REAL low, REAL high)
{
    const REAL code = RINT(v / scale);
    return (code < low ? low : code > high ? high : code) * scale;
}
"""


def _batch_norm(site: Site) -> str:
    p = site.params
    factor = p["scale"] / np.sqrt(p["var"] + site.layer.eps)
    mean, scale, offset = (
        site.constant(key, values)
        for key, values in (("mean", p["mean"]), ("factor", factor), ("offset", p["offset"]))
    )
    return f"(v - {mean}) * {scale} + {offset}"


def _fake_quantize(site: Site) -> str:
    layer, real = site.layer, site.numbers.real
    body = FAKE_QUANTIZE.replace("REAL", real).replace("RINT", "rint" + "f" * (real == "float"))
    function = site.sheet.helper("fake_quantize", body, "math.h")
    ends = (site.literal(end - layer.zero_point) for end in (layer.low, layer.high))
    scale = site.literal(np.exp(site.params["log_scale"])[0])
    return f"{function}(v, {scale}, {', '.join(ends)})"


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
    nw.GELU: lambda site: _library("gelu" if site.layer.approximate == "none" else "gelu_tanh")(
        site
    ),
    nw.Shift: lambda site: f"v + {site.literal(site.layer.offset)}",
    nw.Scale: lambda site: f"v * {site.literal(site.layer.factor)}",
    nw.FakeQuantize: _fake_quantize,
    nw.Gain: lambda site: f"v * {site.constant('gain', site.params['gain'])}",
    nw.BatchNorm: _batch_norm,
    nw.Clip: _clip,
}
"""Kinds that change each value separately."""


def _pointwise(site: Site) -> str:
    value = f"x[{line_at('c', site.inputs[0])} + i]"
    loaded = site.numbers.load(site, 0, value, "c")
    made = site.numbers.store(site, EXPRESSIONS[type(site.layer)](site))
    return site.same_rows() + each_value(
        site, f"const {site.numbers.real} v = {loaded};\n{site.y} = {made};"
    )


def joined(site: Site, sign: str) -> str:
    """Sum or product of the inputs from left to right; one channel serves all."""
    names = ["x"] if len(site.inputs) == 1 else [f"x{i}" for i in range(len(site.inputs))]
    terms = []
    for index, (name, tensor) in enumerate(zip(names, site.inputs, strict=True)):
        channel = "0" if tensor.channels == 1 else "c"
        value = f"{name}[{line_at(channel, tensor)} + i]".replace("[0 + i]", "[i]")
        terms.append(site.numbers.load(site, index, value, channel))
    total = site.numbers.store(site, f" {sign} ".join(terms))
    return site.same_rows() + each_value(site, f"{site.y} = {total};")


def _concat(site: Site) -> str:
    loops, start = [], 0
    for index, tensor in enumerate(site.inputs):
        name = "x" if len(site.inputs) == 1 else f"x{index}"
        moved = site.numbers.move(site, index, f"{name}[{line_at('c', tensor)} + i]", "c")
        place = line_at(f"(c + {start})" if start else "c", site.out)
        loops.append(
            f"for (int c = 0; c < {tensor.channels}; c++)\n"
            f"    for (int i = 0; i < {width(site.out)}; i++)\n"
            f"        y[{place} + i] = {moved};\n"
        )
        start += tensor.channels
    return site.same_rows() + "".join(loops)


def _slice(site: Site) -> str:
    channel = f"(c + {site.layer.start})" if site.layer.start else "c"
    value = f"x[{line_at(channel, site.inputs[0])} + i]"
    moved = site.numbers.move(site, 0, value, channel)
    return site.same_rows() + each_value(site, f"{site.y} = {moved};")


def _pad(site: Site) -> str:
    source, by = site.inputs[0], site.layer.size
    shift = f"{'-' if by >= 0 else '+'} {abs(by)}"
    loaded = site.numbers.load(site, 0, f"x[{line_at('c', source)} + j]", "c")
    inside = f"x && j >= 0 && j < {width(source)}"
    body = (
        f"const int j = i {shift};\n"
        f"const {site.numbers.real} v = {inside} ? {loaded} : {site.literal(0)};\n"
        f"{site.y} = {site.numbers.store(site, 'v')};"
    )
    return (
        f"const int from = row {shift};\n"
        f"const {site.types[0]} *x = from < 0 || from >= {height(source)} ? NULL : "
        f"{site.row(0, 'from')};\n" + each_value(site, body)
    )


def _depth_to_space(site: Site) -> str:
    block, source, out = site.layer.block, site.inputs[0], site.out
    phase = f"row % {block} * {block} + j"
    order = f"({phase}) * {out.channels} + c"
    if site.layer.mode == "CRD":
        order = f"c * {block**2} + {phase}"
    moved = site.numbers.move(site, 0, f"x[{line_at('n', source)} + i]", "n")
    return f"""\
const {site.types[0]} *x = {site.row(0, f"(row / {block})")};
for (int c = 0; c < {out.channels}; c++)
    for (int j = 0; j < {block}; j++) {{
        const int n = {order};
        for (int i = 0; i < {width(source)}; i++)
            y[{line_at("c", out)} + i * {block} + j] = {moved};
    }}
"""


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
