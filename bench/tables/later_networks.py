"""Published counts of networks that the paper names in its text, and of later ones.

Each row has its authors' digits, "-" where none are known that count such an output.
"""

from __future__ import annotations

from functools import partial

from sesr_ref.architectures import (
    abpn,
    drcn,
    drrn,
    ecbsr,
    espcn,
    etds,
    quicksrnet,
    span,
    xlsr,
)
from sesr_ref.counting import cost
from sesr_ref.network import Network
from tables.macs_tables import Build, Otherwise, Row, with_biases

QUICK: dict[str, Build] = {
    "Small": quicksrnet,
    "Medium": partial(quicksrnet, blocks=5),
    "Large": partial(quicksrnet, blocks=11, features=64, anchor=True),
}
ETDS = {"T": (5, 16), "S": (4, 32), "M": (6, 32), "L": (7, 48)}
EDGE = {
    # blocks, channels: printed parameters and MACs at x2, at x4
    (4, 8): (("2.8", "0.64"), ("3.7", "0.21")),
    (4, 16): (("10.2", "2.34"), ("11.9", "0.69")),
    (10, 32): (("94.7", "21.81"), ("98.1", "5.65")),
    (16, 64): (("596", "137.31"), ("603", "34.73")),
}


def _etds(blocks: int, features: int) -> Build:
    return lambda upscale: etds(upscale, blocks, features)


def _edge(blocks: int, features: int) -> Build:
    return lambda upscale: ecbsr(upscale, blocks, features)


LATER: dict[int, tuple[Row, ...]] = {
    upscale: (
        Row("ESPCN", "-", "-", espcn),
        Row("DRCN", "1774", "17974.3", drcn),
        Row("DRRN", "297", "6796.9", drrn),
        *(
            Row(f"ECBSR-M{m}C{c}", *printed[upscale == 4], _edge(m, c))
            for (m, c), printed in EDGE.items()
        ),
        Row("XLSR", "-", "-", xlsr),
        Row("ABPN-M4C28", "-", "-", abpn),
        *(Row(f"QuickSRNet-{size}", "-", "-", build) for size, build in QUICK.items()),
        *(Row(f"ETDS-{size}", "-", "-", _etds(m, c)) for size, (m, c) in ETDS.items()),
        Row("SPAN, 48 channels", "-", "-", span),
        Row("SPAN, 52 channels", {2: "481", 4: "498"}[upscale], "-", partial(span, features=52)),
    )
    for upscale in (2, 4)
} | {
    3: (
        Row("XLSR", "22", "-", xlsr),
        Row("QuickSRNet-Medium", "55.0", "-", QUICK["Medium"]),
    )
}
"""Enlargement: rows.  Printed by Ahn et al. (ECCV 2018) for DRCN and DRRN, else by the authors."""


def _with_slopes_twice(net: Network) -> int:
    counted = cost(net, 8, 8)
    return counted.parameters + counted.biases + 2 * counted.slopes


def _edge_otherwise() -> Otherwise:
    reason = "the printed count holds the biases, and the slopes twice"
    found: Otherwise = {}
    for m, c in EDGE:
        for upscale in (2, 4):
            count = partial(_with_slopes_twice, ecbsr(upscale, m, c))
            pixels = 1280 * 720 // upscale**2
            name = f"ECBSR-M{m}C{c}"
            found[name, upscale, "parameters"] = count, reason
            found[name, upscale, "macs"] = partial(_times, pixels, ecbsr(upscale, m, c)), reason
    return found


def _times(pixels: int, net: Network) -> int:
    return pixels * _with_slopes_twice(net)


HOLDS_BIASES = "the printed count holds the biases"
LATER_OTHERWISE: Otherwise = {
    **_edge_otherwise(),
    ("XLSR", 3, "parameters"): (partial(with_biases, xlsr(3)), HOLDS_BIASES),
    ("QuickSRNet-Medium", 3, "parameters"): (
        partial(with_biases, quicksrnet(3, blocks=5)),
        HOLDS_BIASES,
    ),
    **{
        ("SPAN, 52 channels", upscale, "parameters"): (
            partial(with_biases, span(upscale, 52)),
            HOLDS_BIASES,
        )
        for upscale in (2, 4)
    },
}
"""As `tables.macs_tables.OTHERWISE`, of these rows."""
