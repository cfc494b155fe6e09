"""The paper's ablations (section 4.4): python bench/run_ablations.py --data D --val V --out RUNS.

Trains four variants of SESR-M11 x2 for 20 000 small steps with two seeds each into RUNS/NAME
(finished runs are not repeated) and scores them on the images of --val.  Prints the table with the
paper's values, writes RUNS/ablations.md and RUNS/ablations.jsonl and, with --figure, the curves.
Each run takes about 15 minutes on one core.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence

from sesr_ref.commands.console import notice, one_line, print_table
from studies.study import Outcome, Variant, draw, markdown, outcomes, parser, write

BASE = (
    "--blocks 11 --steps 20000 --batch 16 --crop 32 --lr 4e-4 --schedule cosine --warmup 1000 "
    "--amsgrad --average 0.999 --validate-every 1000"
)
CHANGES = {
    "full": ("full", "", 35.45),
    "noshort": ("no short residuals", "--no-short-residuals", 33.65),
    "nolinear": ("no linear blocks", "--no-linear-blocks", 35.25),
    "relu": ("ReLU, no input residual", "--activation relu --no-input-residual", 35.35),
}
"""Folder: description, options, the paper's PSNR in dB on DIV2K after 480 000 large steps."""

SEEDS = (0, 1)
VARIANTS = tuple(
    Variant(f"abl-{key}-s{seed}", what, f"{options} --seed {seed}", f"seed {seed}")
    for seed in SEEDS
    for key, (what, options, _) in CHANGES.items()
)
COLUMNS = (
    "M11 x2",
    *(f"seed {seed}" for seed in SEEDS),
    "mean",
    "to full",
    "paper",
    "paper, to full",
)


def rows_for(found: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """One row for each change: every seed, their mean, the loss, and the paper's values."""
    scores = {outcome.name: outcome.psnr_db for outcome in found}
    rows: list[tuple[str, ...]] = []
    full: float | None = None
    for key, (what, _, paper) in CHANGES.items():
        own = [scores.get(f"abl-{key}-s{seed}") for seed in SEEDS]
        done = [score for score in own if score is not None]
        mean = statistics.fmean(done) if done else None
        if key == "full":
            full = mean
        change = mean - full if mean is not None and full is not None and key != "full" else None
        rows.append(
            (
                what,
                *map(_number, own),
                _number(mean),
                _number(change, "+"),
                f"{paper:.2f}",
                "-" if key == "full" else f"{paper - CHANGES['full'][2]:+.2f}",
            )
        )
    return rows


def _number(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.3f}"


def main() -> int:
    """Run the study; 2 if it fails, 130 after Ctrl-C."""
    args = parser(__doc__).parse_args()
    try:
        found = outcomes(args, BASE, VARIANTS)
    except (ValueError, OSError, RuntimeError) as error:
        notice(one_line(error))
        return 2
    except KeyboardInterrupt:
        notice("interrupted: the same command resumes")
        return 130
    rows = rows_for(found)
    print_table(f"PSNR in dB; {BASE}", COLUMNS, rows)
    write(args.out, "ablations", markdown(COLUMNS, rows), found)
    if args.figure:
        panels = {f"seed {seed}": [o for o in found if o.group == f"seed {seed}"] for seed in SEEDS}
        draw(args.figure, "SESR-M11 x2: the ablations of section 4.4", panels)
    return 0


if __name__ == "__main__":
    sys.exit(main())
