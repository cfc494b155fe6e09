"""Decode image files; their headers are checked before pixels are decoded."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from sesr_ref.images.colour import PEAKS, Pixels
from sesr_ref.images.exif import carried, lost
from sesr_ref.images.formats import Image, optional

SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "png",
    b"\xff\xd8\xff": "jpeg",
    b"RIFF": "webp",
    b"BM": "bmp",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"II+\0": "tiff",
    b"MM\0+": "tiff",
}
UNREAD = {b"GIF8": "GIF", b"ftyphei": "HEIC", b"ftypmif1": "HEIC", b"ftypavif": "AVIF"}
# Pillow's mode of a file: the mode to read without and with a transparent colour.
MODES = {
    "1": ("L", "LA"),
    "L": ("L", "LA"),
    "LA": ("LA", "LA"),
    "La": ("LA", "LA"),
    "P": ("RGB", "RGBA"),
    "PA": ("RGBA", "RGBA"),
    "RGB": ("RGB", "RGBA"),
    "RGBX": ("RGB", "RGB"),
    "RGBA": ("RGBA", "RGBA"),
    "RGBa": ("RGBA", "RGBA"),
    "YCbCr": ("RGB", "RGB"),
    "CMYK": ("CMYK", "CMYK"),
    "I;16": ("I;16", "I;16"),
}


class Decoded(NamedTuple):
    """Pixels as stored in the file, and its metadata."""

    pixels: Pixels
    orientation: int
    icc_profile: bytes | None
    pages: int
    exif: bytes | None = None
    losses: tuple[str, ...] = ()


def decode(stream: BinaryIO, name: str, max_pixels: int) -> Image:
    """Decode one image; see `read_image` for what is returned and raised."""
    kind = _sniff(stream, name)
    with _messages() as messages:
        try:
            found = DECODERS[kind](stream, max_pixels)
        except (MemoryError, ImportError, Rejected) as error:
            raise type(error)(f"{name}: {error}") from None
        except Exception as error:  # on bad bytes decoders raise errors of any kind
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk has failed, not the decoder
            detail = f" ({error})" if isinstance(error, (OSError, ValueError)) else ""
            raise ValueError(
                f"{name}: damaged, incomplete or unsupported {kind}{detail}"
            ) from error
    if found.pages > 1:
        messages.append(f"contains {found.pages} pictures; only the first is read")
    pixels = orient(found.pixels, found.orientation)
    profile = _fitting_profile(found, pixels)
    if found.icc_profile and not profile:
        messages.append("its colour profile does not fit its pixels and is dropped")
    notices = (*messages, *found.losses)
    return Image(pixels, kind, profile, found.exif, notices)


@contextmanager
def _messages() -> Iterator[list[str]]:
    """Collect the warnings and log messages of decoders, which would be printed otherwise."""
    messages: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    loggers = [logging.getLogger(name) for name in ("PIL", "tifffile")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield messages
            messages += [str(warning.message) for warning in caught]
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


class Rejected(ValueError):
    """The image is intact, but too large or of an unsupported kind."""


def _accept(condition: bool, problem: str) -> None:
    if not condition:
        raise Rejected(problem)


def _sniff(stream: BinaryIO, name: str) -> str:
    head = stream.read(12)
    stream.seek(0)
    for signature, kind in SIGNATURES.items():
        if head.startswith(signature) and (kind != "webp" or head[8:] == b"WEBP"):
            return kind
    other = next((kind for mark, kind in UNREAD.items() if mark in head), None)
    what = f"{other} is not supported" if other else "not an image" if head else "an empty file"
    raise ValueError(f"{name}: {what} (supported are PNG, JPEG, WebP, BMP and TIFF)")


def _check_size(width: int, height: int, max_pixels: int) -> None:
    pixels = width * height
    _accept(
        pixels <= max_pixels,
        f"{width} x {height} = {pixels} pixels, more than the limit of {max_pixels}",
    )
    _accept(pixels > 0, f"no pixels ({width} x {height})")


@contextmanager
def _without_pillows_limit() -> Iterator[None]:
    """Lift Pillow's own, global limit on pixels while ours applies."""
    PillowImage = optional("PIL.Image")
    limit = PillowImage.MAX_IMAGE_PIXELS
    PillowImage.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        PillowImage.MAX_IMAGE_PIXELS = limit


def _decode_with_pillow(stream: BinaryIO, max_pixels: int) -> Decoded:
    iio = optional("imageio.v3")
    with _without_pillows_limit():
        try:
            file = iio.imopen(stream, "r", plugin="pillow")
        except OSError:
            raise ValueError("invalid header") from None
        height, width = file.properties(index=0).shape[:2]
        _check_size(width, height, max_pixels)  # first: reading a PNG's metadata decodes it
        before = file.metadata(index=0, exclude_applied=False)
        _accept(before["mode"] in MODES, f"pixels of mode {before['mode']} are not supported")
        mode = MODES[before["mode"]]["transparency" in before]
        pixels = file.read(index=0, mode=mode)
        after = file.metadata(index=0, exclude_applied=False)  # reading may apply the orientation
        profile = before.get("icc_profile")
        pages = file.properties(index=...).n_images or 1
    if mode == "CMYK":
        pixels, profile = _cmyk_to_rgb(pixels, profile), None
    native = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    orientation = int(after.get("Orientation", 1))
    metadata = carried(before.get("exif")), tuple(lost(before))
    return Decoded(native, orientation, profile, pages, *metadata)


