"""Convolutions in C: for each output channel, the input's lines times taps are added up."""

from __future__ import annotations

import numpy as np

from sesr_ref.exchange.c import text
from sesr_ref.exchange.c.site import Site, Sums, each_value, height, line_at, width

UNROLLED = 9
"""Taps of a line up to which their products are written side by side."""


def convolution(site: Site) -> str:
    """Each output pixel reads k x k pixels around its own; beyond the border they are 0."""
    layer, source = site.layer, site.inputs[0]
    (rows, columns), made = layer.sides, site.out.channels // layer.groups
    own = source.channels // layer.groups
    sums = site.numbers.sums(site)
    group = "" if layer.groups == 1 else f"(c / {made} * {own} + n)" if own > 1 else f"c / {made}"
    line = line_at(group or "n", source)
    zero = "" if sums.zero is None else f", {sums.zero}"
    x = f"{site.row(0, 'from', -(columns // 2))} + {line}"
    call = f"{_adding(site, sums, columns)}(sum, {x}, w{zero}, {width(site.out)});"
    taps = f"""\
for (int n = 0; n < {own}; n++)
    for (int a = 0; a < {rows}; a++, w += {columns}) {{
        const int from = row + a{f" - {rows // 2}" if rows > 1 else ""};
        if (from >= 0 && from < {height(source)})
            {call}
    }}
"""
    return f"const {sums.weight_type} *w = {sums.weight};\n" + _each_channel(site, sums, taps)


def _each_channel(site: Site, sums: Sums, added: str) -> str:
    """Loop over the output's channels: begin with the bias, add, store."""
    bias = f"{sums.bias}[c]" if sums.bias else "0"
    return (
        f"for (int c = 0; c < {site.out.channels}; c++) {{\n"
        f"    {sums.c_type} *sum = {site.numbers.line_of_sums(site, sums)};\n"
        f"    for (int i = 0; i < {width(site.out)}; i++)\n"
        f"        sum[i] = {bias};\n"
        f"{text.block(added)}"
        f"{text.block(site.numbers.finish(site))}"
        "}\n"
    )


def _adding(site: Site, sums: Sums, taps: int) -> str:
    """Add the function that adds a line times so many taps to a line of sums; its name."""
    x_type, w_type = site.types[0], sums.weight_type
    label = "" if sums.zero is None else f"_{x_type[:-2]}_{w_type[:-2]}_{sums.c_type[:-2]}"
    zero = "" if sums.zero is None else " int zero,"
    at = ["i", *(f"i + {j}" for j in range(1, taps))]
    if taps <= UNROLLED:
        terms = [f"{sums.value(f'x[{place}]')} * w[{j}]" for j, place in enumerate(at)]
        loop = "        sum[i] += " + "\n            + ".join(terms) + ";\n"
    else:
        loop = (
            f"        for (int j = 0; j < {taps}; j++)\n"
            f"            sum[i] += {sums.value('x[i + j]')} * w[j];\n"
        )
    body = f"""\
/* Add {taps} neighbours times {taps} weights to each sum of a line. */
static void @_add_{taps}{label}({sums.c_type} *restrict sum, const {x_type} *x,
    const {w_type} *w,{zero} int width)
{{
    for (int i = 0; i < width; i++)
{loop}}}
"""
    return site.sheet.helper(f"add_{taps}{label}", body)


def transposed(site: Site) -> str:
    """Each input pixel adds its products with k x k weights to the output around it."""
    layer, source = site.layer, site.inputs[0]
    k, stride = layer.kernel_size, layer.stride
    sums = site.numbers.sums(site)
    crop = f" + {layer.crop}" if layer.crop else ""
    back = f" - {layer.crop}" if layer.crop else ""
    place = f"j * {stride} + b{back}"
    start = f"b < {layer.crop} ? ({layer.crop} - b + {stride - 1}) / {stride} : 0"
    taps = f"""\
for (int a = (row{crop}) % {stride}; a < {k}; a += {stride}) {{
    const int from = (row{crop} - a) / {stride};
    if (from < 0 || from >= {height(source)})
        continue;
    for (int n = 0; n < {source.channels}; n++) {{
        const {site.types[0]} *x = {site.row(0, "from")} + {line_at("n", source)};
        const {sums.weight_type} *w = {sums.weight} + ((c * {source.channels} + n) * {k} + a) * {k};
        for (int b = 0; b < {k}; b++) {{
            const int first = {start if layer.crop else "0"};
            for (int j = first; j < {width(source)} && {place} < {width(site.out)}; j++)
                sum[{place}] += {sums.value("x[j]", sums.zero)} * w[b];
        }}
    }}
}}
"""
    return _each_channel(site, sums, taps)


def stencil(site: Site) -> str:
    """Each channel's pixels times the same taps, summed in the engine's order."""
    layer, source = site.layer, site.inputs[0]
    (rows, columns), real = layer.sides, site.numbers.real
    taps = site.sheet.array(site.owner, "taps", np.array(layer.taps), real)
    at = f"x[a][{line_at('c', source)} + i + b]"
    made = "".join(
        f" {sign} {site.constant(key, site.params[key])}"
        for key, sign in (("factor", "*"), ("bias", "+"))
        if key in site.params
    )
    start = site.row(0, "from", -(columns // 2))
    body = f"""\
{real} sum = 0;
for (int a = 0; a < {rows}; a++)
    for (int b = 0; x[a] && b < {columns}; b++)
        sum += {site.numbers.load(site, 0, at, "c")} * {taps}[a * {columns} + b];
{site.y} = {site.numbers.store(site, "sum" + made)};"""
    return f"""\
const {site.types[0]} *x[{rows}]; /* rows, NULL beyond the border */
for (int a = 0; a < {rows}; a++) {{
    const int from = row + a - {rows // 2};
    x[a] = from < 0 || from >= {height(source)} ? NULL : {start};
}}
""" + each_value(site, body)
