"""Networks by name: one file an architecture, one table of names that every command reads."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from sesr_ref.architectures.abpn import abpn
from sesr_ref.architectures.blocks import BLOCKS
from sesr_ref.architectures.btsrn import btsrn
from sesr_ref.architectures.carn import carn_m
from sesr_ref.architectures.drcn import drcn
from sesr_ref.architectures.drrn import drrn
from sesr_ref.architectures.ecbsr import ecbsr
from sesr_ref.architectures.espcn import espcn
from sesr_ref.architectures.etds import etds
from sesr_ref.architectures.fsrcnn import fsrcnn
from sesr_ref.architectures.lapsrn import lapsrn
from sesr_ref.architectures.moremnas import moremnas
from sesr_ref.architectures.quicksrnet import quicksrnet
from sesr_ref.architectures.sesr import sesr
from sesr_ref.architectures.span import span
from sesr_ref.architectures.tpsr import tpsr
from sesr_ref.architectures.vdsr import vdsr
from sesr_ref.architectures.xlsr import xlsr
from sesr_ref.moved import names_moved
from sesr_ref.network import Network

__all__ = [
    "NAMES",
    "Family",
    "abpn",
    "architecture",
    "architectures",
    "btsrn",
    "carn_m",
    "drcn",
    "drrn",
    "ecbsr",
    "espcn",
    "etds",
    "fsrcnn",
    "lapsrn",
    "moremnas",
    "options_of",
    "quicksrnet",
    "sesr",
    "span",
    "tpsr",
    "vdsr",
    "xlsr",
]


class Family(NamedTuple):
    """What a pattern of names stands for: `build` is called with the numbers in the name.

    `source` is where it was published; `known` are the numbers that are listed.
    """

    build: Callable[..., Network]
    source: str = ""
    known: tuple[Mapping[str, int], ...] = ({},)
    upscales: tuple[int, ...] = (2, 4)


SESR = "Bhardwaj et al. 2022"
BTSRN = "Fan et al. 2017"
MOREMNAS = "Chu et al. 2020"
QUICKSRNET = "Berger et al. 2023"
ETDS = "Chao et al. 2023"
PAPER = tuple({"blocks": blocks} for blocks in (3, 5, 7, 11))
EDGE = tuple({"blocks": m, "features": c} for m, c in ((4, 8), (4, 16), (10, 32), (16, 64)))
npu = partial(sesr, activation="relu", input_residual=False)
"""The paper's hardware variant."""

NAMES: dict[str, Family] = {
    "sesr-m{blocks}-x{upscale}": Family(sesr, SESR, PAPER),
    "sesr-xl-x{upscale}": Family(partial(sesr, blocks=11, features=32), SESR),
    "sesr-m{blocks}-x{upscale}-npu": Family(npu, SESR, PAPER),
    "sesr-xl-x{upscale}-npu": Family(partial(npu, blocks=11, features=32), SESR),
    **{
        f"sesr-m{{blocks}}-{block.replace('_', '-')}-x{{upscale}}": Family(
            partial(sesr, block=block), SESR, ({"blocks": 5},)
        )
        for block in BLOCKS
    },
    "espcn-x{upscale}": Family(espcn, "Shi et al. 2016"),
    "fsrcnn-x{upscale}": Family(fsrcnn, "Dong et al. 2016"),
    "vdsr-x{upscale}": Family(vdsr, "Kim et al. 2016"),
    "drcn-x{upscale}": Family(drcn, "Kim et al. 2016"),
    "lapsrn-x{upscale}": Family(lapsrn, "Lai et al. 2017"),
    "btsrn-x{upscale}": Family(btsrn, BTSRN),
    "btsrn-code-x{upscale}": Family(
        partial(btsrn, features=128, bottleneck=64, channels=3, deconvolutions=True), BTSRN
    ),
    "drrn-x{upscale}": Family(drrn, "Tai et al. 2017"),
    "carn-m-x{upscale}": Family(carn_m, "Ahn et al. 2018"),
    "moremnas-c-x{upscale}": Family(partial(moremnas, variant="c"), MOREMNAS),
    "moremnas-d-x{upscale}": Family(partial(moremnas, variant="d"), MOREMNAS),
    "tpsr-x{upscale}": Family(tpsr, "Lee et al. 2020"),
    "ecbsr-m{blocks}c{features}-x{upscale}": Family(ecbsr, "Zhang et al. 2021", EDGE),
    "xlsr-x{upscale}": Family(xlsr, "Ayazoglu 2021"),
    "abpn-m{blocks}c{features}-x{upscale}": Family(
        abpn, "Du et al. 2021", ({"blocks": 4, "features": 28},)
    ),
    "quicksrnet-small-x{upscale}": Family(quicksrnet, QUICKSRNET),
    "quicksrnet-medium-x{upscale}": Family(partial(quicksrnet, blocks=5), QUICKSRNET),
    "quicksrnet-large-x{upscale}": Family(
        partial(quicksrnet, blocks=11, features=64, anchor=True), QUICKSRNET
    ),
    "etds-t-x{upscale}": Family(etds, ETDS),
    "etds-s-x{upscale}": Family(partial(etds, blocks=4, features=32), ETDS),
    "etds-m-x{upscale}": Family(partial(etds, blocks=6, features=32), ETDS),
    "etds-l-x{upscale}": Family(partial(etds, blocks=7, features=48), ETDS),
    "span-x{upscale}": Family(span, "Wan et al. 2024"),
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


def architecture(name: str, **options: Any) -> Network:
    """Describe an architecture by name, such as sesr-m11-x4, ecbsr-m4c16-x2 or fsrcnn-x2.

    Parameters
    ----------
    name : str
        As `architectures` lists them, or with other numbers; ``-npu`` is the paper's hardware
        variant: ReLU, no input residual.
    **options
        Of the function that describes the family, such as ``block="ecb"`` of `sesr`; those of
        `options_of`, which the name leaves open.

    Returns
    -------
    Network
        With its linear blocks and that name; with options, the name that the function gives.

    Raises
    ------
    ValueError
        If there is no such name, its numbers or options make no network, or an option is not one
        of `options_of`.
    """
    family, numbers = _found(name)
    known = options_of(name)
    for key in options:
        if key not in known:
            raise ValueError(f"{name}: its options are {', '.join(known)}, got {key!r:.40}")
    net = family.build(**numbers, **options)
    return net if options else replace(net, name=name)


def options_of(name: str) -> tuple[str, ...]:
    """Options of the function that describes a network, but those that its name states.

    Parameters
    ----------
    name : str
        As `architecture` takes it.

    Returns
    -------
    tuple of str

    Raises
    ------
    ValueError
        If there is no such name.
    """
    family, numbers = _found(name)
    stated = {*numbers, *getattr(family.build, "keywords", {})}
    return tuple(key for key in inspect.signature(family.build).parameters if key not in stated)


def _found(name: str) -> tuple[Family, dict[str, int]]:
    """The family of a name, and the numbers in it."""
    for pattern, family in NAMES.items():
        if match := _matcher(pattern).fullmatch(name):
            return family, {key: int(value) for key, value in match.groupdict().items()}
    raise ValueError(f"no architecture is called {name!r:.200}; there are: {', '.join(NAMES)}")


def is_architecture(name: str) -> bool:
    """Whether `name` has the form of one of the names that `architecture` takes."""
    return any(_matcher(pattern).fullmatch(name) for pattern in NAMES)


def _matcher(pattern: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[0-9]{1,3})", re.escape(pattern)))


if not TYPE_CHECKING:  # mypy shall go on missing what is not here
    __getattr__ = names_moved(__name__)
