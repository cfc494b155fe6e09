"""Match a port's stored values with a golden pack: equal, or how many steps apart.

For ports with the arithmetic of a pack: rounded once per layer, to nearest with ties to even; above
all in integers.  CANDIDATE is a folder of files named after the tensors (.npy, .bin, .hex, .h;
head.bin or tensor.head.bin), one file, which must be the output, or another pack.  A step is one
unit in the last place.  Exit code 0 if all agree, 1 if one differs, 2 if it does not fit.

PACK may also be a model in integers (of sesr-ref quantize, or an int8 .tflite).  Then every layer
is computed anew from the port's own tensors, in every arithmetic that is known: the verdict names
the arithmetic that the port has, or the first wrong layer and what is wrong with it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sesr_ref.commands.console import print_json, print_table
from sesr_ref.commands.integers import is_integer_model, load_integers
from sesr_ref.limits import check
from sesr_ref.verify.golden.match import match_pack
from sesr_ref.verify.integers import judge_port, read_port


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``sesr-ref match``."""
    parser.add_argument(
        "pack", type=Path, metavar="PACK", help="written by sesr-ref golden, or a model in integers"
    )
    parser.add_argument("candidate", type=Path, metavar="CANDIDATE", help="file or folder")
    parser.add_argument(
        "--steps",
        type=int,
        default=0,
        metavar="N",
        help="allowed difference of each value, in steps (default 0)",
    )
    parser.add_argument(
        "--input",
        metavar="INPUT",
        help="with a model: the image that the port was given (default: its input.npy)",
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the differences of each tensor and the first wrong one."""
    if args.pack.is_file() and is_integer_model(str(args.pack)):
        return _judge(args)
    check(args.input is None, "--input", "given with a model in integers only", args.input)
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


def _judge(args: argparse.Namespace) -> int:
    """Judge a port by a model in integers; print each layer and the verdict."""
    check(
        args.steps == 0, "--steps", "0 with a model in integers: its values are exact", args.steps
    )
    net, iparams, q = load_integers(str(args.pack))
    result = judge_port(net, iparams, q, read_port(args.candidate, net, q, args.input))
    if args.json:
        print_json(result.to_dict())
    else:
        rows = [
            (layer.name, layer.values, layer.differing, ", ".join(layer.equal_in) or "-")
            for layer in result.layers
        ]
        print_table("", ("layer", "values", f"not {result.nearest}", "equal in"), rows)
        if result.unseen:
            print(f"not judged: {', '.join(result.unseen)}")
        print(result)
    return 0 if result.agrees else 1
