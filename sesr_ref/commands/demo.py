"""Demonstrate the engine: enlarge a photograph, score it, check the collapse, print the cost.

The photograph is reduced by the network's factor, enlarged again by the network and by bicubic
interpolation, and both are compared with the original.  The default PHOTO is scikit-image's
astronaut, with crops of her name tag and of a printed page; of another PHOTO the crops show where
the network improves most.
"""

from __future__ import annotations

import argparse
import os
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sesr_ref.collapse import collapse_params, collapsed, expand_params, expanded
from sesr_ref.commands.console import print_json, print_table
from sesr_ref.commands.models import (
    add_engine_option,
    add_model_option,
    engine_named,
    foreign,
    load_model,
)
from sesr_ref.counting import cost
from sesr_ref.evaluate import upscale_image
from sesr_ref.evaluate.metrics import psnr
from sesr_ref.execute import forward
from sesr_ref.images import (
    Pixels,
    from_float,
    imresize,
    luma_of,
    modcrop,
    read_image,
    to_float,
    write_image,
)
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.ops.table import Ops

COLLAPSE_TOLERANCE = 1e-10
"""Largest difference of any tensor, relative to its largest value, in float64."""
PROOF_PIXELS = 64
CROP_SIZE, CROP_ZOOM = (72, 96), 3
LABEL_PIXELS, GAP_PIXELS = 18, 4
PHOTOGRAPH = "astronaut.png"
SHOWN = ((PHOTOGRAPH, (326, 262)), ("page.png", (46, 283)))
"""Pictures of scikit-image and the top left of the crop that is shown: edges and letters."""
FILES = ("enlarged.png", "side-by-side.png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``sesr-ref demo``."""
    parser.add_argument("photo", metavar="PHOTO", nargs="?", type=Path, help="your own image")
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("demo-output"), help="folder to write"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing pictures")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    add_model_option(parser)
    add_engine_option(parser)


def run(args: argparse.Namespace) -> int:
    """Run the demonstration; 1 if bicubic scores higher or the collapse is not exact."""
    _check_apart(args.photo, args.out)
    net, params = load_model(args.model, args.upscale, small=False, other=foreign(args))
    ops = engine_named(args.engine)
    if args.photo is not None:
        shown = [_made(_photo(args.photo), net, params, ops)]
        crops = [_crops(shown[0], _telling_place(shown[0]))]
    else:
        shown = [_made(_shipped(name), net, params, ops) for name, _ in SHOWN]
        crops = [_crops(made, _place(*at)) for made, (_, at) in zip(shown, SHOWN, strict=True)]
    facts = _facts(net, params, shown[0])
    files = _write(args.out, args.overwrite, shown[0].enlarged, _sheet(crops, net.name))
    if args.json:
        print_json(facts | {"files": files})
    else:
        _print(facts, files)
    exact = facts["collapse_difference"] <= COLLAPSE_TOLERANCE
    return 0 if exact and facts["psnr_db"] > facts["bicubic_psnr_db"] else 1


def _check_apart(photo: Path | None, out: Path) -> None:
    written = {os.path.realpath(out / name) for name in FILES}
    if photo is not None and os.path.realpath(photo) in written:
        raise ValueError(f"{photo}: the result would replace it; choose another folder with -o")


class Made(NamedTuple):
    """A picture, its reduction, and what two methods make of that."""

    photo: Pixels
    low: Pixels
    bicubic: Pixels
    enlarged: Pixels


def _made(picture: Pixels, net: Network, params: Params, ops: Ops) -> Made:
    photo = modcrop(picture, net.upscale)
    low = _resized(photo, 1 / net.upscale)
    return Made(photo, low, _resized(low, net.upscale), upscale_image(low, net, params, ops))


def _photo(path: Path) -> Pixels:
    pixels = read_image(path).pixels
    return pixels if pixels.ndim == 2 or pixels.shape[2] == 3 else pixels[..., :3]


def _shipped(name: str) -> Pixels:
    try:
        shipped = resources.files("skimage.data").joinpath(name)
    except ModuleNotFoundError as error:
        raise ImportError(
            "the photograph needs scikit-image (pip install scikit-image), or give your own PHOTO"
        ) from error
    with resources.as_file(shipped) as file:
        return _photo(file)


def _resized(image: Pixels, scale: float) -> Pixels:
    """Resize, and clip floats to [0, 1] as `imresize` clips integers."""
    resized = imresize(image, scale)
    return resized.clip(0, 1) if resized.dtype.kind == "f" else resized


def _facts(net: Network, params: Params, made: Made) -> dict[str, Any]:
    y = luma_of(made.photo)
    height, width = made.low.shape[:2]
    costs = cost(net, height, width)
    return {
        "model": net.name,
        "low": [width, height],
        "high": [width * net.upscale, height * net.upscale],
        "psnr_db": psnr(y, luma_of(made.enlarged), border=net.upscale),
        "bicubic_psnr_db": psnr(y, luma_of(made.bicubic), border=net.upscale),
        "collapse_difference": collapse_difference(net, params, luma_of(made.low)),
        "parameters": costs.parameters,
        "slopes": costs.slopes,
        "macs": costs.macs,
    }


def collapse_difference(net: Network, params: Params, luma: Array) -> float:
    """Largest difference of any tensor, relative to its largest value: collapsed to expanded."""
    x = luma[None, :PROOF_PIXELS, :PROOF_PIXELS, None].astype(np.float64)
    exact: Params = {name: array.astype(np.float64) for name, array in params.items()}
    small = forward(collapsed(net), collapse_params(net, exact), x)
    large = forward(expanded(net), expand_params(net, exact), x)
    return max(float(np.abs(a - large[k]).max() / np.abs(a).max()) for k, a in small.items())


def _write(out: Path, overwrite: bool, enlarged: Pixels, sheet: Pixels) -> list[Path]:
    out.mkdir(parents=True, exist_ok=True)
    files = [out / name for name in FILES]
    write_image(files[0], enlarged, overwrite=overwrite)
    write_image(files[1], sheet, overwrite=overwrite)
    return files


Place = tuple[slice, slice]


def _place(top: int, left: int) -> Place:
    return slice(top, top + CROP_SIZE[0]), slice(left, left + CROP_SIZE[1])


def _telling_place(made: Made) -> Place:
    """The window in which the network improves most on bicubic interpolation."""
    y = luma_of(made.photo)
    gain = np.square(luma_of(made.bicubic) - y) - np.square(luma_of(made.enlarged) - y)
    height, width = (min(pair) for pair in zip(CROP_SIZE, gain.shape, strict=True))
    places = [
        (slice(top, top + height), slice(left, left + width))
        for top in range(0, gain.shape[0] - height + 1, 8)
        for left in range(0, gain.shape[1] - width + 1, 8)
    ]
    return max(places, key=lambda place: float(gain[place].sum()))


def _crops(made: Made, place: Place) -> list[Pixels]:
    """One place of the pixels that were given, of both enlargements and of the original."""
    upscale = len(made.photo) // len(made.low)
    nearest = made.low.repeat(upscale, 0).repeat(upscale, 1)
    return [image[place] for image in (nearest, made.bicubic, made.enlarged, made.photo)]


def _sheet(rows: list[list[Pixels]], model: str) -> Pixels:
    """The crops side by side, each pixel several pixels wide, a label above each column."""
    from PIL import Image, ImageDraw, ImageFont

    height, width = (CROP_ZOOM * max(r[0].shape[axis] for r in rows) for axis in (0, 1))
    size = 4 * (width + GAP_PIXELS) - GAP_PIXELS, len(rows) * (height + GAP_PIXELS) + LABEL_PIXELS
    picture = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    for column, label in enumerate(("pixels given", "bicubic", model, "original")):
        left = column * (width + GAP_PIXELS)
        pen.text((left, 1), label, "black", font=font)
        for i, row in enumerate(rows):
            large = _bytes(row[column]).repeat(CROP_ZOOM, 0).repeat(CROP_ZOOM, 1)
            top = LABEL_PIXELS + i * (height + GAP_PIXELS)
            picture.paste(Image.fromarray(large).convert("RGB"), (left, top))
    return np.asarray(picture)


def _bytes(crop: Pixels) -> Pixels:
    return from_float(to_float(crop), "uint8")


def _print(facts: dict[str, Any], files: list[Path]) -> None:
    (low_width, low_height), (width, height) = facts["low"], facts["high"]
    rows = [
        ("PSNR of bicubic (Y)", f"{facts['bicubic_psnr_db']:.2f} dB"),
        (f"PSNR of {facts['model']} (Y)", f"{facts['psnr_db']:.2f} dB"),
        ("collapsed against expanded, largest difference", f"{facts['collapse_difference']:.1e}"),
        ("parameters, collapsed", f"{facts['parameters']:,} weights + {facts['slopes']:,} slopes"),
        ("multiply-accumulates for this image", f"{facts['macs'] / 1e9:.2f} G"),
    ]
    title = f"A photograph of {width} x {height} pixels, reduced to {low_width} x {low_height}"
    print_table(title, ("quantity", "value"), rows)
    strip = f"pixels, bicubic, {facts['model']}, original"
    print(f"wrote {files[0]} ({width} x {height}) and {files[1]} ({strip})")
