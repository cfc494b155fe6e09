"""Enlarge images: files, or whole folders with their trees.

OUT is a file if one image is given and OUT has a suffix (.png, .jpg, .webp, .bmp, .tif); otherwise
it is a folder, which is created if necessary.  In a folder, existing outputs are skipped and
counted, and files of unsupported formats are reported.  Of animated WebP and PNG and of TIFFs with
several pages only the first picture is enlarged, with a notice.  Colour profiles and EXIF are
copied; the EXIF orientation is applied.
"""

from __future__ import annotations

import argparse
import errno
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sesr_ref.commands.choice import Choice, chosen
from sesr_ref.commands.console import notice, one_line, print_json, print_line
from sesr_ref.commands.integers import add_arithmetic_option
from sesr_ref.commands.jobs import Job, plan
from sesr_ref.commands.models import add_engine_option, add_model_option
from sesr_ref.commands.workers import (
    Shares,
    add_workers_options,
    explained,
    place_for,
    shared_progress,
)
from sesr_ref.evaluate import Model, enlarge_image
from sesr_ref.files import check_free
from sesr_ref.images import (
    DEFAULT_MAX_PIXELS,
    SUFFIXES,
    Image,
    check_storable,
    format_of,
    read_image,
    stored_dtype,
    write_image,
)
from sesr_ref.limits import check, listed
from sesr_ref.workers import Cluster, Place, Show, results

HAVE_QUALITY = {"jpeg", "webp"}
DISK_ERRORS = {errno.ENOSPC, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC)}
"""Errors that the next image would meet too."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``sesr-ref upscale``."""
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="image file or folder")
    parser.add_argument("-o", "--out", required=True, help="output file or folder")
    add_model_option(parser)
    parser.add_argument(
        "-t", "--tile", type=int, metavar="PIXELS", help="process square tiles with this side"
    )
    formats = [suffix[1:] for suffix in SUFFIXES]
    parser.add_argument(
        "-f", "--format", choices=formats, help="format of the outputs (default: the input's)"
    )
    parser.add_argument(
        "-q",
        "--quality",
        type=int,
        metavar="1..100",
        help="quality of JPEG (default 95) and WebP (default: without loss)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing outputs")
    parser.add_argument(
        "--max-pixels",
        type=int,
        default=DEFAULT_MAX_PIXELS,
        metavar="N",
        help=f"largest input, width x height (default {DEFAULT_MAX_PIXELS})",
    )
    add_engine_option(parser)
    add_arithmetic_option(parser)
    add_workers_options(parser, "the processors, once that is worth their start")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    """Run the command; 2 if one of several images failed."""
    suffix = f".{args.format}" if args.format else None
    jobs, one, ignored = plan(args.inputs, args.out, suffix)
    _check_numbers(args)
    if one:
        check_free(jobs[0].target, args.overwrite, " (--overwrite replaces it)")
    without = {format_of(job.target) for job in jobs} - HAVE_QUALITY
    if args.quality is not None and without:
        notice(f"--quality has no effect for {', '.join(sorted(without))}")
    place, out = place_for(args, len(jobs)), Path(args.out)
    if isinstance(place, Cluster):
        jobs, out = [Job(*(path.absolute() for path in job)) for job in jobs], out.absolute()
    choice = chosen(args)
    work = Enlarge(choice, args.tile, args.max_pixels, args.quality, args.overwrite, out)
    report = Report(args, choice.loaded(), one, place, ignored)
    if ignored:
        names = listed([path.name for path in ignored], 5)
        notice(f"skipped, since the format is not supported: {names}")
    with shared_progress(len(jobs), "enlarging") as shares:

        def show(job: Job, part: float) -> None:
            shares.part(job, part, job.source.name)

        for job, result in results(work, report.missing(jobs, shares), place, show):
            report.take(job, result)
            shares.end(job)
    report.print(jobs)
    return 2 if report.failed else 0


def _check_numbers(args: argparse.Namespace) -> None:
    quality = args.quality
    check(args.tile is None or args.tile >= 1, "--tile", "1 or more", args.tile)
    check(args.max_pixels >= 1, "--max-pixels", "1 or more", args.max_pixels)
    check(quality is None or 1 <= quality <= 100, "--quality", "1 to 100", quality)


