"""Compare an implementation with the right result: the first wrong layer, the likely fault."""

from typing import TYPE_CHECKING

from sesr_ref.moved import names_moved

if not TYPE_CHECKING:  # so that mypy still reports missing names
    __getattr__ = names_moved(__name__)
