"""Write a golden pack: every tensor and weight of one run, the same bytes on every machine.

Each tensor is computed from the pack's own tensors and parameters and rounded once.  Files: npz
(NumPy), bin (raw little-endian), c (C headers), hex (Verilog $readmemh).  Integers are fixed point.
Each array has as many fraction bits as its largest value leaves (in a batch: that of all images),
or those of another pack (--scales); values beyond their range saturate.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sesr_ref.collapse import expand_params, expanded
from sesr_ref.commands.console import notice, print_json
from sesr_ref.commands.models import add_model_argument, model_of
from sesr_ref.verify.comparison.inputs import read_input
from sesr_ref.verify.golden.encodings import KINDS
from sesr_ref.verify.golden.folder import check_target
from sesr_ref.verify.golden.write import FILES, LAYOUTS, expected_bytes, write_pack

NOTICE_BYTES = 50_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``sesr-ref golden``."""
    add_model_argument(parser, "shipped name or file")
    parser.add_argument("input", metavar="INPUT", help="image, or .npy of the network's input")
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="DIR", help="folder to create"
    )
    parser.add_argument("--dtype", choices=list(KINDS), default="float32", help="type to round to")
    parser.add_argument(
        "--files", nargs="+", choices=FILES, default=["npz"], help="kinds of files to write"
    )
    parser.add_argument(
        "--layout",
        choices=list(LAYOUTS),
        default="NHWC",
        help="of tensors; NCHW writes OIHW weights",
    )
    parser.add_argument(
        "--expanded",
        action="store_true",
        help="write linear blocks as two convolutions instead of collapsed",
    )
    parser.add_argument(
        "--scales", type=Path, metavar="PACK", help="pack of integers whose fraction bits to use"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing pack")
    parser.add_argument("--json", action="store_true", help="print the manifest")


def run(args: argparse.Namespace) -> int:
    """Write the pack and print a summary."""
    _check_apart(args)
    check_target(args.out, args.overwrite)
    net, params = model_of(args)
    x = read_input(args.input, net)
    if args.expanded:
        net, params = expanded(net), expand_params(net, params)
    if (size := expected_bytes(net, x, args.dtype, args.files)) > NOTICE_BYTES:
        notice(f"{args.out}: writing about {size / 1e6:.0f} MB")
    manifest = write_pack(
        args.out, net, params, x, args.dtype, args.files, args.layout, args.overwrite, args.scales
    )
    for entry in manifest["arrays"]:
        if entry["saturated"]:
            count, name = entry["saturated"], entry["name"]
            notice(f"{name}: {count} values saturate with {entry['fraction_bits']} fraction bits")
    if args.json:
        print_json(manifest)
    else:
        size = sum(file.stat().st_size for file in args.out.iterdir())
        print(f"{args.out}: {len(manifest['arrays'])} arrays, {size / 1e6:.1f} MB")
    return 0


def _check_apart(args: argparse.Namespace) -> None:
    """Raise ValueError if the pack would replace a file that it is made from."""
    for source in filter(None, (args.model, args.input, args.scales)):
        if args.out.resolve() in (path := Path(source).resolve()).parents and path.exists():
            raise ValueError(f"{source} is inside {args.out}, which would be replaced")
