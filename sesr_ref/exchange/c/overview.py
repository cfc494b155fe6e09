"""The comment at the top of the file: how it is used, what it takes, what it computes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from sesr_ref import network as nw
from sesr_ref.counting import cost
from sesr_ref.exchange.c import text
from sesr_ref.exchange.c.draft import Draft
from sesr_ref.limits import shown

SIDE = 64
"""Rows and columns of the image on which multiplications are counted."""


def overview(draft: Draft) -> str:
    """The comment, with a table of the tensors."""
    net, plan = draft.plan.net, draft.plan
    math = "the C library's math.h" if "math.h" in draft.sheet.headers else "no library"
    column = draft.state_bytes(1001) - draft.state_bytes(1000)
    fixed = draft.state_bytes(1000) - 1000 * column
    out = draft.type_of(plan.output)
    table = "".join(f" *   {line}\n" for line in _table(draft))
    return f"""\
/*
 * {text.comment(shown(net.name).strip("'"))} in C99: enlarges an image {net.upscale} times.
 * {draft.numbers.title}
 * It needs {math} and allocates nothing.
 *
 *     static @_state state;
 *     static {out} out[@@_UPSCALE * @@_UPSCALE * @@_MAX_WIDTH * @@_CHANNELS];
 *
 *     @_begin(&state, width);
 *     for each row:  count = @_push_row(&state, row, out);   take `count` rows from `out`
 *     while ((count = @_finish(&state, out)) > 0)            take `count` rows from `out`
 *
 * A pixel of the image takes {multiplications(net):,} multiply-accumulates.
 * Constants take {draft.sheet.bytes:,} bytes.
 * The state takes {column:,} bytes for each column of @@_MAX_WIDTH and {fixed:,} more:
 * {draft.state_bytes(draft.max_width):,} bytes for {draft.max_width} columns, whatever the height.
 *
 * Row r of a tensor is at r % rows of its ring: a line of pixels for each channel, with a margin of
 * zeros at both ends for the convolutions that read it.  In step n, from 0, row n of the image has
 * come, and a tensor u times as high makes rows u * n - delay to u * (n + 1) - delay - 1 of those
 * that it has.  Steps go on behind the last row.
 *
{table} */

"""


def multiplications(net: nw.Network) -> int:
    """Multiply-accumulates of convolutions for a pixel of the image, rounded up."""
    return -(-cost(net, SIDE, SIDE, transposed="input").macs // SIDE**2)


def _table(draft: Draft) -> list[str]:
    plan = draft.plan
    made = {layer.name: described(draft, layer, inputs) for layer, inputs in plan.steps}
    made["input"] = "the caller"
    rows = [("tensor", "type", "u", "channels", "rows", "delay", "is")]
    for tensor in plan.tensors.values():
        rows.append(
            (
                text.comment(tensor.name[:40]),
                draft.type_of(tensor),
                f"{tensor.ratio}",
                f"{tensor.channels}",
                _place(draft, tensor.home, tensor.name),
                f"{tensor.delay}",
                made[tensor.name],
            )
        )
    return aligned(rows)


def _place(draft: Draft, home: str, name: str) -> str:
    """How many rows are kept, or where else they are."""
    if home == draft.plan.net.output:
        return "out"
    return (
        f"{draft.plan.tensors[name].rows}" if home == name else f"in {draft.plan.tensors[home].id}"
    )


def aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Lines with columns of equal width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def described(draft: Draft, layer: nw.Layer, inputs: tuple[str, ...]) -> str:
    """A layer in words: its kind, its fields, what it reads, what its rule has noted."""
    stated = [
        f"{each.name} {shown(getattr(layer, each.name), 60)}"
        for each in dataclasses.fields(layer)
        if each.name not in {f.name for f in dataclasses.fields(nw.Layer)}
        and getattr(layer, each.name) != each.default
    ]
    if layer.shares:
        stated.append(f"parameters of {layer.shares}")
    names = ", ".join(name[:40] for name in inputs)
    kind = " ".join([type(layer).__name__, ", ".join(stated)]).strip()
    note = draft.sheet.notes.get(layer.name, "")
    return text.comment(f"{kind} of {names}{note}")
