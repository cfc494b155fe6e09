"""Training: data, recipe, loop, checkpoints."""

from sesr_ref.train.loop import Progress, check_folder, train

__all__ = ["Progress", "check_folder", "train"]
