"""Networks by name: one file an architecture, one table of names that every command reads."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from sesr_ref.architectures.blocks import BLOCKS
from sesr_ref.architectures.carn import carn_m
from sesr_ref.architectures.fsrcnn import fsrcnn
from sesr_ref.architectures.lapsrn import lapsrn
from sesr_ref.architectures.sesr import sesr
from sesr_ref.architectures.vdsr import vdsr
from sesr_ref.moved import names_moved
from sesr_ref.network import Network

__all__ = [
    "NAMES",
    "Family",
    "architecture",
    "architectures",
    "carn_m",
    "fsrcnn",
    "lapsrn",
    "sesr",
    "vdsr",
]


class Family(NamedTuple):
    """What a pattern of names stands for: `build` is called with the numbers in the name."""

    build: Callable[..., Network]
    known: tuple[Mapping[str, int], ...] = ({},)
    upscales: tuple[int, ...] = (2, 4)


PAPER = tuple({"blocks": blocks} for blocks in (3, 5, 7, 11))
npu = partial(sesr, activation="relu", input_residual=False)
"""The paper's hardware variant."""

NAMES: dict[str, Family] = {
    "sesr-m{blocks}-x{upscale}": Family(sesr, PAPER),
    "sesr-xl-x{upscale}": Family(partial(sesr, 11, 32)),
    "sesr-m{blocks}-x{upscale}-npu": Family(npu, PAPER),
    "sesr-xl-x{upscale}-npu": Family(partial(npu, 11, 32)),
    **{
        f"sesr-m{{blocks}}-{block.replace('_', '-')}-x{{upscale}}": Family(
            partial(sesr, block=block), PAPER
        )
        for block in BLOCKS
    },
    "fsrcnn-x{upscale}": Family(fsrcnn),
    "vdsr-x{upscale}": Family(vdsr),
    "lapsrn-x{upscale}": Family(lapsrn),
    "carn-m-x{upscale}": Family(carn_m),
}
"""Patterns of names, each field a number, and what builds the network."""


def architectures() -> list[str]:
    """Names of the networks that are known by name; numbers in them may be others.

    Returns
    -------
    list of str
        Each of which `architecture` takes, such as ``"sesr-m5-x2"``.
    """
    return [
        pattern.format(upscale=upscale, **numbers)
        for pattern, family in NAMES.items()
        for upscale in family.upscales
        for numbers in family.known
    ]


def architecture(name: str) -> Network:
    """Describe an architecture by name, such as sesr-m11-x4, sesr-m5-x2-npu or fsrcnn-x2.

    Parameters
    ----------
    name : str
        As `architectures` lists them, or with other numbers; ``-npu`` is the paper's hardware
        variant: ReLU, no input residual.

    Returns
    -------
    Network
        With its linear blocks and that name.

    Raises
    ------
    ValueError
        If there is no such name, or its numbers make no network.
    """
    for pattern, family in NAMES.items():
        if match := _matcher(pattern).fullmatch(name):
            numbers = {key: int(value) for key, value in match.groupdict().items()}
            return replace(family.build(**numbers), name=name)
    raise ValueError(f"no architecture is called {name!r:.200}; there are: {', '.join(NAMES)}")


def is_architecture(name: str) -> bool:
    """Whether `name` has the form of one of the names that `architecture` takes."""
    return any(_matcher(pattern).fullmatch(name) for pattern in NAMES)


def _matcher(pattern: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[0-9]{1,3})", re.escape(pattern)))


if not TYPE_CHECKING:  # mypy shall go on missing what is not here
    __getattr__ = names_moved(__name__)