def _cmyk_to_rgb(pixels: Pixels, profile: bytes | None) -> Pixels:
    """Convert CMYK to sRGB by the file's profile, or by the plain formula without one."""
    ImageCms = optional("PIL.ImageCms")
    cmyk = optional("PIL.Image").frombytes("CMYK", pixels.shape[1::-1], pixels.tobytes())
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            target = ImageCms.createProfile("sRGB")
            rgb = ImageCms.profileToProfile(cmyk, source, target, outputMode="RGB")
            return np.array(rgb)
        except (OSError, ImageCms.PyCMSError) as error:
            warnings.warn(f"its CMYK profile cannot be used ({error})", stacklevel=2)
    return np.array(cmyk.convert("RGB"))


def _decode_jpeg(stream: BinaryIO, max_pixels: int) -> Decoded:
    """Decode a JPEG; further pictures are previews or a stereo pair and give no notice."""
    return _decode_with_pillow(stream, max_pixels)._replace(pages=1)


BIT_DEPTH_AT = 24  # offset in a PNG file


def _decode_png(stream: BinaryIO, max_pixels: int) -> Decoded:
    """Decode a PNG; 16 bit by libpng, since Pillow silently reads 16-bit colour as 8 bit."""
    head = stream.read(BIT_DEPTH_AT + 1)
    stream.seek(0)
    if head[BIT_DEPTH_AT:] != b"\x10":
        return _decode_with_pillow(stream, max_pixels)
    data = stream.read()
    found = _decode_with_pillow(io.BytesIO(data), max_pixels)
    return found._replace(pixels=optional("imagecodecs").png_decode(data))


def _decode_tiff(stream: BinaryIO, max_pixels: int) -> Decoded:
    """Decode a TIFF: 8 bit by Pillow, which knows its many variants, 16 bit and floats here."""
    with optional("tifffile").TiffFile(stream) as file:
        page = file.pages.first
        _check_size(page.imagewidth, page.imagelength, max_pixels)
        if page.dtype is not None and page.dtype in (np.uint8, np.bool_):
            stream.seek(0)
            return _decode_with_pillow(stream, max_pixels)
        return _decode_deep_tiff(file, page)


# Values of TIFF's tags.
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2
PREMULTIPLIED, STRAIGHT = 1, 2
PLANES = 2
ORIENTATION_TAG, PROFILE_TAG = 274, 34675


def _decode_deep_tiff(file: Any, page: Any) -> Decoded:
    kind = int(page.photometric)
    _accept(
        page.dtype in PEAKS and kind in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB),
        f"{page.dtype} samples of photometric kind {kind} are not supported",
    )
    _accept(
        len(page.shape) in (2, 3) and page.samplesperpixel <= 4,
        f"{page.samplesperpixel} samples per pixel in shape {page.shape} are not supported",
    )
    whole = page.bitspersample == 8 * page.dtype.itemsize
    _accept(whole, f"samples of {page.bitspersample} bits are not supported")
    extra = [int(sample) for sample in page.extrasamples[:1]]
    premultiplied = extra == [PREMULTIPLIED]
    _accept(not premultiplied, f"premultiplied transparency of {page.dtype} is not supported")
    pixels = page.asarray().reshape(page.shape)
    if pixels.ndim == 3:
        if int(page.planarconfig) == PLANES:
            pixels = np.moveaxis(pixels, 0, 2)
        kept = (3 if kind == RGB else 1) + (extra == [STRAIGHT])
        pixels = pixels[..., :kept] if kept > 1 else pixels[..., 0]
    if kind == WHITE_IS_ZERO:
        pixels = (PEAKS[page.dtype] - pixels).astype(page.dtype)
    tags = page.tags
    orientation, profile = tags.valueof(ORIENTATION_TAG, default=1), tags.valueof(PROFILE_TAG)
    return Decoded(pixels, int(orientation), profile, len(file.pages))


DECODERS: dict[str, Any] = {
    "png": _decode_png,
    "jpeg": _decode_jpeg,
    "webp": _decode_with_pillow,
    "bmp": _decode_with_pillow,
    "tiff": _decode_tiff,
}


def orient(pixels: Pixels, orientation: int) -> Pixels:
    """Rotate and mirror pixels by EXIF's orientation, 1 to 8; other values have no effect."""
    turned = np.swapaxes(pixels, 0, 1) if orientation in (5, 6, 7, 8) else pixels
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(turned[::rows, ::columns])


def _fitting_profile(found: Decoded, pixels: Pixels) -> bytes | None:
    """The file's colour profile if it fits the colour space of the pixels."""
    space = b"GRAY" if pixels.ndim == 2 or pixels.shape[2] == 2 else b"RGB "
    profile = found.icc_profile
    return profile if profile and len(profile) >= 128 and profile[16:20] == space else None
