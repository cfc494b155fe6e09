"""Demonstrate the engine: enlarge a photograph, score it, check the collapse, print the cost.

The photograph is reduced by the network's factor, enlarged again by the network and by bicubic
interpolation, and both are compared with the original.  The default PHOTO is scikit-image's coffee.
"""

from __future__ import annotations

import argparse
import os
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from sesr_ref.collapse import collapse_params, collapsed, expand_params, expanded
from sesr_ref.commands.console import print_json, print_table
from sesr_ref.commands.models import add_engine_option, add_model_option, engine_named, load_model
from sesr_ref.counting import cost
from sesr_ref.evaluate import upscale_image
from sesr_ref.evaluate.metrics import psnr
from sesr_ref.execute import forward
from sesr_ref.images import Pixels, imresize, luma_of, modcrop, read_image, write_image
from sesr_ref.network import Network
from sesr_ref.ops.arrays import Array, Params

COLLAPSE_TOLERANCE = 1e-10
"""Largest difference of any tensor, relative to its largest value, in float64."""
PROOF_PIXELS = 64
CROP_PIXELS, CROP_ZOOM = 72, 4
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
    net, params = load_model(args.model, args.upscale, small=False)
    photo = modcrop(_photo(args.photo), net.upscale)
    low = _resized(photo, 1 / net.upscale)
    bicubic = _resized(low, net.upscale)
    enlarged = upscale_image(low, net, params, ops=engine_named(args.engine))
    facts = _facts(net, params, photo, low, bicubic, enlarged)
    files = _write(args.out, args.overwrite, low, bicubic, enlarged, photo)
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


def _photo(path: Path | None) -> Pixels:
    if path is not None:
        pixels = read_image(path).pixels
        return pixels if pixels.ndim == 2 or pixels.shape[2] == 3 else pixels[..., :3]
    try:
        shipped = resources.files("skimage.data").joinpath("coffee.png")
    except ModuleNotFoundError as error:
        raise ImportError(
            "the photograph needs scikit-image (pip install scikit-image), or give your own PHOTO"
        ) from error
    with resources.as_file(shipped) as file:
        return read_image(file).pixels


def _resized(image: Pixels, scale: float) -> Pixels:
    """Resize, and clip floats to [0, 1] as `imresize` clips integers."""
    resized = imresize(image, scale)
    return resized.clip(0, 1) if resized.dtype.kind == "f" else resized


def _facts(
    net: Network, params: Params, photo: Pixels, low: Pixels, bicubic: Pixels, enlarged: Pixels
) -> dict[str, Any]:
    y = luma_of(photo)
    height, width = low.shape[:2]
    costs = cost(net, height, width)
    return {
        "model": net.name,
        "low": [width, height],
        "high": [width * net.upscale, height * net.upscale],
        "psnr_db": psnr(y, luma_of(enlarged), border=net.upscale),
        "bicubic_psnr_db": psnr(y, luma_of(bicubic), border=net.upscale),
        "collapse_difference": collapse_difference(net, params, luma_of(low)),
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


def _write(
    out: Path, overwrite: bool, low: Pixels, bicubic: Pixels, enlarged: Pixels, photo: Pixels
) -> list[Path]:
    """Write the enlarged picture and a strip of crops: pixels, bicubic, network, original."""
    out.mkdir(parents=True, exist_ok=True)
    upscale = len(photo) // len(low)
    nearest = low.repeat(upscale, 0).repeat(upscale, 1)
    rows, columns = _telling_place(photo, bicubic, enlarged)
    crops = [
        image[rows, columns].repeat(CROP_ZOOM, 0).repeat(CROP_ZOOM, 1)
        for image in (nearest, bicubic, enlarged, photo)
    ]
    files = [out / name for name in FILES]
    write_image(files[0], enlarged, overwrite=overwrite)
    write_image(files[1], np.concatenate(crops, axis=1), overwrite=overwrite)
    return files


def _telling_place(photo: Pixels, bicubic: Pixels, enlarged: Pixels) -> tuple[slice, slice]:
    """The window in which the network improves most on bicubic interpolation."""
    y = luma_of(photo)
    gain = np.square(luma_of(bicubic) - y) - np.square(luma_of(enlarged) - y)
    height, width = (min(CROP_PIXELS, size) for size in gain.shape)
    places = [
        (slice(top, top + height), slice(left, left + width))
        for top in range(0, gain.shape[0] - height + 1, 8)
        for left in range(0, gain.shape[1] - width + 1, 8)
    ]
    return max(places, key=lambda place: float(gain[place].sum()))


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
