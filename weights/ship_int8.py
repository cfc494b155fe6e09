"""Quantise shipped networks and take their integers into the package.

    python weights/ship_int8.py NAME... --calibrate KODAK24 --eval EVAL [--data TRAIN --steps N]

Writes NAME-int8.npz and the part "int8" of NAME's entry in the manifest: how it was made, the
weights that it was made from, and its scores on EVAL's test sets, real numbers beside the integers,
both by protocol y-rounded.  With --data it is trained on its grids first, taught by
the network itself (--originals: by the images); the run goes to --runs, and continues there if it
was stopped.  Grids are chosen on KODAK24.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import sesr_ref as sr
from sesr_ref.commands.console import notice, one_line, progress
from sesr_ref.commands.models import add_engine_option, engine_named
from sesr_ref.commands.quantize_training import RECIPE
from sesr_ref.commands.training import pairs_of, reporter
from sesr_ref.evaluate import PROTOCOLS, IntegerModel, Model, RealModel, model_method, score_folder
from sesr_ref.evaluate.inputs import inputs_of
from sesr_ref.files import sha256_of
from sesr_ref.integers import Quantization, save_quantized
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Params
from sesr_ref.ops.table import Ops
from sesr_ref.shipped import INT8, shipped, smallest, weights_folder
from sesr_ref.train.quantized import Quantized, Taught, train_quantized
from ship import SETS, write_manifest

PROTOCOL = PROTOCOLS["y-rounded"]


def quantized(args: argparse.Namespace, name: str, ops: Ops) -> tuple[Quantized, dict[str, Any]]:
    """A shipped network in integers, and how they were made."""
    net, params = sr.load(name)
    images = list(inputs_of(args.calibrate, net))
    q = sr.calibrate(net, params, images, ops=ops)
    recipe: dict[str, Any] = {"calibrated_on": args.calibrate.name, "images": len(images)}
    if args.data is None:
        return (sr.collapsed(net), sr.quantize(net, params, q), q), recipe
    trained = _trained(args, net, params, q, ops)
    return trained, recipe | {
        "steps": args.steps,
        "batch": RECIPE.batch,
        "crop": RECIPE.crop,
        "lr": RECIPE.lr,
        "targets": "originals" if args.originals else "the network's own results",
    }


def _trained(
    args: argparse.Namespace, net: Network, params: Params, q: Quantization, ops: Ops
) -> Quantized:
    out = args.runs / f"{net.name}{INT8}"
    recipe = replace(RECIPE, steps=args.steps, validate_every=0)
    pairs = pairs_of(args.data, net, recipe.crop, recipe.low, args.cache, out)
    taught = pairs if args.originals else Taught.by(pairs, net, params, ops)
    with progress(args.steps, f"training {net.name}") as update:
        return train_quantized(
            net,
            params,
            q,
            taught,
            out,
            recipe,
            ops=ops,
            resume=out.exists(),
            report=reporter(update),
        )[0]


def scores_of(args: argparse.Namespace, name: str, made: Quantized, ops: Ops) -> dict[str, Any]:
    """PSNR of integers and of real numbers on each test set."""
    net, iparams, q = made
    models: dict[str, Model] = {
        "float_psnr_db": RealModel.of(*sr.load(smallest(name)), ops),
        "psnr_db": IntegerModel(net, iparams, q, ops=ops),
    }
    methods = {key: model_method(model) for key, model in models.items()}
    scores: dict[str, Any] = {"protocol": f"{PROTOCOL.name}: {PROTOCOL.text}; Y, border = s"}
    for folder in SETS:
        mean = score_folder(args.eval / folder, methods, net.upscale, PROTOCOL).mean()
        scores[folder] = {key: round(score.psnr_db, 4) for key, score in mean.items()}
    return scores


def ship(args: argparse.Namespace, name: str, ops: Ops) -> dict[str, Any]:
    """Quantise, score and write one network."""
    made, recipe = quantized(args, name, ops)
    file = weights_folder() / f"{name}{INT8}.npz"
    scores = scores_of(args, name, made, ops)
    save_quantized(file, *made)
    entry = {
        "file": file.name,
        "sha256": sha256_of(file),
        "made_from": shipped()[name]["sha256"],
        "parameters": sum(int(np.size(value)) for value in made[1].values()),
        "arithmetic": "tflite",
        "recipe": recipe,
        "scores": scores,
    }
    write_manifest({**shipped(), name: shipped()[name] | {"int8": entry}})
    return entry


def main() -> int:
    """Parse and ship; 2 for what cannot be shipped."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--calibrate", type=Path, required=True, help="folder of images: Kodak24")
    parser.add_argument("--eval", type=Path, required=True, help="folder of test sets")
    parser.add_argument("--data", type=Path, help="folder of training images")
    parser.add_argument("--steps", type=int, default=RECIPE.steps, metavar="N")
    parser.add_argument("--originals", action="store_true", help="learn the originals")
    parser.add_argument("--runs", type=Path, default=Path("weights/runs"), metavar="DIR")
    parser.add_argument("--cache", type=Path, help="folder for the prepared images")
    add_engine_option(parser)
    args = parser.parse_args()
    try:
        if odd := [name for name in args.names if name not in shipped()]:
            raise ValueError(f"{odd[0]}: not shipped; there is {', '.join(shipped())}")
        ops = engine_named(args.engine)
        for name in args.names:
            print(json.dumps({name: ship(args, name, ops)["scores"]}))
    except (ValueError, OSError) as error:
        print(f"ship_int8.py: {one_line(error)}", file=sys.stderr)
        return 2
    notice("nothing is committed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
