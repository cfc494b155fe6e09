"""What callers of the file see: macros, the state, three functions."""

from __future__ import annotations

from sesr_ref.exchange.c import text
from sesr_ref.exchange.c.draft import Draft
from sesr_ref.exchange.c.site import pitch, size
from sesr_ref.limits import check

MOST_ROWS = 1 << 28
"""Rows of the largest tensor, so that no row number leaves an int."""


def declarations(draft: Draft) -> str:
    """The guarded declarations, which also stand at the top of the file itself."""
    plan = draft.plan
    source, out = draft.type_of(plan.tensors["input"]), draft.type_of(plan.output)
    most = MOST_ROWS // max(tensor.ratio for tensor in plan.tensors.values())
    include = "#include <stdint.h>\n\n" if draft.numbers.integer else ""
    return f"""\
#ifndef @@_H
#define @@_H

{include}#ifdef __cplusplus
extern "C" {{
#endif

#ifndef @@_MAX_WIDTH
#define @@_MAX_WIDTH {draft.max_width} /* largest width of an image; the state's size follows it */
#endif
#define @@_MAX_HEIGHT {most}
#define @@_MIN_SIZE {plan.least} /* smallest width and height */
#define @@_UPSCALE {plan.net.upscale} /* the output is so many times as wide and high */
#define @@_CHANNELS {plan.net.channels}
#define @@_LATENCY {plan.latency} /* rows to push before the first row of the output leaves */
{draft.numbers.macros(plan)}
/* The caller's: one for each image that is being enlarged. */
typedef struct {{
    int width;  /* of the image */
    int height; /* of the image once its last row is known, @@_MAX_HEIGHT before */
    int step;   /* rows pushed, and steps made behind the last one */
{text.block(_members(draft))}}} @_state;

/* Begin an image: 0, or -1 if its width is not @@_MIN_SIZE to @@_MAX_WIDTH. */
int @_begin(@_state *s, int width);

/* Push the next row, from the top: @@_CHANNELS lines of `width` values, one behind the other.  Rows
   that are complete are written to `out` in the same way, with lines of @@_UPSCALE * width values.
   Returns their number, 0 to @@_UPSCALE, or -1 if no row may follow. */
int @_push_row(@_state *s, const {source} *row, {out} *out);

/* After the last row: the rows that are left, as @_push_row gives them.  Call it until it returns
   0; -1 if the image is lower than @@_MIN_SIZE. */
int @_finish(@_state *s, {out} *out);

#ifdef __cplusplus
}}
#endif

#endif
"""


def check_sizes(draft: Draft) -> None:
    """Raise ValueError if the default width is too small, or a ring too large for an int."""
    needed = draft.plan.least
    check(draft.max_width >= needed, "max_width", f"at least {needed}", draft.max_width)
    for tensor in draft.plan.tensors.values():
        values = max(tensor.rows, tensor.ratio) * tensor.channels * tensor.pitch(draft.max_width)
        check(values < 1 << 31, f"values kept of {tensor.name}", "fewer than 2**31", values)


def _members(draft: Draft) -> str:
    """Rings and working lines."""
    rings = [
        f"{draft.type_of(t)} {t.id}[{t.rows}][{t.channels} * {pitch(t)}];\n"
        for t in draft.plan.rings
    ]
    lines = [
        f"{c_type} {name}[{size('@@_MAX_WIDTH', t.ratio, t.extra)}];\n"
        for name, c_type, t in draft.lines()
    ]
    return "".join(rings + lines)
