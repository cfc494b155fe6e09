"""Metadata of an image file: copied to the enlargement, or reported as lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sesr_ref.images.formats import optional

ORIENTATION, DETAILS, MAKER_NOTE = 0x0112, 0x8769, 0x927C
SIZES = (0xA002, 0xA003)
MOST_BYTES = 65_000
"""Largest EXIF that a JPEG can hold; cameras write less."""
SRGB_GAMMA = 1 / 2.2
SRGB_PRIMARIES = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)


def carried(raw: object) -> bytes | None:
    """Copy EXIF for the enlargement of an image whose orientation has been applied.

    Parameters
    ----------
    raw : bytes or None
        EXIF as stored in the file.

    Returns
    -------
    bytes or None
        Without the orientation, the size in pixels, previews and the maker's note (whose offsets
        would be wrong); None if nothing is left, if it is larger than `MOST_BYTES`, or if it cannot
        be read.
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
    except Exception:  # cameras and editors write EXIF of any kind; the pixels are read anyway
        return None
    return found if (len(exif) or details) and len(found) <= MOST_BYTES else None


def lost(info: Mapping[str, Any]) -> list[str]:
    """Describe the metadata that is not copied.

    Parameters
    ----------
    info : mapping
        Metadata as read by Pillow.

    Returns
    -------
    list of str
    """
    losses = []
    if any("xmp" in key.lower() for key in info):
        losses.append("XMP metadata is not copied")
    if not {"icc_profile", "srgb"} & set(info) and _own_colours(info):
        losses.append("gamma and primaries (gAMA, cHRM) are not copied: colours may look different")
    return losses


def _own_colours(info: Mapping[str, Any]) -> bool:
    """Whether a PNG's chunks state another colour space than sRGB, which most PNGs state."""
    stated = (info.get("gamma", SRGB_GAMMA), *info.get("chromaticity", SRGB_PRIMARIES))
    usual = (SRGB_GAMMA, *SRGB_PRIMARIES)
    return any(
        abs(value - expected) > 0.005 for value, expected in zip(stated, usual, strict=False)
    )
