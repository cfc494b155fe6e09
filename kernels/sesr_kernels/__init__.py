"""Numba kernels of sesr_ref (extra ``fast``); this package never imports the engine."""

from typing import Any


def kernels(winograd: bool | None = None) -> dict[str, Any]:
    """Fields of `sesr_ref.Ops` that the kernels replace."""
    raise ImportError("the kernels are not in this version")
