"""Score a network on a folder of images: PSNR and SSIM on Y, beside bicubic interpolation.

A network on RGB is scored by the Y of its result, as the field does.

DIR holds images, or HR/ with LRbicx2/ or LRbicx4/ beside it.  Low-resolution images that are not
given are made by MATLAB's imresize.  A file of one channel is taken as Y.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from sesr_ref.commands.choice import Choice, chosen
from sesr_ref.commands.console import print_json, print_table
from sesr_ref.commands.integers import add_arithmetic_option
from sesr_ref.commands.models import add_engine_option, add_model_option
from sesr_ref.commands.workers import add_workers_options, explained, place_for, shared_progress
from sesr_ref.evaluate import (
    PROTOCOLS,
    FolderScores,
    Method,
    bicubic,
    find_high,
    model_method,
)
from sesr_ref.evaluate.scores import Pair, Score, pairs_in, score_image
from sesr_ref.images import DEFAULT_MAX_PIXELS
from sesr_ref.ops.table import REFERENCE
from sesr_ref.workers import Cluster, Show, results

BASELINE = "bicubic"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``sesr-ref evaluate``."""
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of images")
    add_model_option(parser)
    texts = "; ".join(f"{name}: {p.text}, {p.colours}" for name, p in PROTOCOLS.items())
    parser.add_argument(
        "--protocol", choices=list(PROTOCOLS), default="y", help=f"{texts} (default y)"
    )
    parser.add_argument(
        "-t", "--tile", type=int, metavar="PIXELS", help="input pixels a side to work on at once"
    )
    parser.add_argument(
        "--max-pixels",
        type=int,
        default=DEFAULT_MAX_PIXELS,
        metavar="N",
        help=f"largest image, width x height (default {DEFAULT_MAX_PIXELS})",
    )
    add_engine_option(parser)
    add_arithmetic_option(parser)
    add_workers_options(parser, "the processors, once that is worth their start")
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    for option, value in (("--tile", args.tile), ("--max-pixels", args.max_pixels)):
        if value is not None and value < 1:
            raise ValueError(f"{option} must be at least 1, got {value}")
    find_high(args.data)  # before anything that takes time
    choice, on_colours, engine = None, False, REFERENCE.name
    if args.model == BASELINE:
        upscale = 2 if args.upscale is None else args.upscale
        if upscale < 1:
            raise ValueError(f"-s must be at least 1, got {upscale}")
    else:
        choice = chosen(args)
        model = choice.loaded()
        upscale, on_colours, engine = model.net.upscale, model.net.channels > 1, model.ops.name
    work = ScoreImage(choice, upscale, args.tile, args.protocol, args.max_pixels)
    scores = _scores(work, args)
    if args.json:
        _print_json(args.data, engine, scores)
    else:
        _print_table(args.data, scores, on_colours)
    return 0


@dataclass(frozen=True)
class ScoreImage:
    """What is done with each image; a worker loads the network once."""

    choice: Choice | None
    upscale: int
    tile: int | None
    protocol: str
    max_pixels: int

    def __call__(self, pair: Pair, show: Show) -> Mapping[str, Score]:
        """Score bicubic interpolation and the network, if there is one."""
        show(0)
        methods: dict[str, Method] = {BASELINE: bicubic(self.upscale)}
        if self.choice is not None:
            model = self.choice.loaded()
            methods[model.label] = model_method(model, self.tile)
        protocol = PROTOCOLS[self.protocol]
        return score_image(pair, methods, self.upscale, protocol, self.max_pixels)


def _scores(work: ScoreImage, args: argparse.Namespace) -> FolderScores:
    """Score all images of the folder, wherever the options say."""
    protocol = PROTOCOLS[work.protocol]
    pairs, low_from = pairs_in(args.data, work.upscale, protocol)
    place = place_for(args, len(pairs))
    if isinstance(place, Cluster):
        pairs = [Pair(high.absolute(), low and low.absolute()) for high, low in pairs]
    found: dict[Pair, Mapping[str, Score]] = {}
    with shared_progress(len(pairs), "scoring") as shares:

        def show(pair: Pair, part: float) -> None:
            shares.part(pair, part, pair.high.name)

        for pair, result in results(work, pairs, place, show):
            if isinstance(result, Exception):
                raise explained(result, pair.high, place)
            found[pair] = result
            shares.end(pair)
    images = {pair.high.stem: found[pair] for pair in pairs}
    return FolderScores(work.upscale, work.upscale, protocol, low_from, images)


def _print_json(data: Path, engine: str, scores: FolderScores) -> None:
    print_json(
        {
            "data": str(data),
            "upscale": scores.upscale,
            "border": scores.border,
            "protocol": asdict(scores.protocol) | {"colours": scores.protocol.colours},
            "low_resolution": scores.low_from,
            "engine": engine,
            "mean": {method: asdict(score) for method, score in scores.mean().items()},
            "images": {
                name: {method: asdict(score) for method, score in image.items()}
                for name, image in scores.images.items()
            },
        }
    )


def _print_table(data: Path, scores: FolderScores, on_colours: bool) -> None:
    mean = scores.mean()
    columns = ["image", *(f"{method} {unit}" for method in mean for unit in ("dB", "SSIM"))]
    lines = [*scores.images.items(), (f"mean of {len(scores.images)}", mean)]
    rows = [
        [name, *(text for s in image.values() for text in (f"{s.psnr_db:.3f}", f"{s.ssim:.4f}"))]
        for name, image in lines
    ]
    protocol = scores.protocol
    text = f"{protocol.text}; {protocol.colours}" if on_colours else protocol.text
    print_table(
        f"{data.name} x{scores.upscale}: PSNR and SSIM on Y, protocol {protocol.name} "
        f"({text}), border {scores.border}, low resolution from {scores.low_from}",
        columns,
        rows,
    )