@dataclass(frozen=True)
class Enlarge:
    """What is done with each image; a worker loads the network once."""

    choice: Choice
    tile: int | None
    max_pixels: int
    quality: int | None
    overwrite: bool
    out: Path

    def __call__(self, job: Job, show: Show) -> dict[str, Any]:
        """Enlarge an image; return what `--json` says of it."""
        start = time.perf_counter()
        show(0)
        model = self.choice.loaded()
        image = read_image(job.source, self.max_pixels)
        height, width, *channels = image.pixels.shape
        enlarged = (height * model.net.upscale, width * model.net.upscale, *channels)
        check_storable(job.target, enlarged)
        _make_folder(job.target.parent, self.out)
        pixels = enlarge_image(
            image.pixels, model, self.tile, lambda done: show(done / (height * width))
        )
        write_image(
            job.target,
            pixels,
            icc_profile=image.icc_profile,
            exif=image.exif,
            quality=self.quality,
            overwrite=self.overwrite,
        )
        return {
            "input": str(job.source),
            "output": str(job.target),
            "width": enlarged[1],
            "height": enlarged[0],
            "seconds": round(time.perf_counter() - start, 3),
            "notices": [*image.notices, *_losses(image, job.target)],
        }


@dataclass
class Report:
    """The results so far; if there are several images, a failure is one of them."""

    args: argparse.Namespace
    model: Model
    one: bool
    place: Place
    ignored: list[Path]
    written: dict[Job, dict[str, Any]] = field(default_factory=dict)
    skipped: list[Path] = field(default_factory=list)
    failed: dict[Job, dict[str, str]] = field(default_factory=dict)

    def missing(self, jobs: list[Job], shares: Shares) -> Iterator[Job]:
        """The jobs whose outputs are not there yet, or to be replaced; the others are skipped."""
        for job in jobs:
            if os.path.lexists(job.target) and not self.args.overwrite:
                self.skipped.append(job.target)
                shares.end()
            else:
                yield job

    def take(self, job: Job, result: Any) -> None:
        """Take the result of a job: an entry, or the error that it ended with."""
        if isinstance(result, Exception):
            self._take_error(job, result)
            return
        self.written[job] = result
        for text in result["notices"]:
            notice(f"{job.source}: {text}")
        if not self.args.json:
            size = f"{result['width']} x {result['height']}"
            print_line(f"{result['output']}  {size}  {result['seconds']:.2f} s")

    def _take_error(self, job: Job, error: Exception) -> None:
        appeared = isinstance(error, FileExistsError) and os.path.lexists(job.target)
        if appeared and not self.one:  # another program wrote it meanwhile
            self.skipped.append(job.target)
            return
        message = one_line(error)
        text = message if str(job.source) in message else f"{job.source}: {message}"
        if (elsewhere := explained(error, job.source, self.place)) is not error:
            raise elsewhere  # as it would be for all others
        if isinstance(error, OSError) and (self.one or error.errno in DISK_ERRORS):
            raise error
        if self.one:
            raise ValueError(text) from error
        self.failed[job] = {"input": str(job.source), "error": text}
        notice(f"sesr-ref upscale: {text}")

    def print(self, jobs: list[Job]) -> None:
        """Print the results, as JSON or in one line."""
        if self.args.json:
            print_json(
                {
                    "model": self.model.label,
                    "upscale": self.model.net.upscale,
                    "engine": self.model.ops.name,
                    "written": [self.written[job] for job in jobs if job in self.written],
                    "skipped": self.skipped,
                    "failed": [self.failed[job] for job in jobs if job in self.failed],
                    "ignored": self.ignored,
                }
            )
            return
        counts = [f"{len(self.written)} written"]
        if self.skipped:
            counts.append(f"{len(self.skipped)} skipped (exist already; --overwrite replaces them)")
        if self.failed:
            counts.append(f"{len(self.failed)} failed")
        if len(self.written) != 1 or len(counts) > 1:
            print(", ".join(counts))


def _make_folder(folder: Path, out: Path) -> None:
    """Create the output's folder, and find out in advance whether it can be written."""
    if out in (folder, *folder.parents):
        folder.mkdir(parents=True, exist_ok=True)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: the folder to write to does not exist")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        error.filename = str(folder)
        raise


def _losses(image: Image, target: Path) -> list[str]:
    """Describe what the output's format cannot hold of an image."""
    kind, dtype = format_of(target), image.pixels.dtype
    losses = []
    if (held := stored_dtype(dtype, kind)) != dtype:
        losses.append(f"{dtype} samples are stored as {held}, the deepest that {kind} supports")
    if image.icc_profile and kind == "bmp":
        losses.append("the colour profile is not copied, since bmp cannot hold one")
    if image.exif and kind in ("bmp", "tiff"):
        losses.append(f"EXIF is not copied to {kind}")
    return losses
