"""What a file says beside its pixels, carried to the enlargement or told to be lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sesr_ref.images.formats import optional

ORIENTATION, DETAILS, MAKER_NOTE = 0x0112, 0x8769, 0x927C
SIZES = (0xA002, 0xA003)
MOST_BYTES = 65_000
"""What a JPEG has room for; from cameras it is less."""
SRGB_GAMMA = 1 / 2.2
SRGB_PRIMARIES = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)


def carried(raw: object) -> bytes | None:
    """EXIF as it fits the enlargement of an image whose orientation has been applied.

    Parameters
    ----------
    raw : bytes or None
        As the file holds it.

    Returns
    -------
    bytes or None
        Without the orientation, the size in pixels, previews and the maker's note (whose offsets
        would no longer hold); None if nothing is left, or more than `MOST_BYTES`, or it cannot be
        read.
    """
    if not isinstance(raw, bytes) or not raw:
        return None
    exif = optional("PIL.Image").Exif()
    try:
        exif.load(raw)
        details = exif.get_ifd(DETAILS)
        for tags, gone in ((exif, (ORIENTATION,)), (details, (*SIZES, MAKER_NOTE))):
            for tag in gone:
                tags.pop(tag, None)
        found: bytes = exif.tobytes()
    except Exception:  # written by cameras and editors of any kind: no reason to refuse the pixels
        return None
    return found if (len(exif) or details) and len(found) <= MOST_BYTES else None


def lost(info: Mapping[str, Any]) -> list[str]:
    """What is not carried over, for people.

    Parameters
    ----------
    info : mapping
        What Pillow read beside the pixels.

    Returns
    -------
    list of str
    """
    losses = []
    if any("xmp" in key.lower() for key in info):
        losses.append("XMP metadata left out")
    if not {"icc_profile", "srgb"} & set(info) and _own_colours(info):
        losses.append("its gamma or primaries (gAMA, cHRM) left out: colours may look otherwise")
    return losses


def _own_colours(info: Mapping[str, Any]) -> bool:
    """Whether a PNG's chunks state other colours than sRGB's, which most of them state."""
    stated = (info.get("gamma", SRGB_GAMMA), *info.get("chromaticity", SRGB_PRIMARIES))
    usual = (SRGB_GAMMA, *SRGB_PRIMARIES)
    return any(
        abs(value - expected) > 0.005 for value, expected in zip(stated, usual, strict=False)
    )
