"""Printed counts beside ours, with the reasons where a printed one counts something else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sesr_ref.commands.console import print_table
from sesr_ref.counting import Cost, cost
from sesr_ref.network import Network
from tables.macs_tables import OTHERWISE, Otherwise, Row

MARGIN = 0.01
"""Of the printed figure; half a unit of its last digit is allowed too."""
HIGH_HEIGHT, HIGH_WIDTH = 720, 1280
UNITS = {"parameters": 1e3, "macs": 1e9}
SHORT = {"parameters": "K", "macs": "G"}
NOT_PRINTED = "-"


def at_720p(net: Network, transposed: str = "output") -> Cost:
    """Count for an output of 1280 x 720."""
    return cost(net, HIGH_HEIGHT // net.upscale, HIGH_WIDTH // net.upscale, transposed)


@dataclass(frozen=True)
class Figure:
    """A printed figure, ours, and ours counted as the printed one was (`reason` says how)."""

    text: str
    unit: float
    ours: int
    as_printed: int
    reason: str

    @property
    def is_printed(self) -> bool:
        """Whether there is something to compare with."""
        return self.text != NOT_PRINTED

    @property
    def difference(self) -> float:
        """Relative to the printed figure."""
        return self.as_printed / (float(self.text) * self.unit) - 1

    @property
    def ok(self) -> bool:
        """Whether it is within the margin: one in a hundred, or half a unit of the last digit."""
        if not self.is_printed or abs(self.difference) <= MARGIN:
            return True
        digits = len(self.text.partition(".")[2])
        return abs(self.as_printed / self.unit - float(self.text)) <= 0.5 * 10.0**-digits

    def cells(self) -> list[str]:
        """Ours, and the difference."""
        ours = f"{self.ours / self.unit:.2f}"
        if not self.is_printed:
            return [ours, "-"]
        return [ours, f"{100 * self.difference:+.2f} %{'*' if self.reason else ''}"]


def compare(row: Row, upscale: int, otherwise: Otherwise = OTHERWISE) -> dict[str, Figure]:
    """Both figures of a row that there is a network for; nothing for a cited one."""
    if row.build is None:
        return {}
    counted, figures = at_720p(row.build(upscale)), {}
    for column, unit in UNITS.items():
        ours = getattr(counted, column)
        count, reason = otherwise.get((row.model, upscale, column), (None, ""))
        text = getattr(row, f"printed_{column}")
        figures[column] = Figure(text, unit, ours, count() if count else ours, reason)
    return figures


def print_comparison(
    title: str, upscale: int, rows: Sequence[Row], otherwise: Otherwise = OTHERWISE
) -> bool:
    """Print one table with the reasons for the rows that count something else.

    Parameters
    ----------
    title : str
        Its first words.
    upscale : int
        The enlargement.
    rows : sequence of Row
        What is printed.
    otherwise : dict
        The figures that count something else.

    Returns
    -------
    bool
        Whether all figures are within the margin.
    """
    cells, reasons, ok = [], dict[str, dict[str, list[str]]](), True
    for row in rows:
        figures, line = compare(row, upscale, otherwise), [row.model]
        for column in UNITS:
            line.append(getattr(row, f"printed_{column}"))
            if column not in figures:
                line += ["-", "-"]
                continue
            figure = figures[column]
            ok &= figure.ok
            line += figure.cells()
            if figure.reason:
                counted = f"{figure.as_printed / figure.unit:.2f} {SHORT[column]}"
                models = reasons.setdefault(f"* {figure.reason}", {})
                models.setdefault(row.model, []).append(counted)
        if row.cited:
            reasons[row.cited] = {
                row.model: [f"{row.printed_parameters} K", f"{row.printed_macs} G"]
            }
        cells.append((*line, "cited" if row.cited else ""))
    columns = ("model", "K param.", "ours", "diff.", "G MACs", "ours", "diff.", "")
    width = HIGH_WIDTH // upscale * upscale
    print_table(f"{title}, x{upscale}, output {width} x {HIGH_HEIGHT}", columns, cells)
    for reason, models in reasons.items():
        who = "; ".join(f"{model} ({', '.join(counts)})" for model, counts in models.items())
        print(f"  {reason}: {who}")
    print()
    return ok
