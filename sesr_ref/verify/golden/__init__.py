"""Golden packs: test vectors in files, and integers of a port held against them."""

from typing import TYPE_CHECKING

from sesr_ref.moved import names_moved

if not TYPE_CHECKING:  # so that mypy still reports missing names
    __getattr__ = names_moved(__name__)
