"""Collapse a trained network: write the small convolutions that its linear blocks are equal to."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from sesr_ref.collapse import collapse_params, collapsed
from sesr_ref.commands.console import print_json
from sesr_ref.commands.models import add_model_argument, model_of
from sesr_ref.limits import check
from sesr_ref.params import save


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``sesr-ref collapse``."""
    add_model_argument(parser, "shipped name or file")
    parser.add_argument("-o", "--out", type=Path, required=True, help=".npz to write")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    parser.add_argument("--json", action="store_true", help="print what was written as JSON")


def run(args: argparse.Namespace) -> int:
    """Collapse in float64 and round once."""
    suffix = args.out.suffix.lower()
    needed = ".npz (sesr-ref export writes other formats)"
    check(suffix == ".npz", f"{args.out}: the suffix", needed, suffix)
    net, params = model_of(args)
    small = collapsed(net)
    exact = collapse_params(net, {k: v.astype("float64") for k, v in params.items()})
    rounded = {name: array.astype("float32") for name, array in exact.items()}
    save(args.out, small, rounded, args.overwrite)
    before, after = (sum(math.prod(s) for s in n.param_shapes().values()) for n in (net, small))
    if args.json:
        print_json({"file": args.out, "parameters_before": before, "parameters_after": after})
    else:
        print(f"{net.name}: {before} parameters collapsed into {after}, wrote {args.out}")
    return 0
