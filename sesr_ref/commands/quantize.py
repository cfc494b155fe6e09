"""Quantise a network: find its grids on a folder of images, round its weights, write integers.

OUT.npz is a MODEL for upscale and evaluate, and what golden packs of integers are made from.  With
--qat the network is trained on its grids first; a killed training resumes with --resume.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from sesr_ref.collapse import collapsed
from sesr_ref.commands.console import print_json, print_table, progress
from sesr_ref.commands.models import add_engine_option, engine_named
from sesr_ref.commands.quantize_training import add_training_options, trained
from sesr_ref.evaluate import PROTOCOLS, IntegerModel, Model, RealModel, model_method, score_folder
from sesr_ref.evaluate.inputs import inputs_of
from sesr_ref.evaluate.sets import find_high
from sesr_ref.exchange import load_any
from sesr_ref.files import check_free
from sesr_ref.integers import Quantization, calibrate, quantize, save_quantized
from sesr_ref.integers.calibration import IO
from sesr_ref.integers.fusing import FUSED
from sesr_ref.integers.observe import METHODS
from sesr_ref.limits import check
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Params
from sesr_ref.ops.table import Ops

PROTOCOL = PROTOCOLS["y-rounded"]
"""Images are 8-bit codes before the network and after it: the fair comparison."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``sesr-ref quantize``."""
    parser.add_argument("model", metavar="MODEL", help="shipped name or file in floating point")
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="OUT.npz", help="file to write"
    )
    _add_grid_options(parser.add_argument_group("grids"))
    add_training_options(parser.add_argument_group("training on the grids"))
    parser.add_argument(
        "--score",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="folder to score the network on before and after; may be repeated",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    add_engine_option(parser)
    parser.add_argument("--json", action="store_true", help="print grids and scores as JSON")


def _add_grid_options(group: Any) -> None:
    group.add_argument(
        "--calibrate",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of images such as will be enlarged; black and white fields are added",
    )
    group.add_argument(
        "--images", type=int, default=24, metavar="N", help="images to use at most (default 24)"
    )
    group.add_argument(
        "--as-they-are",
        action="store_true",
        help="the images are what will be enlarged (default: they are reduced first)",
    )
    group.add_argument(
        "--method",
        choices=list(METHODS),
        default="mse",
        help="how ranges are found (default mse: least squared error)",
    )
    group.add_argument(
        "--io",
        choices=IO,
        default="codes",
        help="input and output are 8-bit pictures (default), or on grids of their own",
    )
    group.add_argument(
        "--bits", type=int, choices=(8, 16), default=8, help="of activations (default 8)"
    )
    group.add_argument(
        "--wide", nargs="+", default=[], metavar="TENSOR", help="tensors with 16 bits"
    )
    group.add_argument(
        "--weight-bits", type=int, choices=(4, 8), default=8, help="of weights (default 8)"
    )
    group.add_argument(
        "--power-of-two",
        action="store_true",
        help="scales are powers of two, zero points 0: for arithmetic by shifts",
    )
    group.add_argument(
        "--fused",
        nargs="+",
        choices=list(FUSED),
        default=[],
        help="layers that read a convolution's sums before they are rounded",
    )


def run(args: argparse.Namespace) -> int:
    """Calibrate, train if asked to, round, write, score."""
    suffix = args.out.suffix.lower()
    check(suffix == ".npz", f"{args.out}: the suffix", ".npz (export writes others)", suffix)
    check(args.images >= 1, "--images", "1 or more", args.images)
    check_free(args.out, args.overwrite, " (--overwrite replaces it)")
    for folder in args.score:
        find_high(folder)
    net, params = load_any(args.model)
    ops = engine_named(args.engine)
    models: dict[str, Model] = {"float": RealModel.of(net, params, ops)}
    q = _grids(args, net, params, ops)
    if args.qat:
        (small, iparams, q), own = trained(args, net, params, q, ops)
        models["float after training"] = RealModel.of(net, own, ops)
    else:
        small, iparams = collapsed(net), quantize(net, params, q)
    save_quantized(args.out, small, iparams, q, args.overwrite)
    models["integers"] = IntegerModel(small, iparams, q, ops=ops)
    scores = {folder.name: _scores(folder, models) for folder in args.score}
    _report(args, small, q, scores)
    return 0


def _grids(args: argparse.Namespace, net: Network, params: Params, ops: Ops) -> Quantization:
    count = min(args.images, len(find_high(args.calibrate)))
    with progress(count, "reading") as show:
        images = list(inputs_of(args.calibrate, net, args.images, args.as_they_are, show))
    names = ["input", *(layer.name for layer in collapsed(net).layers)]
    bits = dict.fromkeys(names, args.bits) | dict.fromkeys(args.wide, 16)
    with progress(1, "calibrating"):
        return calibrate(
            net,
            params,
            images,
            args.method,
            args.io,
            bits,
            args.weight_bits,
            args.power_of_two,
            ops,
            args.fused,
        )


def _scores(folder: Path, models: dict[str, Model]) -> dict[str, float]:
    methods = {name: model_method(model) for name, model in models.items()}
    upscale = models["float"].net.upscale
    with progress(len(find_high(folder)), f"scoring {folder.name}") as show:
        found = score_folder(folder, methods, upscale, PROTOCOL, progress=show)
    return {name: score.psnr_db for name, score in found.mean().items()}


def _report(
    args: argparse.Namespace, net: Network, q: Quantization, scores: dict[str, dict[str, float]]
) -> None:
    if args.json:
        grids = {name: grid.to_dict() for name, grid in q.tensors.items()}
        print_json(
            {
                "file": args.out,
                "network": net.name,
                "bytes": args.out.stat().st_size,
                "tensors": grids,
                "protocol": PROTOCOL.name,
                "scores": scores,
            }
        )
        return
    rows = [
        (name, grid.bits, f"{np.max(grid.scales):.6g}", grid.zero_point)
        for name, grid in q.tensors.items()
    ]
    print_table(f"{net.name}: grids", ("tensor", "bits", "scale", "zero point"), rows)
    if scores:
        names = list(next(iter(scores.values())))
        table = [(name, *(f"{found[key]:.3f}" for key in names)) for name, found in scores.items()]
        title = f"PSNR in dB on Y, protocol {PROTOCOL.name} ({PROTOCOL.text})"
        print_table(title, ("images", *names), table)
    print(f"wrote {args.out}: {args.out.stat().st_size} bytes")
