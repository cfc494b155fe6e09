"""Training: data, recipe, loop, checkpoints."""

from typing import TYPE_CHECKING

from sesr_ref.moved import names_moved
from sesr_ref.train.data import Pairs, training_pairs
from sesr_ref.train.loop import Progress, check_folder, train
from sesr_ref.train.optimiser import Recipe

__all__ = ["Pairs", "Progress", "Recipe", "check_folder", "train", "training_pairs"]

if not TYPE_CHECKING:  # mypy shall go on missing what is not here
    __getattr__ = names_moved(__name__)
