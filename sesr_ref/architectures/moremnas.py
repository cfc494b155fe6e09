"""MoreMNAS: networks of cells found by multi-objective search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sesr_ref.architectures.options import check_choice
from sesr_ref.network import Add, Conv, DepthToSpace, Layer, Network, ReLU


class Cell(NamedTuple):
    """One cell: "inverted" bottlenecks widened by `factor`, or "group" convolutions of as many.

    `skip` adds what the cell's first convolution makes once more.
    """

    kind: str
    factor: int
    features: int
    kernel_size: int
    repeats: int
    skip: bool


CELLS: dict[str, tuple[Cell, ...]] = {
    "c": (
        *[Cell("inverted", 2, 16, 1, 2, False)] * 3,
        Cell("group", 2, 48, 1, 4, True),
        Cell("group", 2, 16, 1, 1, False),
        *[Cell("inverted", 2, 16, 1, 2, False)] * 2,
    ),
    "d": (
        Cell("group", 1, 48, 1, 1, False),
        Cell("group", 4, 32, 1, 2, True),
        Cell("group", 1, 48, 1, 1, False),
        Cell("group", 4, 48, 1, 1, False),
        Cell("inverted", 2, 48, 1, 4, True),
        Cell("group", 4, 16, 1, 1, False),
        Cell("inverted", 2, 64, 3, 4, False),
    ),
}
"""The cells of the published graphs."""


def moremnas(variant: str = "c", upscale: int = 2, features: int = 32) -> Network:
    """MOREMNAS-C or MOREMNAS-D.

    Parameters
    ----------
    variant : {"c", "d"}
        Which of the networks that were found.
    upscale : int
        2, the published one, or 4, which shuffles the same channels by 4.
    features : int
        Channels of the head and the tail.

    Returns
    -------
    Network
        One channel in and out.

    Raises
    ------
    ValueError
        For another variant or enlargement, or a size out of bounds.

    Notes
    -----
    Chu et al., "Multi-Objective Reinforced Evolution in Mobile Neural Architecture Search" (ECCV
    Workshops 2020).  The printed counts, 25 K for C and 664 K for D, hold biases.
    """
    check_choice("variant", variant, CELLS)
    check_choice("upscale", upscale, (2, 4))
    layers: list[Layer] = [
        Conv("head", features, 3, bias=True),
        ReLU("head_act"),
        *_cells(CELLS[variant]),
        Conv("tail", features, 3, bias=True),
        ReLU("tail_act"),
        Add("sum", inputs=("tail_act", "head_act")),
        DepthToSpace("shuffle", upscale),
        Conv("output", 1, 3, bias=True),
    ]
    return Network(f"moremnas-{variant}-x{upscale}", upscale, 1, tuple(layers))


def _cells(cells: Sequence[Cell]) -> list[Layer]:
    layers: list[Layer] = []
    for i, cell in enumerate(cells):
        make = _inverted if cell.kind == "inverted" else _grouped
        made, first = make(f"cell{i}", cell)
        layers += made
        if cell.skip:
            layers.append(Add(f"cell{i}", inputs=(first, made[-1].name)))
    return layers


def _inverted(name: str, cell: Cell) -> tuple[list[Layer], str]:
    """A 1 x 1 convolution and residual bottlenecks that are wide inside; the name of the first."""
    first = f"{name}.supply"
    layers: list[Layer] = [Conv(first, cell.features, 1, bias=True)]
    wide = cell.factor * cell.features
    for i in range(cell.repeats):
        unit, start = f"{name}.unit{i}", layers[-1].name
        layers += [
            Conv(f"{unit}.expand", wide, cell.kernel_size, bias=True),
            ReLU(f"{unit}.act0"),
            Conv(f"{unit}.depthwise", wide, 3, wide, bias=True),
            ReLU(f"{unit}.act1"),
            Conv(f"{unit}.project", cell.features, cell.kernel_size, bias=True),
            Add(unit, inputs=(f"{unit}.project", start)),
        ]
    return layers, first


def _grouped(name: str, cell: Cell) -> tuple[list[Layer], str]:
    layers: list[Layer] = []
    for i in range(cell.repeats):
        unit = f"{name}.unit{i}"
        conv = Conv(f"{unit}.conv", cell.features, cell.kernel_size, cell.factor, bias=True)
        layers += [conv, ReLU(unit)]
    return layers, f"{name}.unit0"
