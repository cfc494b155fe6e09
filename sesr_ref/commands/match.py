"""Match a port's stored values with a golden pack: equal, or how many steps apart.

For ports with the arithmetic of a pack: rounded once per layer, to nearest with ties to even; above
all in integers.  CANDIDATE is a folder of files named after the tensors (.npy, .bin, .hex, .h;
head.bin or tensor.head.bin), one file, which must be the output, or another pack.  A step is one
unit in the last place.  Exit code 0 if all agree, 1 if one differs, 2 if it does not fit.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sesr_ref.commands.console import print_json, print_table
from sesr_ref.verify.golden.match import match_pack


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``sesr-ref match``."""
    parser.add_argument("pack", type=Path, metavar="PACK", help="written by sesr-ref golden")
    parser.add_argument("candidate", type=Path, metavar="CANDIDATE", help="file or folder")
    parser.add_argument(
        "--steps",
        type=int,
        default=0,
        metavar="N",
        help="allowed difference of each value, in steps (default 0)",
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the differences of each tensor and the first wrong one."""
    result = match_pack(args.pack, args.candidate, args.steps)
    if args.json:
        print_json(result.to_dict())
    else:
        columns = ("tensor", "values", "differing", "most steps", "most at")
        rows = [
            (t.name, t.values, t.differing, t.most_steps, ",".join(map(str, t.at or ())) or "-")
            for t in result.tensors
        ]
        print_table("", columns, rows)
        if result.missing:
            print(f"not shown: {', '.join(result.missing)}")
        print(result)
    return 0 if result.agrees else 1
