"""Options that several architectures take, and the checks of their values."""

from __future__ import annotations

from collections.abc import Collection

from sesr_ref.network import PReLU, ReLU

ACTIVATIONS: dict[str, type[PReLU] | type[ReLU]] = {"prelu": PReLU, "relu": ReLU}


def check_choice(name: str, value: object, known: Collection[object]) -> None:
    """Raise ValueError unless `value` is one of those known."""
    if isinstance(value, bool) or value not in list(known):
        choices = sorted(known, key=str)
        raise ValueError(f"{name} must be one of {choices}, got {value!r}")
