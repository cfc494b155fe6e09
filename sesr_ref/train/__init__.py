"""Training: data, recipe, loop, checkpoints."""

from typing import TYPE_CHECKING

from sesr_ref.moved import names_moved
from sesr_ref.train.loop import Progress, check_folder, train

__all__ = ["Progress", "check_folder", "train"]

if not TYPE_CHECKING:  # mypy shall go on missing what is not here
    __getattr__ = names_moved(__name__)
