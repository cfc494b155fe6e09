"""The C file put together: constants, a function for each layer, the step, the interface."""

from __future__ import annotations

import re

from sesr_ref import network as nw
from sesr_ref.exchange.c import text
from sesr_ref.exchange.c.draft import Draft
from sesr_ref.exchange.c.header import declarations
from sesr_ref.exchange.c.overview import described, overview
from sesr_ref.exchange.c.plan import Stored
from sesr_ref.exchange.c.program import program
from sesr_ref.exchange.c.site import line_at, pitch, width


def document(draft: Draft, main: bool) -> str:
    """The whole file.

    Parameters
    ----------
    draft : Draft
        The layers and all that they use.
    main : bool
        Whether to add a program that enlarges a PGM or PPM.

    Returns
    -------
    str
    """
    layers = (_function(draft, layer, inputs) for layer, inputs in draft.plan.steps)
    parts = [
        declarations(draft),
        "".join(f"#include <{name}>\n" for name in sorted(draft.sheet.headers)),
        *([EXACT] if draft.numbers.integer and "math.h" in draft.sheet.headers else []),
        TRACE,
        *draft.sheet.arrays.values(),
        *draft.sheet.helpers.values(),
        *layers,
        MADE,
        _step(draft),
        _begin(draft),
        _interface(draft),
        *([program(draft)] if main else []),
    ]
    return draft.named(overview(draft) + "\n".join(parts))


EXACT = """\
/* Real numbers occur.  For the same bits each operation on them must be rounded, as IEEE has it;
   GCC does so with -std=c99 or -ffp-contract=off. */
#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif
#ifdef __FAST_MATH__
#error "-ffast-math changes the integers"
#endif
#if FLT_EVAL_METHOD != 0
#error "float and double must be computed as such: on x86 with -msse2 -mfpmath=sse"
#endif
"""
TRACE = """\
/* Define it to see each row of each tensor: `channels` lines of `width` values, which begin `pitch`
   values apart.  The rows of a tensor that lies in another one are shown before they are
   overwritten. */
#ifndef @@_TRACE
#define @@_TRACE(name, row, values, width, channels, pitch) ((void)0)
#endif
"""
MADE = """\
/* Rows of a tensor that exist after so many steps. */
static int @_made(const @_state *s, int steps, int ratio, int delay, int extra)
{
    const int all = ratio * s->height + extra, made = ratio * steps - delay;
    return made < 0 ? 0 : made < all ? made : all;
}
"""


def _function(draft: Draft, layer: nw.Layer, inputs: tuple[str, ...]) -> str:
    """The function that makes one row of a tensor."""
    tensor = draft.plan.tensors[layer.name]
    body = draft.bodies[layer.name]
    return (
        f"/* {text.comment(layer.name)}: {described(draft, layer, inputs)} */\n"
        f"static void @_make_{tensor.id}({_parameters(draft, tensor, body)})\n"
        f"{{\n{text.block(body)}}}\n"
    )


def _parameters(draft: Draft, tensor: Stored, body: str) -> str:
    row = ", int row" if _uses_row(body) else ""
    return f"@_state *s{row}, {draft.type_of(tensor)} *y"


def _uses_row(body: str) -> bool:
    return re.search(r"\brow\b", body) is not None


def _step(draft: Draft) -> str:
    """One step: each layer makes the rows that it can."""
    calls = []
    for layer, _ in draft.plan.steps:
        tensor = draft.plan.tensors[layer.name]
        row = ", row" if _uses_row(draft.bodies[layer.name]) else ""
        calls.append(
            f"{_loop(tensor)} {{\n"
            f"    {draft.type_of(tensor)} *y = {_place(draft, tensor)};\n"
            f"    @_make_{tensor.id}(s{row}, y);\n"
            f"    @@_TRACE({text.string(layer.name)}, row, y, {width(tensor)}, {tensor.channels}, "
            f"{pitch(tensor)});\n"
            "}\n"
        )
    out = draft.plan.output
    return f"""\
/* Make all rows that have become possible; the number of those of the output. */
static int @_step(@_state *s, {draft.type_of(out)} *out)
{{
    const int done = {_count(out, "s->step")};
{text.block("".join(calls))}    s->step++;
    return {_count(out, "s->step")} - done;
}}
"""


def _count(tensor: Stored, steps: str) -> str:
    """How many rows of a tensor there are after so many steps."""
    return f"@_made(s, {steps}, {tensor.ratio}, {tensor.delay}, {tensor.extra})"


def _loop(tensor: Stored) -> str:
    first, stop = _count(tensor, "s->step"), _count(tensor, "s->step + 1")
    return f"for (int row = {first}; row < {stop}; row++)"


def _place(draft: Draft, tensor: Stored) -> str:
    """Where row ``row`` of a tensor is written."""
    home = draft.plan.tensors[tensor.home]
    if home.name == draft.plan.net.output:
        return f"out + (row - done) * {width(home)} * {home.channels}"
    row = "0" if home.rows == 1 else f"row % {home.rows}"
    return f"s->{home.id}[{row}]" + (f" + {home.margin}" if home.margin else "")


def _begin(draft: Draft) -> str:
    """Zero the margins: nothing else is read before it is written."""
    margins = [t for t in draft.plan.rings if t.margin]
    fills = "".join(
        f"for (int r = 0; r < {t.rows}; r++)\n"
        f"    for (size_t i = 0; i < sizeof s->{t.id}[0] / sizeof s->{t.id}[0][0]; i++)\n"
        f"        s->{t.id}[r][i] = {draft.numbers.zero(t.name)};\n"
        for t in margins
    )
    return f"""\
int @_begin(@_state *s, int width)
{{
    if (width < @@_MIN_SIZE || width > @@_MAX_WIDTH)
        return -1;
    s->width = width;
    s->height = @@_MAX_HEIGHT;
    s->step = 0;
{text.block(fills)}    return 0;
}}
"""


def _interface(draft: Draft) -> str:
    source, out = draft.plan.tensors["input"], draft.plan.output
    types = draft.type_of(source), draft.type_of(out)
    place = _place(draft, source).replace("row", "s->step")
    return f"""\
int @_push_row(@_state *s, const {types[0]} *row, {types[1]} *out)
{{
    if (s->step >= s->height)
        return -1;
    {types[0]} *line = {place};
    for (int c = 0; c < @@_CHANNELS; c++)
        for (int i = 0; i < s->width; i++)
            line[{line_at("c", source)} + i] = row[c * s->width + i];
    @@_TRACE("input", s->step, line, s->width, @@_CHANNELS, {pitch(source)});
    return @_step(s, out);
}}

int @_finish(@_state *s, {types[1]} *out)
{{
    if (s->step < s->height) /* the first call: now the height is known */
        s->height = s->step;
    if (s->height < @@_MIN_SIZE)
        return s->height ? -1 : 0;
    int count = 0;
    while (count == 0 && {_count(out, "s->step")} < {out.ratio} * s->height)
        count = @_step(s, out);
    return count;
}}
"""
