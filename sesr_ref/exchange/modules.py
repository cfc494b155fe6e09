"""What a state dict holds, whatever the names: convolutions, normalisations, slopes, in order."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

Stored = np.ndarray[Any, np.dtype[Any]]
Arrays = Mapping[str, Stored]
IGNORED = ("num_batches_tracked",)
"""Ends of names that no network needs."""
STATISTICS = {"running_mean", "running_var"}


class Module(NamedTuple):
    """Arrays that share a name up to its last dot, keyed by what follows."""

    name: str
    arrays: dict[str, Stored]

    def shape(self, key: str = "weight") -> tuple[int, ...]:
        """Shape of one of its arrays."""
        shape: tuple[int, ...] = self.arrays[key].shape
        return shape

    def full(self, key: str) -> str:
        """The array's whole name."""
        return f"{self.name}.{key}" if self.name else key


class Modules(NamedTuple):
    """A state dict's modules by kind; `ordered` if that is the order of the layers."""

    convs: list[Module]
    norms: list[Module]
    slopes: list[Module]
    ordered: bool = True

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of the convolutions' weights."""
        return [module.shape() for module in self.convs]


def modules_of(arrays: Arrays, ordered: bool = True) -> Modules:
    """Sort the arrays of a state dict into modules.

    Parameters
    ----------
    arrays : dict of arrays
        Of a state dict.
    ordered : bool
        Whether they are in the order of the layers; if not, modules are ordered by their names,
        numbers in them by value.

    Returns
    -------
    Modules

    Raises
    ------
    ValueError
        Naming the first array that is part of no convolution, normalisation or PReLU.
    """
    groups: dict[str, Module] = {}
    for name, array in arrays.items():
        stem, _, key = name.rpartition(".")
        if key not in IGNORED:
            groups.setdefault(stem, Module(stem, {})).arrays[key] = array
    found = Modules([], [], [], ordered)
    listed = list(groups.values()) if ordered else sorted(groups.values(), key=_natural)
    for module in listed:
        _sorted_into(found, module)
    return found


def _natural(module: Module) -> list[tuple[int, str]]:
    """Text and numbers of a name, so that block 10 follows block 9."""
    parts = re.split(r"(\d{1,9})", module.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _sorted_into(found: Modules, module: Module) -> None:
    keys = set(module.arrays)
    weight = module.arrays.get("weight")
    if weight is not None and weight.ndim == 4 and keys <= {"weight", "bias"}:
        found.convs.append(module)
    elif STATISTICS <= keys <= STATISTICS | {"weight", "bias"}:
        found.norms.append(module)
    elif keys == {"weight"} and weight is not None and weight.size == max(weight.shape, default=1):
        found.slopes.append(module)
    else:
        key = next((k for k in sorted(keys) if k not in {"weight", "bias"}), sorted(keys)[0])
        raise ValueError(
            f"{module.full(key):.200} of shape {module.shape(key)} is part of no convolution, "
            "normalisation or PReLU"
        )
