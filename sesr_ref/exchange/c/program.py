"""A program around the file: a PGM or PPM in, an enlarged one out."""

from __future__ import annotations

from sesr_ref.exchange.c.draft import Draft
from sesr_ref.limits import check

MAGIC = {1: "P5", 3: "P6"}
"""Kinds of files by channels."""


def program(draft: Draft) -> str:
    """A `main` that reads one image from standard input row by row and writes its enlargement.

    Parameters
    ----------
    draft : Draft
        The file that it belongs to.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If images of so many channels are neither PGM nor PPM.
    """
    net = draft.plan.net
    check(net.channels in MAGIC, "channels of a program's images", "1 or 3", net.channels)
    source, out = draft.type_of(draft.plan.tensors["input"]), draft.type_of(draft.plan.output)
    kind = "PGM" if net.channels == 1 else "PPM"
    pixels = "grey values" if net.channels == 1 else "RGB"
    return f"""\
#include <stdio.h>

/* A byte of an image as a value of the network, and back. */
{draft.numbers.from_byte(draft.plan)}
{draft.numbers.to_byte(draft.plan)}
static @_state state;
static {source} row[@@_MAX_WIDTH * @@_CHANNELS];
static {out} rows[@@_UPSCALE * @@_UPSCALE * @@_MAX_WIDTH * @@_CHANNELS];

/* The next number of a header, behind blanks and comments; -1 if there is none. */
static int number(void)
{{
    int c = getchar(), value = 0;
    while (c == ' ' || c == '\\t' || c == '\\n' || c == '\\r' || c == '#') {{
        if (c == '#')
            while (c != '\\n' && c != EOF)
                c = getchar();
        c = getchar();
    }}
    if (c < '0' || c > '9')
        return -1;
    for (; c >= '0' && c <= '9' && value < 100000000; c = getchar())
        value = 10 * value + c - '0';
    return value; /* one blank behind the number is read, too */
}}

static void put(int count)
{{
    const int width = @@_UPSCALE * state.width;
    for (int r = 0; r < count; r++)
        for (int i = 0; i < width; i++)
            for (int c = 0; c < @@_CHANNELS; c++)
                putchar(to_byte(rows[(r * @@_CHANNELS + c) * width + i]));
}}

/* Standard input: a {kind} of 8 bits, {pixels}.  Standard output: its enlargement. */
int main(void)
{{
    if (getchar() != 'P' || getchar() != '{MAGIC[net.channels][1]}') {{
        fputs("standard input must be a {kind} ({MAGIC[net.channels]})\\n", stderr);
        return 2;
    }}
    const int width = number(), height = number(), most = number();
    if (most != 255 || height < @@_MIN_SIZE || height > @@_MAX_HEIGHT || @_begin(&state, width)) {{
        fprintf(stderr, "the image must have 8 bits and %d to %d columns, got %d x %d up to %d\\n",
            @@_MIN_SIZE, @@_MAX_WIDTH, width, height, most);
        return 2;
    }}
    printf("{MAGIC[net.channels]}\\n%d %d\\n255\\n", @@_UPSCALE * width, @@_UPSCALE * height);
    for (int r = 0; r < height; r++) {{
        for (int i = 0; i < width * @@_CHANNELS; i++) {{
            const int byte = getchar();
            if (byte == EOF) {{
                fprintf(stderr, "the image ends in row %d of %d\\n", r, height);
                return 2;
            }}
            row[i % @@_CHANNELS * width + i / @@_CHANNELS] = from_byte(byte);
        }}
        put(@_push_row(&state, row, rows));
    }}
    for (int count; (count = @_finish(&state, rows)) > 0;)
        put(count);
    return fflush(stdout) == EOF || ferror(stdout) ? 2 : 0;
}}
"""
