"""Networks on images: enlarge them, score folders of them."""

from sesr_ref.evaluate.enlarge import upscale_image

__all__ = ["upscale_image"]
