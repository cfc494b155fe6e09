"""What the paper prints of parameters and MACs, with the networks it counts: Tables 1 and 2.

Bhardwaj et al. (MLSys 2022).  `OTHERWISE` has the printed figures that count something else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import sesr_ref as sr
from sesr_ref.architectures import btsrn, moremnas, tpsr
from sesr_ref.counting import cost
from sesr_ref.network import Network

Build = Callable[[int], Network]
"""From an enlargement to the network that is counted."""


@dataclass(frozen=True)
class Row:
    """One row of a table: thousands of parameters and billions of MACs, with the printed digits.

    `cited` says why there is no network to count.
    """

    model: str
    printed_parameters: str
    printed_macs: str
    build: Build | None = None
    cited: str = ""

    @property
    def parameters(self) -> float:
        """Thousands of parameters."""
        return float(self.printed_parameters)

    @property
    def macs(self) -> float:
        """Billions of MACs."""
        return float(self.printed_macs)


def _sesr(blocks: int, features: int = 16) -> Build:
    return lambda upscale: sr.sesr(blocks, features, upscale)


def _moremnas_c(upscale: int) -> Network:
    return moremnas("c", upscale)


NEVER_PUBLISHED = "its graph was never published where it can be read, and many have its counts"

TABLES: dict[int, tuple[Row, ...]] = {
    2: (
        Row("FSRCNN, their set-up", "12.46", "6.00", sr.fsrcnn),
        Row("FSRCNN", "12.46", "6.00", sr.fsrcnn),
        Row("MOREMNAS-C", "25", "5.5", _moremnas_c),
        Row("SESR-M3", "8.91", "2.05", _sesr(3)),
        Row("SESR-M5", "13.52", "3.11", _sesr(5)),
        Row("SESR-M7", "18.12", "4.17", _sesr(7)),
        Row("TPSR-NoGAN", "60", "14.0", tpsr),
        Row("SESR-M11", "27.34", "6.30", _sesr(11)),
        Row("VDSR", "665", "612.6", sr.vdsr),
        Row("LapSRN", "813", "29.9", sr.lapsrn),
        Row("BTSRN", "410", "207.7", btsrn),
        Row("CARN-M", "412", "91.2", sr.carn_m),
        Row("MOREMNAS-B", "1118", "256.9", cited=NEVER_PUBLISHED),
        Row("SESR-XL", "105.37", "24.27", _sesr(11, 32)),
    ),
    4: (
        Row("FSRCNN, their set-up", "12.46", "4.63", sr.fsrcnn),
        Row("FSRCNN", "12.46", "4.63", sr.fsrcnn),
        Row("SESR-M3", "13.71", "0.79", _sesr(3)),
        Row("SESR-M5", "18.32", "1.05", _sesr(5)),
        Row("SESR-M7", "22.92", "1.32", _sesr(7)),
        Row("TPSR-NoGAN", "61", "3.6", tpsr),
        Row("SESR-M11", "32.14", "1.85", _sesr(11)),
        Row("VDSR", "665", "612.6", sr.vdsr),
        Row("LapSRN", "813", "149.4", sr.lapsrn),
        Row("BTSRN", "410", "165.2", btsrn),
        Row("CARN-M", "412", "32.5", sr.carn_m),
        Row("SESR-XL", "114.97", "6.62", _sesr(11, 32)),
    ),
}


def _all_upsamplers() -> int:
    """Count CARN-M's weights with the upsamplers of all three enlargements, as published."""
    owned: dict[str, int] = {}
    for upscale in (2, 3, 4):
        net = sr.carn_m(upscale)
        owned |= {row.name: row.parameters for row in cost(net, 8, 8).rows}
    return sum(owned.values())


def with_biases(net: Network) -> int:
    """Count weights and biases."""
    counted = cost(net, 8, 8)
    return counted.parameters + counted.biases


Otherwise = dict[tuple[str, int, str], tuple[Callable[[], int], str]]
"""(model, upscale, column): what was printed instead, counted from the descriptions; why."""

OTHERWISE: Otherwise = {
    ("LapSRN", 2, "parameters"): (
        lambda: cost(sr.lapsrn(4), 8, 8).parameters,
        "the printed count is the x4 network's; x2 is its first level alone",
    ),
    ("LapSRN", 2, "macs"): (
        lambda: cost(sr.lapsrn(2), 180, 320).macs,
        "the printed count is for 320 x 180 -> 640 x 360, a quarter of 1280 x 720",
    ),
    ("CARN-M", 2, "parameters"): (
        _all_upsamplers,
        "the printed count holds the upsamplers of x2, x3 and x4; one of them runs",
    ),
    ("CARN-M", 4, "parameters"): (
        _all_upsamplers,
        "the printed count holds the upsamplers of x2, x3 and x4; one of them runs",
    ),
    ("MOREMNAS-C", 2, "parameters"): (
        lambda: with_biases(_moremnas_c(2)),
        "the printed count holds the biases",
    ),
}

RATIOS = (
    # model a, model b, upscale, MACs of a / MACs of b in the text, digits it is given to
    ("VDSR", "SESR-M11", 2, 97, 0),
    ("VDSR", "SESR-M11", 4, 331, 0),
    ("CARN-M", "SESR-XL", 2, 3.75, 2),
    ("BTSRN", "SESR-XL", 2, 8.55, 2),
    ("LapSRN", "SESR-XL", 4, 22.5, 1),
    ("FSRCNN", "SESR-M5", 2, 2, 0),
    ("FSRCNN", "SESR-M5", 4, 4.4, 1),
    ("TPSR-NoGAN", "SESR-M11", 2, 2.2, 1),
)
