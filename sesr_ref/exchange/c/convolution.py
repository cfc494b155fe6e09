"""Convolutions in C: sums over taps and channels for one pixel, then what is stored of them."""

from __future__ import annotations

import numpy as np

from sesr_ref.exchange.c import text
from sesr_ref.exchange.c.site import Site, Sums, each_value, height, width


def convolution(site: Site) -> str:
    """Each output pixel reads k x k pixels around its own; beyond the border they are 0."""
    rows, columns = site.layer.sides
    sums = site.numbers.sums(site)
    zero = "" if sums.real else f", {sums.zero}"
    call = f"{_function(site, sums)}(x, i, {sums.weight}, {sums.bias}{zero}, sum);\n"
    return site.rows_around(rows, -(columns // 2)) + _each_pixel(site, sums, call)


def _each_pixel(site: Site, sums: Sums, made: str) -> str:
    """Loop over the output's columns; `made` computes ``sum``, which is then stored."""
    features = site.out.channels
    stored = site.numbers.finish(site, "sum[c]", "c")
    return (
        f"for (int i = 0; i < {width(site.out)}; i++) {{\n"
        f"    {sums.c_type} sum[{features}];\n"
        f"{text.block(made)}"
        f"    for (int c = 0; c < {features}; c++)\n"
        f"        y[i * {features} + c] = {stored};\n"
        "}\n"
    )


def _function(site: Site, sums: Sums) -> str:
    """Add the function that sums for one pixel of a convolution of this shape; its name."""
    channels, features, groups = site.inputs[0].channels, site.out.channels, site.layer.groups
    rows, columns = site.layer.sides
    in_groups = f" in {groups} groups" if groups > 1 else ""
    name = f"sums_{rows}x{columns}_{channels}_{features}"
    name += (f"_{groups}_groups" if groups > 1 else "") + sums.label
    head = (
        f"/* Sums of a convolution {rows} x {columns}, {channels} -> {features} channels{in_groups}, "
        "for one pixel.\n   Rows beyond the border are NULL. */\n"
        f"static inline void @_{name}(const {site.types[0]} *x[{rows}], int column,\n"
        f"    const {sums.weight_type} *weight, const {sums.bias_type} *bias,"
        f"{'' if sums.real else ' int zero,'} {sums.c_type} *sum)\n"
    )
    body = f"""\
{{
    for (int o = 0; o < {features}; o++)
        sum[o] = bias ? bias[o] : 0;
    for (int i = 0; i < {rows}; i++) {{
        if (!x[i])
            continue;
        const {site.types[0]} *p = x[i] + column * {channels};
        const {sums.weight_type} *w = weight + i * {columns * channels // groups * features};
{text.block(_products(sums, columns, channels, features, groups), 2)}    }}
}}
"""
    return site.sheet.helper(name, head + body)


def _products(sums: Sums, columns: int, channels: int, features: int, groups: int) -> str:
    """Loops that add the products of one row of taps at ``p`` and ``w``."""
    if groups == 1:
        return (
            f"for (int t = 0; t < {columns * channels}; t++) "
            f"/* {columns} pixels of {channels} channels */\n"
            f"    for (int o = 0; o < {features}; o++)\n"
            f"        sum[o] += {sums.value('p[t]')} * w[t * {features} + o];\n"
        )
    own, made = channels // groups, features // groups
    value = sums.value(f"p[j * {channels} + o / {made} * {own} + c]")
    return (
        f"for (int j = 0; j < {columns}; j++)\n"
        f"    for (int c = 0; c < {own}; c++)\n"
        f"        for (int o = 0; o < {features}; o++)\n"
        f"            sum[o] += {value} * w[(j * {own} + c) * {features} + o];\n"
    )


def transposed(site: Site) -> str:
    """Each output pixel reads every stride-th tap, those that an input pixel lies below."""
    layer, source, features = site.layer, site.inputs[0], site.out.channels
    k, stride, channels = layer.kernel_size, layer.stride, source.channels
    sums = site.numbers.sums(site)
    row, column = (f"{name} + {layer.crop}" if layer.crop else name for name in ("row", "i"))
    made = f"""\
for (int o = 0; o < {features}; o++)
    sum[o] = {f"{sums.bias}[o]" if sums.bias != "NULL" else "0"};
for (int a = ({row}) % {stride}; a < {k}; a += {stride}) {{
    const int at = ({row} - a) / {stride};
    if (at < 0 || at >= {height(source)})
        continue;
    const {site.types[0]} *line = {site.row(0, "at")};
    for (int b = ({column}) % {stride}; b < {k}; b += {stride}) {{
        const {site.types[0]} *p = line + ({column} - b) / {stride} * {channels};
        const {sums.weight_type} *w = {sums.weight} + (a * {k} + b) * {channels * features};
        for (int t = 0; t < {channels}; t++)
            for (int o = 0; o < {features}; o++)
                sum[o] += {sums.value("p[t]", sums.zero)} * w[t * {features} + o];
    }}
}}
"""
    return _each_pixel(site, sums, made)


def stencil(site: Site) -> str:
    """Each channel's pixels times the same taps, summed row by row as the engine does."""
    layer, channels = site.layer, site.out.channels
    (rows, columns), real = layer.sides, site.numbers.real
    taps = site.sheet.array(site.owner, "taps", np.array(layer.taps), real)
    value = site.numbers.load(site, 0, f"x[a][(i + b) * {channels} + c]", "c")
    made = "".join(
        f" {sign} {site.constant(key, site.params[key])}"
        for key, sign in (("factor", "*"), ("bias", "+"))
        if key in site.params
    )
    body = f"""\
{real} sum = 0;
for (int a = 0; a < {rows}; a++)
    for (int b = 0; x[a] && b < {columns}; b++)
        sum += {value} * {taps}[a * {columns} + b];
y[i * {channels} + c] = {site.numbers.store(site, "sum" + made, "c")};"""
    return site.rows_around(rows, -(columns // 2)) + each_value(site, body)
