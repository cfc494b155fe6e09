"""Apply networks to images: enlarge them, score folders of them."""

from sesr_ref.evaluate.enlarge import upscale_image
from sesr_ref.evaluate.scores import (
    PROTOCOLS,
    FolderScores,
    Method,
    Protocol,
    Score,
    bicubic,
    network,
    score_folder,
)
from sesr_ref.evaluate.sets import find_high
from sesr_ref.evaluate.validation import validation_psnr

__all__ = [
    "PROTOCOLS",
    "FolderScores",
    "Method",
    "Protocol",
    "Score",
    "bicubic",
    "find_high",
    "network",
    "score_folder",
    "upscale_image",
    "validation_psnr",
]
