"""The C of ``sesr-ref export``: its options, what it writes, what it says."""

from __future__ import annotations

import argparse
import math
from typing import Any

from sesr_ref.commands.console import print_json
from sesr_ref.commands.integers import (
    DEFAULT_ARITHMETIC,
    add_arithmetic_option,
    is_integer_model,
    load_integers,
)
from sesr_ref.commands.models import model_of
from sesr_ref.exchange.c.draft import Draft
from sesr_ref.exchange.c.overview import multiplications
from sesr_ref.exchange.c.write import MAX_WIDTH, drafted, write_draft
from sesr_ref.limits import check

SUFFIX = ".c"
PREFIX = "sesr"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of C files."""
    group = parser.add_argument_group("C")
    group.add_argument("--prefix", help=f"with which every name begins (default {PREFIX})")
    group.add_argument(
        "--max-width",
        type=int,
        metavar="PIXELS",
        help=f"default of the macro for the widest image (default {MAX_WIDTH})",
    )
    group.add_argument("--main", action="store_true", help="add a program that reads a PGM or PPM")
    group.add_argument("--header", action="store_true", help="write the declarations to a .h, too")
    add_arithmetic_option(group)


def given(args: argparse.Namespace) -> bool:
    """Whether one of these options is."""
    stated = (args.prefix, args.max_width, args.arithmetic)
    return args.main or args.header or any(option is not None for option in stated)


def run(args: argparse.Namespace) -> int:
    """Load, write, say what was written."""
    draft = _drafted(args)
    write_draft(args.out, draft, args.main, args.header, args.overwrite)
    facts = _facts(args, draft)
    if args.json:
        print_json(facts)
    else:
        print(
            f"wrote {args.out}: {facts['network']}, x{facts['upscale']}, {facts['parameters']} "
            f"parameters, {facts['dtype']}, {facts['bytes']} bytes; at {facts['max_width']} "
            f"columns its state takes {facts['state_bytes']} bytes"
        )
    return 0


def _drafted(args: argparse.Namespace) -> Draft:
    width = MAX_WIDTH if args.max_width is None else args.max_width
    prefix = PREFIX if args.prefix is None else args.prefix
    options: dict[str, Any] = {"prefix": prefix, "max_width": width}
    if is_integer_model(args.model):
        arithmetic = args.arithmetic or DEFAULT_ARITHMETIC
        return drafted(*load_integers(args.model), arithmetic, **options)
    check(args.arithmetic is None, "the model for --arithmetic", "one in integers", args.model)
    return drafted(*model_of(args), **options)


def _facts(args: argparse.Namespace, draft: Draft) -> dict[str, Any]:
    net = draft.plan.net
    integers = {"arithmetic": args.arithmetic or DEFAULT_ARITHMETIC}
    return {
        "file": args.out,
        "network": net.name,
        "upscale": net.upscale,
        "channels": net.channels,
        "parameters": sum(math.prod(shape) for shape in net.param_shapes().values()),
        "dtype": "integers" if draft.numbers.integer else "float32",
        **(integers if draft.numbers.integer else {}),
        "bytes": args.out.stat().st_size,
        "max_width": draft.max_width,
        "state_bytes": draft.state_bytes(draft.max_width),
        "constant_bytes": draft.sheet.bytes,
        "macs_per_pixel": multiplications(net),
        "latency_rows": draft.plan.latency,
    }
