"""Judge an implementation by its tensors: which layer is wrong, and by how much.

CANDIDATE is the output, alone or with other named tensors: a .npy, .npz or raw little-endian .bin
file, or a folder of .npy or .bin files named after the tensors, or a golden pack.  For each tensor
the table shows the largest error, the largest that rounding can explain, the shares used of the
bounds given its own inputs and end to end, where most is used, and the error in units in the last
place (--json prints more).  Exit code 0 if it agrees, 1 if it differs, 2 if it does not fit.
"""

from __future__ import annotations

import argparse

from sesr_ref.collapse import expand_params, expanded
from sesr_ref.commands.console import print_json, print_table
from sesr_ref.commands.models import add_model_argument, model_of
from sesr_ref.verify import Comparison, TensorReport, compare
from sesr_ref.verify.bounds.arithmetic import FORMATS
from sesr_ref.verify.bounds.winograd import TILES
from sesr_ref.verify.comparison.inputs import read_input


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``sesr-ref compare``."""
    add_model_argument(parser, "shipped name or file")
    parser.add_argument("input", metavar="INPUT", help="image, or .npy of the network's input")
    parser.add_argument("candidate", metavar="CANDIDATE", help="file or folder of tensors")
    parser.add_argument(
        "--dtype", choices=list(FORMATS), default="float32", help="dtype of tensors"
    )
    parser.add_argument(
        "--accumulate", choices=list(FORMATS), default="float32", help="dtype of sums"
    )
    parser.add_argument(
        "--winograd",
        metavar="ROWSxCOLUMNS",
        type=_tiles,
        help="Winograd output tile of the candidate's 3 x 3 convolutions, such as 4x4",
    )
    parser.add_argument(
        "--unfused",
        action="store_true",
        help="require that each layer read exactly the tensors shown (stricter)",
    )
    parser.add_argument(
        "--expanded",
        action="store_true",
        help="compare with linear blocks as two convolutions instead of collapsed",
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def _tiles(text: str) -> tuple[int, int]:
    rows, cross, columns = text.partition("x")
    sizes = {str(size): size for size in TILES}
    if rows not in sizes or (columns if cross else rows) not in sizes:
        raise argparse.ArgumentTypeError(
            f"must be ROWSxCOLUMNS, each of {', '.join(sizes)}, got {text!r}"
        )
    return sizes[rows], sizes[columns if cross else rows]


def run(args: argparse.Namespace) -> int:
    """Print the verdict on each tensor and the first wrong one."""
    net, params = model_of(args)
    x = read_input(args.input, net)
    if args.expanded:
        net, params = expanded(net), expand_params(net, params)
    result = compare(
        net,
        params,
        x,
        args.candidate,
        args.dtype,
        args.accumulate,
        winograd=args.winograd,
        fused=not args.unfused,
    )
    if args.json:
        print_json(result.to_dict())
    else:
        _print(result)
    return 0 if result.agrees else 1


def _print(result: Comparison) -> None:
    columns = (
        "tensor",
        "verdict",
        "error",
        "tolerance",
        "own inputs",
        "end to end",
        "worst at",
        "ulp 50 %",
        "ulp max",
    )
    print_table("", columns, [_row(report) for report in result.tensors.values()])
    if result.missing:
        print(f"not shown: {', '.join(result.missing)}")
    print(result)


def _row(report: TensorReport) -> tuple[str, ...]:
    worst = report.worst[report.check]
    return (
        report.name,
        report.verdict,
        f"{report.error:.2e}",
        f"{report.tolerance:.2e}",
        _share(report.locally_used),
        _share(report.worst["end to end"].used),
        "-" if worst.at is None else ",".join(map(str, worst.at)),
        report.ulp_quantile(0.5),
        report.ulp_quantile(1.0),
    )


def _share(used: float) -> str:
    """Share of a bound: a percentage, or a factor if that would be a long number."""
    if used > 1000:
        return "> 1000 x"
    return f"{used:.0f} x" if used >= 10 else f"{used:.0%}"
