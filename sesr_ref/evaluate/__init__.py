"""Apply networks to images: enlarge them, score folders of them."""

from sesr_ref.evaluate.enlarge import enlarge_image, upscale_image
from sesr_ref.evaluate.models import IntegerModel, Model, RealModel
from sesr_ref.evaluate.scores import (
    PROTOCOLS,
    FolderScores,
    Method,
    Protocol,
    Score,
    bicubic,
    model_method,
    network,
    score_folder,
)
from sesr_ref.evaluate.sets import find_high
from sesr_ref.evaluate.validation import validation_psnr

__all__ = [
    "PROTOCOLS",
    "FolderScores",
    "IntegerModel",
    "Method",
    "Model",
    "Protocol",
    "RealModel",
    "Score",
    "bicubic",
    "enlarge_image",
    "find_high",
    "model_method",
    "network",
    "score_folder",
    "upscale_image",
    "validation_psnr",
]
