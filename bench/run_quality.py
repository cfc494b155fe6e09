"""Tables 1 and 2 with our weights: python bench/run_quality.py --data FOLDER.

FOLDER holds any of Set5, Set14, BSD100, Urban100, Manga109, DIV2K (or DIV2K_valid_HR: the 100
validation images) and DIV2Kcrop100 (their central crops), each HR/ with LRbicx2/ and LRbicx4/
beside it, or images directly inside.  Prints PSNR / SSIM on Y of every shipped network, collapsed,
beside the paper's; --float-low also those of low-resolution images that are not rounded to 8 bit;
--markdown prints the tables of docs/scores.md; --figure docs/images/figure1a.png draws
Figure 1(a), PSNR on Set14 against multiply-accumulates.  --stated takes the scores that
weights/ship.py wrote into the manifest instead of scoring again (no bicubic, no FOLDER).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

import sesr_ref as sr
from sesr_ref.commands.console import print_json, print_table, progress
from sesr_ref.commands.models import add_engine_option, engine_named
from sesr_ref.evaluate import PROTOCOLS, Method, Score, bicubic, network, score_folder
from sesr_ref.images import Pixels
from sesr_ref.ops.arrays import Array
from sesr_ref.ops.table import Ops
from sesr_ref.shipped import shipped, smallest
from tables.paper import CROPS, SCORES, SETS
from tables.quality_report import FLOAT_LOW, Results, draw, markdown, rows_for

FOLDERS = {"DIV2K": ("DIV2K", "DIV2K_valid_HR", "DIV2K/DIV2K_valid_HR")}
"""Where a set may lie, if not in a folder of its name."""


def ensemble(method: Method) -> Method:
    """Average over the eight flips and rotations, each turned back (self-ensemble)."""

    def enlarge(low: Pixels, protocol: object) -> Array:
        total: Array | float = 0.0
        for turn in range(8):
            flipped = low[:, ::-1] if turn & 4 else low
            high = method(np.ascontiguousarray(np.rot90(flipped, turn & 3)), protocol)  # type: ignore[arg-type]
            back = np.rot90(high, -(turn & 3))
            total = total + (back[:, ::-1] if turn & 4 else back)
        return np.asarray(total) / 8

    return enlarge


def methods_for(upscale: int, names: list[str], ops: Ops, self_ensemble: bool) -> dict[str, Method]:
    """Bicubic and every network that enlarges by `upscale`."""
    methods = {"bicubic": bicubic(upscale)}
    for name in names:
        net, params = sr.load(smallest(name))
        if net.upscale == upscale:
            method = network(net, params, ops)
            methods[name] = ensemble(method) if self_ensemble else method
    return methods


def folder_of(data: Path, name: str) -> Path | None:
    """A test set's folder, if it is there; a folder DIV2K may hold the one that is meant."""
    places = [data / place for place in FOLDERS.get(name, (name,))]
    return next((p for p in reversed(places) if p.is_dir()), None)


def sets_in(data: Path) -> dict[str, Path]:
    """The test sets that are there."""
    found = {name: folder_of(data, name) for name in (*SETS, CROPS)}
    return {name: folder for name, folder in found.items() if folder}


def score_sets(
    sets: dict[str, Path], upscale: int, methods: dict[str, Method], protocol: str
) -> Results:
    """Means over each test set."""
    results: Results = {name: {} for name in methods}
    for name, folder in sets.items():
        with progress(1, f"x{upscale} {name}") as update:
            report = partial(_name_of_next, update)
            scores = score_folder(folder, methods, upscale, PROTOCOLS[protocol], progress=report)
        for method, score in scores.mean().items():
            results[method][name] = score
    return results


def stated(upscale: int, names: list[str]) -> tuple[Results, list[str]]:
    """What the manifest says of the networks that enlarge by `upscale`, and of which sets."""
    scores = {
        name: {s: Score(**score) for s, score in shipped()[name]["scores"].items() if s in SETS}
        for name in names
        if f"-x{upscale}" in name
    }
    return scores, [s for s in SETS if any(s in of_network for of_network in scores.values())]


def _name_of_next(update: Callable[[int, str], None], done: int, image: str) -> None:
    update(0, image)


def scored(args: argparse.Namespace, sets: dict[str, Path], upscale: int) -> Results:
    """Scores of everything that enlarges by `upscale`; with --float-low, those beside them."""
    names = args.models or list(shipped())
    methods = methods_for(upscale, names, engine_named(args.engine), args.ensemble)
    results = score_sets(sets, upscale, methods, args.protocol)
    if not args.float_low:
        return results
    unrounded = score_sets(sets, upscale, methods, "float")
    return {
        name: scores
        for method in results
        for name, scores in (
            (method, results[method]),
            (f"{method}{FLOAT_LOW}", unrounded[method]),
        )
    }


def title_for(args: argparse.Namespace, upscale: int, sets: Sequence[str]) -> str:
    """How the scores came about."""
    text = f"x{upscale}: PSNR in dB / SSIM; {PROTOCOLS[args.protocol].text}, border {upscale}"
    text += ", networks averaged over eight turns" if args.ensemble else ""
    text += f"; {FLOAT_LOW[2:]}: {PROTOCOLS['float'].text}" if args.float_low else ""
    return text + (f"; {CROPS}: the 100 central crops of DIV2K validation" * (CROPS in sets))


def options() -> argparse.ArgumentParser:
    """Options of this command."""
    parser = argparse.ArgumentParser(description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, help="folder of test sets")
    source.add_argument("--stated", action="store_true", help="the manifest's scores")
    parser.add_argument("--models", nargs="*", help="shipped names or files (default: all shipped)")
    parser.add_argument("--upscale", type=int, nargs="*", choices=sorted(SCORES), default=[2, 4])
    parser.add_argument("--protocol", choices=sorted(PROTOCOLS), default="y")
    parser.add_argument("--float-low", action="store_true", help="scores of unrounded low images")
    parser.add_argument("--ensemble", action="store_true", help="average over the eight turns")
    parser.add_argument("--figure", type=Path, help="draw Figure 1(a) to FIGURE-x2.png, ...")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true")
    shape.add_argument("--markdown", action="store_true", help="tables of docs/scores.md")
    add_engine_option(parser)
    return parser


def main() -> int:
    """Print the tables; 2 if there is nothing to score."""
    parser = options()
    args = parser.parse_args()
    if args.stated and (args.ensemble or args.float_low or args.protocol != "y" or args.models):
        parser.error("--stated has the scores of protocol y, of all shipped networks, no others")
    there = {} if args.stated else sets_in(args.data)
    if not (there or args.stated):
        print(f"{args.data}: holds none of {', '.join((*SETS, CROPS))}", file=sys.stderr)
        return 2
    report = {}
    for upscale in args.upscale:
        results, sets = stated(upscale, list(shipped())) if args.stated else ({}, list(there))
        results = results or scored(args, there, upscale)
        report[f"x{upscale}"] = {
            name: {s: vars(score) for s, score in scores.items()}
            for name, scores in results.items()
        }
        if args.markdown:
            suffix = ", self-ensemble" if args.ensemble else ""
            print(markdown(upscale, results, sets, suffix), end="\n\n")
        elif not args.json:
            columns = ("model", *sets)
            print_table(title_for(args, upscale, sets), columns, rows_for(upscale, results, sets))
        if args.figure:
            draw(args.figure.with_name(f"{args.figure.stem}-x{upscale}.png"), upscale, results)
    if args.json:
        print_json({"protocol": args.protocol, "ensemble": args.ensemble, "scores": report})
    return 0


if __name__ == "__main__":
    sys.exit(main())
