"""Bytes of an image file to pixels; what comes from outside is checked before it is decoded."""

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
# Pillow's mode: ours without and with a transparent colour.
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
    """Pixels as the file has them and what it says about them."""

    pixels: Pixels
    orientation: int
    icc_profile: bytes | None
    pages: int
    exif: bytes | None = None
    losses: tuple[str, ...] = ()


def decode(stream: BinaryIO, name: str, max_pixels: int) -> Image:
    """Decode one image; `read_image` states what comes out and what is raised."""
    kind = _sniff(stream, name)
    with _messages() as messages:
        try:
            found = DECODERS[kind](stream, max_pixels)
        except (MemoryError, ImportError, Refused) as error:
            raise type(error)(f"{name}: {error}") from None
        except Exception as error:  # decoders raise whatever they like on bad bytes
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk's fault, not the image's
            detail = f" ({error})" if isinstance(error, (OSError, ValueError)) else ""
            raise ValueError(
                f"{name}: damaged, incomplete or unsupported {kind}{detail}"
            ) from error
    if found.pages > 1:
        messages.append(f"holds {found.pages} pictures; took the first alone")
    pixels = orient(found.pixels, found.orientation)
    profile = _fitting_profile(found, pixels)
    if found.icc_profile and not profile:
        messages.append("its colour profile is of other colours than its pixels; left out")
    notices = (*messages, *found.losses)
    return Image(pixels, kind, profile, found.exif, notices)


@contextmanager
def _messages() -> Iterator[list[str]]:
    """Collect what decoders warn of and log, which they would print."""
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


class Refused(ValueError):
    """An image that is not damaged, but more or other than what is taken."""


def _sniff(stream: BinaryIO, name: str) -> str:
    head = stream.read(12)
    stream.seek(0)
    for signature, kind in SIGNATURES.items():
        if head.startswith(signature) and (kind != "webp" or head[8:] == b"WEBP"):
            return kind
    other = next((kind for mark, kind in UNREAD.items() if mark in head), None)
    what = f"{other} is not read" if other else "not an image" if head else "an empty file"
    raise ValueError(f"{name}: {what} (PNG, JPEG, WebP, BMP and TIFF are read)")


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise Refused(
            f"{width} x {height} = {width * height} pixels, more than the limit of {max_pixels}"
        )
    if not width * height:
        raise Refused(f"has no pixels ({width} x {height})")


@contextmanager
def _without_pillows_limit() -> Iterator[None]:
    """Lift Pillow's own limit of pixels, which is global, while ours is applied."""
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
            raise ValueError("its header makes no sense") from None
        height, width = file.properties(index=0).shape[:2]
        _check_size(width, height, max_pixels)  # first: a PNG's metadata cost its decoding
        before = file.metadata(index=0, exclude_applied=False)
        if before["mode"] not in MODES:
            raise Refused(f"pixels of mode {before['mode']} are not supported")
        mode = MODES[before["mode"]]["transparency" in before]
        pixels = file.read(index=0, mode=mode)
        after = file.metadata(index=0, exclude_applied=False)  # the orientation may be applied now
        profile = before.get("icc_profile")
        pages = file.properties(index=...).n_images or 1
    if mode == "CMYK":
        pixels, profile = _cmyk_to_rgb(pixels, profile), None
    native = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    orientation = int(after.get("Orientation", 1))
    beside = carried(before.get("exif")), tuple(lost(before))
    return Decoded(native, orientation, profile, pages, *beside)


def _cmyk_to_rgb(pixels: Pixels, profile: bytes | None) -> Pixels:
    """By the file's profile to sRGB, else by the plain formula."""
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
    """A JPEG's further pictures are previews or a stereo pair's: no notice."""
    return _decode_with_pillow(stream, max_pixels)._replace(pages=1)


BIT_DEPTH_AT = 24  # in a PNG's first chunk


def _decode_png(stream: BinaryIO, max_pixels: int) -> Decoded:
    """Pillow reads 16-bit colour as 8 bit without a word: libpng decodes that."""
    head = stream.read(BIT_DEPTH_AT + 1)
    stream.seek(0)
    if head[BIT_DEPTH_AT:] != b"\x10":
        return _decode_with_pillow(stream, max_pixels)
    data = stream.read()
    found = _decode_with_pillow(io.BytesIO(data), max_pixels)
    return found._replace(pixels=optional("imagecodecs").png_decode(data))


def _decode_tiff(stream: BinaryIO, max_pixels: int) -> Decoded:
    """Pillow knows the many kinds of 8 bit, tifffile 16 bit and floats."""
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
    if page.dtype not in PEAKS or kind not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB):
        raise Refused(f"{page.dtype} samples of photometric kind {kind} are not supported")
    if len(page.shape) not in (2, 3) or page.samplesperpixel > 4:
        raise Refused(f"{page.samplesperpixel} samples a pixel, shape {page.shape}: not supported")
    if page.bitspersample != 8 * page.dtype.itemsize:
        raise Refused(f"samples of {page.bitspersample} bits are not supported")
    extra = [int(sample) for sample in page.extrasamples[:1]]
    if extra == [PREMULTIPLIED]:
        raise Refused(f"premultiplied transparency of {page.dtype} is not supported")
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
    """Turn and mirror pixels as EXIF's orientation 1 to 8 says; other values mean nothing."""
    turned = np.swapaxes(pixels, 0, 1) if orientation in (5, 6, 7, 8) else pixels
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(turned[::rows, ::columns])


def _fitting_profile(found: Decoded, pixels: Pixels) -> bytes | None:
    """The file's profile if it is one of the colours that the pixels have."""
    space = b"GRAY" if pixels.ndim == 2 or pixels.shape[2] == 2 else b"RGB "
    profile = found.icc_profile
    return profile if profile and len(profile) >= 128 and profile[16:20] == space else None
