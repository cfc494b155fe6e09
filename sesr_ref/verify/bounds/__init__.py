"""Error bounds: how far a correct implementation in floating point may be off."""

from typing import TYPE_CHECKING

from sesr_ref.moved import names_moved

if not TYPE_CHECKING:  # so that mypy still reports missing names
    __getattr__ = names_moved(__name__)
