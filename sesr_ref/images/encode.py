"""Encode pixels as image files."""

from __future__ import annotations

import io
import struct
import zlib
from typing import IO, Any

import numpy as np

from sesr_ref.images.colour import PEAKS, Pixels, from_float
from sesr_ref.images.formats import optional, stored_dtype

JPEG_QUALITY = 95
PNG_LEVEL = 3
# Without loss "quality" is the effort: four times as fast as the default, files 1.5 % larger.
LOSSLESS_WEBP = {"lossless": True, "quality": 20, "method": 1, "exact": True}


def encode(
    stream: IO[bytes],
    name: str,
    pixels: Pixels,
    icc_profile: bytes | None,
    exif: bytes | None,
    quality: int | None,
) -> None:
    """Write an image to a binary stream; see `write_image` for what is written."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    pixels = np.ascontiguousarray(to_stored(pixels, name))
    if name == "tiff":
        _encode_tiff(stream, pixels, icc_profile)
    elif name == "png" and pixels.dtype == np.uint16:
        _encode_deep_png(stream, pixels, icc_profile, exif)
    else:
        metadata = {"icc_profile": icc_profile, "exif": exif} if name != "bmp" else {}
        _encode_with_pillow(stream, name, pixels, metadata, quality)


def to_stored(pixels: Pixels, name: str) -> Pixels:
    """Convert samples to the dtype that the format `name` stores."""
    held = stored_dtype(pixels.dtype, name)
    if held == pixels.dtype:
        return pixels
    return from_float(pixels / PEAKS[pixels.dtype], held)


def _encode_with_pillow(
    stream: IO[bytes],
    name: str,
    pixels: Pixels,
    metadata: dict[str, bytes | None],
    quality: int | None,
) -> None:
    iio = optional("imageio.v3")
    options: dict[str, dict[str, Any]] = {
        "png": {"compress_level": PNG_LEVEL},
        "jpeg": {"quality": quality or JPEG_QUALITY, "subsampling": 0},
        "webp": {"quality": quality, "exact": True} if quality else LOSSLESS_WEBP,
        "bmp": {},
    }
    given = options[name] | {key: data for key, data in metadata.items() if data}
    suffix = f".{name}"
    iio.imwrite(stream, pixels, extension=suffix, plugin="pillow", is_batch=False, **given)


def _encode_deep_png(
    stream: IO[bytes], pixels: Pixels, icc_profile: bytes | None, exif: bytes | None
) -> None:
    """Encode a 16-bit PNG by libpng; the metadata chunks are added here."""
    data = optional("imagecodecs").png_encode(pixels, level=PNG_LEVEL)
    header = 33  # bytes of signature and IHDR, which the profile must follow
    stream.write(data[:header])
    if icc_profile:
        _write_chunk(stream, b"iCCP", b"ICC profile\0\0" + zlib.compress(icc_profile))
    if exif:
        _write_chunk(stream, b"eXIf", exif.removeprefix(b"Exif\0\0"))
    stream.write(data[header:])


def _write_chunk(stream: IO[bytes], kind: bytes, data: bytes) -> None:
    stream.write(struct.pack(">I", len(data)) + kind + data)
    stream.write(struct.pack(">I", zlib.crc32(kind + data)))


def _encode_tiff(stream: IO[bytes], pixels: Pixels, icc_profile: bytes | None) -> None:
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    buffer = io.BytesIO()  # tifffile does not write to a stream without a name
    optional("tifffile").imwrite(
        buffer,
        pixels,
        photometric="minisblack" if channels < 3 else "rgb",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=["unassalpha"] if channels in (2, 4) else None,
        compression="zlib",
        predictor=True,
        iccprofile=icc_profile,
        metadata=None,
    )
    stream.write(buffer.getbuffer())
