"""Parameters and multiply-accumulates of the paper's tables beside ours: python bench/run_macs.py.

Bhardwaj et al. (MLSys 2022), Tables 1 to 3, for an output of 1280 x 720; then later networks beside
what their authors print.  Conventions: parameters are convolution weights, a MAC is one of a
convolution, a transposed convolution is counted at its output, and the collapsed network is
counted; a printed figure that counts something else is marked *, counted so as well, and the reason
given.  Exit code 1 if a computed figure is off by more than half a unit of the last printed digit
and more than 1 %, or a ratio from the one in the text.
"""

from __future__ import annotations

import argparse
import sys

import sesr_ref as sr
from sesr_ref.architectures import btsrn
from sesr_ref.commands.console import print_table
from sesr_ref.counting import cost
from sesr_ref.network import LinearBlock, Network
from tables.counted import MARGIN, at_720p, compare, print_comparison
from tables.later_networks import LATER, LATER_OTHERWISE
from tables.macs_tables import RATIOS, TABLES, Row

BICUBIC = Row("Bicubic", "-", "-")


def print_ratios() -> bool:
    """Print the text's ratios beside ours; a cited model's figure is its printed one.

    Returns
    -------
    bool
        Whether each is as stated: rounded or cut at its last digit.
    """

    def macs(model: str, upscale: int) -> float:
        row = next(row for row in TABLES[upscale] if row.model == model)
        figures = compare(row, upscale)
        return figures["macs"].ours if figures else row.macs * 1e9

    cells, ok = [], True
    for first, second, upscale, stated, digits in RATIOS:
        ours = macs(first, upscale) / macs(second, upscale)
        ok &= abs(ours - stated) < 10.0**-digits
        cells.append((f"{first} / {second}, x{upscale}", stated, f"{ours:.2f}"))
    print_table("Ratios of MACs in the text", ("", "stated", "ours"), cells)
    print()
    return ok


def collapse_macs(net: Network, algorithm_1: bool) -> int:
    """Multiply-accumulates of collapsing every linear block once.

    Parameters
    ----------
    net : Network
        With its linear blocks.
    algorithm_1 : bool
        Algorithm 1 runs N_in images of (2k - 1)^2 zero-padded pixels through the block, of which
        k^2 outputs each are valid; the closed form is one product ``expand @ project``.

    Returns
    -------
    int
    """
    total, shapes = 0, net.shapes(16, 24)
    for layer, inputs in net.steps():
        if isinstance(layer, LinearBlock):
            channels, taps = shapes[inputs[0]][2], layer.kernel_size**2
            product = taps * channels * layer.expand * layer.features
            images = channels * taps * taps * channels * layer.expand
            total += product + (images if algorithm_1 else 0)
    return total


def training_figures() -> list[tuple[str, float, float]]:
    """(what, stated in section 3.3, ours): M5 x2, forward, a batch of 32 crops of 64 x 64."""
    net = sr.sesr(5)
    crops = 32
    forward = crops * cost(net, 64, 64).macs
    algorithm, closed = (collapse_macs(net, choice) for choice in (True, False))
    return [
        ("expanded", 41.77e9, crops * cost(sr.expanded(net), 64, 64).macs),
        ("collapsed, network alone", 1.772e9, forward),
        ("Algorithm 1 alone", 71.1e6, algorithm),
        ("collapsed by Algorithm 1 at every step", 1.84e9, forward + algorithm),
        ("closed form alone (not in the paper)", 3.46e6, closed),
        ("collapsed by the closed form at every step", 1.772e9 + 3.46e6, forward + closed),
    ]


def full_hd_figures() -> list[tuple[str, float, float]]:
    """(what, MACs in Table 3, ours) for a 1920 x 1080 input."""
    nets = (
        ("FSRCNN x2, 4K", 54e9, sr.fsrcnn()),
        ("SESR-M5 x2, 4K", 28e9, sr.sesr()),
        ("SESR-M5 x4, 8K", 38e9, sr.sesr(upscale=4)),
    )
    return [(name, stated, cost(net, 1080, 1920).macs) for name, stated, net in nets]


def print_figures(title: str, rows: list[tuple[str, float, float]]) -> bool:
    """Print figures beside ours; whether all are within the margin."""
    cells = [
        (name, f"{stated / 1e9:.4g}", f"{ours / 1e9:.4g}", f"{100 * (ours / stated - 1):+.2f} %")
        for name, stated, ours in rows
    ]
    print_table(title, ("", "stated, G", "ours, G", "diff."), cells)
    print()
    return all(abs(ours / stated - 1) <= MARGIN for _, stated, ours in rows)


def print_fsrcnn() -> None:
    """Print FSRCNN's MACs under both conventions for its transposed convolution."""
    print_table(
        "FSRCNN's 9 x 9 transposed convolution, G MACs of the network by convention",
        ("", "at its output (the paper's)", "at its input"),
        [
            (
                f"x{upscale}",
                *(
                    f"{at_720p(sr.fsrcnn(upscale), where).macs / 1e9:.2f}"
                    for where in ("output", "input")
                ),
            )
            for upscale in (2, 4)
        ],
    )
    print()


def print_btsrn() -> None:
    """Print BTSRN's counts in both variants, and the ratio to SESR-XL that the text states."""
    rows = []
    for upscale in (2, 4):
        xl = at_720p(sr.sesr(11, 32, upscale)).macs
        variants = {
            "as printed: 64 / 64 channels, Y, nearest": btsrn(upscale),
            "authors' code: 128 / 64, RGB, deconvolutions": sr.architecture(
                f"btsrn-code-x{upscale}"
            ),
        }
        for name, net in variants.items():
            counts = [at_720p(net, where) for where in ("output", "input")]
            rows.append(
                (
                    f"x{upscale}, {name}",
                    f"{counts[0].parameters / 1e3:.1f}",
                    *(f"{counted.macs / 1e9:.1f}" for counted in counts),
                    f"{counts[0].macs / xl:.2f}",
                )
            )
    columns = ("", "K param.", "G MACs", "deconvolutions at their input", "of SESR-XL's")
    print_table("BTSRN, of which the tables print the first variant", columns, rows)
    print()


def main() -> int:
    """Print everything; 1 if a figure is off."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(__doc__.partition("\n\n")[2])
    checks = [
        print_comparison(f"Table {upscale // 2}", upscale, (BICUBIC, *rows))
        for upscale, rows in TABLES.items()
    ]
    checks.append(print_ratios())
    print_fsrcnn()
    print_btsrn()
    checks.append(
        print_figures("Training, M5 x2, forward, 32 crops of 64 x 64", training_figures())
    )
    checks.append(print_figures("1920 x 1080 input, MACs (Table 3)", full_hd_figures()))
    checks += [
        print_comparison("Later networks", upscale, rows, LATER_OTHERWISE)
        for upscale, rows in LATER.items()
    ]
    margins = "within 1 % or half a unit of the last printed digit"
    print(f"all {margins}" if all(checks) else f"FAILED: a figure is not {margins}")
    return 0 if all(checks) else 1


if __name__ == "__main__":
    sys.exit(main())
