"""Images: files, colour spaces, and MATLAB's resizing."""

from sesr_ref.images.colour import (
    PEAKS,
    Pixels,
    from_float,
    rgb_to_luma,
    rgb_to_ycbcr,
    to_float,
    ycbcr_to_rgb,
)
from sesr_ref.images.files import luma_of, read_image, read_luma, rgb_of, write_image
from sesr_ref.images.formats import (
    DEFAULT_MAX_PIXELS,
    SUFFIXES,
    Image,
    check_storable,
    format_of,
    stored_dtype,
)
from sesr_ref.images.resample import imresize, modcrop

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "PEAKS",
    "SUFFIXES",
    "Image",
    "Pixels",
    "check_storable",
    "format_of",
    "from_float",
    "imresize",
    "luma_of",
    "modcrop",
    "read_image",
    "read_luma",
    "rgb_of",
    "rgb_to_luma",
    "rgb_to_ycbcr",
    "stored_dtype",
    "to_float",
    "write_image",
    "ycbcr_to_rgb",
]
