"""Crops as in the paper's Figures 4 and 5: python bench/draw_crops.py -o docs/images/crops.png.

One row for each image and enlargement: bicubic, the shipped networks, the original, with the crop's
PSNR on Y below each.  The image is reduced by imresize and enlarged again.  The window shown is the
one in which the networks' mean squared errors differ most, in favour of any of them.  Pixels are
enlarged without interpolation.  The default images are two of scikit-image's that are in the public
domain.
"""

from __future__ import annotations

import argparse
import sys
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import sesr_ref as sr
from sesr_ref.commands.console import notice
from sesr_ref.commands.models import add_engine_option, engine_named
from sesr_ref.evaluate import find_high
from sesr_ref.images import Pixels, luma_of, modcrop
from sesr_ref.images.files import opaque
from sesr_ref.ops.arrays import Array
from sesr_ref.ops.table import Ops
from sesr_ref.shipped import shipped, smallest
from tables.quality_report import paper_row

PHOTOGRAPHS = ("astronaut.png", "chelsea.png")
NETWORKS = ("fsrcnn", "sesr-m5", "sesr-m11")
LINE, GAP = 15, 6
"""Height of a caption, and gap between crops, in pixels."""


class Strip(NamedTuple):
    """One row: crops with their captions."""

    crops: list[Pixels]
    captions: list[str]


def enlarged(photo: Pixels, upscale: int, networks: list[str], ops: Ops) -> dict[str, Pixels]:
    """Reduce the photograph and enlarge it by bicubic interpolation and by each network."""
    low = sr.imresize(photo, 1 / upscale)
    images = {"bicubic": sr.imresize(low, upscale)}
    for name in networks:
        net, params = sr.load(smallest(f"{name}-x{upscale}"))
        images[paper_row(net.name).partition(",")[0]] = sr.upscale_image(low, net, params, ops)
    return images


def telling_place(errors: list[Array], pixels: int, border: int) -> tuple[slice, slice]:
    """Find the window of `pixels` x `pixels` in which mean squared errors differ most.

    Parameters
    ----------
    errors : list of (height, width) arrays
        Squared errors of each method.
    pixels : int
        Side of the window; at most that of the image.
    border : int
        Pixels to leave out on each side.

    Returns
    -------
    rows, columns : slice
    """
    sums = [np.pad(error.cumsum(0).cumsum(1), ((1, 0), (1, 0))) for error in errors]
    height, width = (min(pixels, size - 2 * border) for size in errors[0].shape)
    places = [
        (slice(top, top + height), slice(left, left + width))
        for top in range(border, errors[0].shape[0] - border - height + 1, 4)
        for left in range(border, errors[0].shape[1] - border - width + 1, 4)
    ]

    def spread(place: tuple[slice, slice]) -> float:
        (top, bottom), (left, right) = ((part.start, part.stop) for part in place)
        totals = [s[bottom, right] - s[top, right] - s[bottom, left] + s[top, left] for s in sums]
        return float(max(totals) - min(totals))

    return max(places, key=spread)


def strip(
    photo: Pixels, title: str, upscale: int, networks: list[str], pixels: int, ops: Ops
) -> Strip:
    """Crop the result of every method where the methods differ most."""
    photo = modcrop(photo, upscale)
    images = enlarged(photo, upscale, networks, ops)
    y = luma_of(photo)
    errors = {name: np.square(luma_of(image) - y) for name, image in images.items()}
    rivals = [error for name, error in errors.items() if name != "bicubic" or len(errors) < 3]
    rows, columns = telling_place(rivals or list(errors.values()), pixels, upscale)
    captions = [
        f"{name} {-10 * np.log10(max(errors[name][rows, columns].mean(), 1e-12)):.2f} dB"
        for name in images
    ]
    crops = [image[rows, columns] for image in (*images.values(), photo)]
    return Strip(crops, [*captions, f"original ({title}, x{upscale})"])


def sheet(strips: list[Strip], zoom: int) -> Pixels:
    """Arrange rows of crops on white, each pixel `zoom` pixels wide, with captions below."""
    from PIL import Image, ImageDraw, ImageFont

    cell = zoom * max(max(crop.shape[:2]) for row in strips for crop in row.crops)
    columns = max(len(row.crops) for row in strips)
    size = columns * (cell + GAP) - GAP, len(strips) * (cell + LINE + GAP) - GAP
    picture = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(11)
    for i, row in enumerate(strips):
        top = i * (cell + LINE + GAP)
        for j, (crop, caption) in enumerate(zip(row.crops, row.captions, strict=True)):
            left = j * (cell + GAP)
            large = crop.repeat(zoom, 0).repeat(zoom, 1)
            picture.paste(Image.fromarray(large).convert("RGB"), (left, top))
            pen.text((left, top + cell + 1), caption, "black", font=font)
    return np.asarray(picture)


def photographs(args: argparse.Namespace) -> dict[str, Pixels]:
    """Images by name: those given, or scikit-image's."""
    paths = args.images or (find_high(args.data) if args.data else [])
    if not paths:
        try:
            folder = resources.files("skimage.data")
        except ModuleNotFoundError as error:
            raise ImportError("the photographs need scikit-image; or give an IMAGE") from error
        with resources.as_file(folder) as inside:
            return {Path(name).stem: _read(inside / name) for name in PHOTOGRAPHS}
    return {path.stem: _read(path) for path in paths}


def _read(path: Path) -> Pixels:
    pixels = opaque(sr.read_image(path).pixels)
    if pixels.dtype != np.uint8:
        raise ValueError(f"{path}: the image must have 8 bit, got {pixels.dtype}")
    return pixels


def run(args: argparse.Namespace) -> int:
    """Draw and write."""
    if args.pixels < 8 or args.zoom < 1:
        raise ValueError(
            f"--pixels must be at least 8 and --zoom at least 1, got {args.pixels} and {args.zoom}"
        )
    ops, strips = engine_named(args.engine), []
    for upscale in args.upscale:
        networks = [name for name in args.networks if f"{name}-x{upscale}" in shipped()]
        if missing := sorted(set(args.networks) - set(networks)):
            notice(f"x{upscale}: skipped, since not shipped: {', '.join(missing)}")
        for title, photo in photographs(args).items():
            strips.append(strip(photo, title, upscale, networks, args.pixels, ops))
            print(f"{title}, x{upscale}: {', '.join(strips[-1].captions[:-1])}")
    sr.write_image(args.out, sheet(strips, args.zoom), overwrite=args.overwrite)
    print(f"wrote {args.out} ({args.out.stat().st_size / 1e3:.0f} KB)")
    return 0


def main() -> int:
    """Parse and run; 2 if the crops cannot be drawn."""
    parser = argparse.ArgumentParser(description=__doc__)
    add: Any = parser.add_argument
    add("images", metavar="IMAGE", nargs="*", type=Path, help="files (8 bit)")
    add("--data", type=Path, help="folder of images or test set, instead of IMAGE")
    add("-o", "--out", type=Path, required=True, help="picture to write")
    add("--overwrite", action="store_true", help="replace an existing picture")
    add("--networks", nargs="*", default=list(NETWORKS), help="shipped names without -x2 or -x4")
    add("--upscale", type=int, nargs="*", choices=(2, 4), default=[2, 4])
    add("--pixels", type=int, default=64, help="side of a crop in pixels of the original (64)")
    add("--zoom", type=int, default=3, help="draw each pixel as a square with this side (3)")
    add_engine_option(parser)
    try:
        return run(parser.parse_args())
    except (ValueError, OSError, ImportError) as error:
        print(f"draw_crops.py: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
