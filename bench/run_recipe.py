"""What each part of the recipe is worth: python bench/run_recipe.py --data D --val V --out RUNS.

Trains SESR-M5 x2 briefly, with one change at a time and two seeds, into RUNS/NAME (finished runs
are not repeated), and scores each on the images of --val.  Prints the table, writes RUNS/recipe.md
and RUNS/recipe.jsonl and, with --figure, the curves.  Each run takes a minute and a half on one
core; --seeds 0 trains only the first seed, which halves the number of runs.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sesr_ref.commands.console import notice, one_line, print_table
from studies.study import Outcome, Variant, draw, markdown, outcomes, parser, write

BASE = (
    "--blocks 5 --steps 3000 --batch 16 --crop 32 --lr 5e-4 --schedule cosine --warmup 300 "
    "--amsgrad --average 0.999 --validate-every 500"
)
BASE_PIXELS = 3000 * 16 * 32**2
PAPER = "--schedule constant --warmup 0 --no-amsgrad --average 0"
RATE, CROPS, NETWORK = "schedule and optimiser", "rate, crops, batch", "network, start, loss"
LONG = "five times the steps"
SEEDS = (0, 1)
BASE_SEEDS = (0, 1, 2)


class Change(NamedTuple):
    """One line of the table; its runs are in the folders ``key-s0`` and ``key-s1``."""

    key: str
    what: str
    options: str
    group: str


CHANGES = (
    Change("paper", "the paper's: constant rate, plain Adam, no average", PAPER, RATE),
    Change("slope-25", "slopes start at 0.25", "--slope 0.25", NETWORK),
    Change("no-average", "no moving average", "--average 0", RATE),
    Change("no-amsgrad", "plain Adam", "--no-amsgrad", RATE),
    Change("constant", "constant rate", "--schedule constant", RATE),
    Change("linear", "linear decay", "--schedule linear", RATE),
    Change("charbonnier", "Charbonnier loss", "--loss charbonnier", NETWORK),
    Change("collapse-64", "collapse in float64", "--collapse-dtype float64", NETWORK),
    Change("no-warmup", "no warm-up", "--warmup 0", RATE),
    Change("no-linear-blocks", "no linear blocks", "--no-linear-blocks", NETWORK),
    Change("paper-5x", "the paper's, five times the steps", f"{PAPER} --steps 15000", LONG),
    Change("base-5x", "base, five times the steps", "--steps 15000", LONG),
    Change(
        "no-short-5x",
        "no short residuals, five times the steps",
        "--no-short-residuals --steps 15000",
        LONG,
    ),
    Change("lr-2.5e-4", "rate 2.5e-4", "--lr 2.5e-4", CROPS),
    Change("lr-7e-4", "rate 7e-4", "--lr 7e-4", CROPS),
    Change("no-short", "no short residuals", "--no-short-residuals", NETWORK),
    Change("no-short-he", "no short residuals, He's", "--no-short-residuals --init he", NETWORK),
    Change("relu", "ReLU, no input residual", "--activation relu --no-input-residual", NETWORK),
    Change("expand-64", "expand 64", "--expand 64", NETWORK),
    Change("true-bias", "true biases", "--block-bias true", NETWORK),
    Change("crop-48", "7 crops of 48 x 48", "--crop 48 --batch 7", CROPS),
    Change("crop-16", "64 crops of 16 x 16", "--crop 16 --batch 64", CROPS),
    Change("batch-32-half", "32 crops, half the steps", "--batch 32 --steps 1500", CROPS),
    Change("init-he", "He's initialisation", "--init he", NETWORK),
    Change("init-lecun", "LeCun's initialisation", "--init lecun", NETWORK),
    Change("average-9995", "moving average 0.9995", "--average 0.9995", RATE),
    Change("expand-512", "expand 512", "--expand 512", NETWORK),
    Change("batch-32", "32 crops", "--batch 32", CROPS),
)


def variants(seeds: Sequence[int]) -> tuple[Variant, ...]:
    """Every run: the base with all its seeds, then the changes, seed after seed."""
    base = [Variant(f"base-s{seed}", "base", f"--seed {seed}") for seed in BASE_SEEDS]
    others = [
        Variant(f"{key}-s{seed}", what, f"{options} --seed {seed}", group)
        for seed in seeds
        for key, what, options, group in CHANGES
    ]
    return (*base, *others)


class Line(NamedTuple):
    """Runs of one change, and their differences in dB from the base with the same seed."""

    runs: Sequence[Outcome]
    differences: Sequence[float | None]

    @property
    def known(self) -> list[float]:
        """The differences that are known."""
        return [d for d in self.differences if d is not None]


def lines_for(found: Mapping[str, Outcome]) -> dict[str, Line]:
    """The changes with at least one finished run."""
    lines = {}
    for key in (change.key for change in CHANGES):
        runs = [run for seed in SEEDS if (run := found.get(f"{key}-s{seed}"))]
        scores = [(_score(found, key, seed), _score(found, "base", seed)) for seed in SEEDS]
        differences = [None if a is None or b is None else a - b for a, b in scores]
        if runs:
            lines[key] = Line(runs, differences)
    return lines


def _score(found: Mapping[str, Outcome], key: str, seed: int) -> float | None:
    return found[name].psnr_db if (name := f"{key}-s{seed}") in found else None


def base_scores(found: Mapping[str, Outcome]) -> list[float]:
    """PSNR in dB of the base with each of its seeds."""
    return [s for seed in BASE_SEEDS if (s := _score(found, "base", seed)) is not None]


def noise(found: Mapping[str, Outcome]) -> float | None:
    """Standard deviation in dB of the difference of two runs that differ only in the seed."""
    scores = base_scores(found)
    return math.sqrt(2) * statistics.stdev(scores) if len(scores) == len(BASE_SEEDS) else None


def kept(line: Line, deviation: float | None) -> str:
    """Whether to adopt the change, and if not, why."""
    share = line.runs[0].pixels / BASE_PIXELS
    if any(run.psnr_db is None for run in line.runs):
        return "no: diverged"
    if share > 1.1:
        return f"no: {share:.0f} x the pixels"
    if deviation is None or not line.known:
        return "-"
    change = statistics.fmean(line.known)
    if abs(change) <= 2 * deviation / math.sqrt(len(line.known)):
        return "no: within noise"
    return "yes" if change > 0 else "no: worse"


COLUMNS = (
    "what",
    "steps",
    "pixels / M",
    *(f"seed {seed}" for seed in SEEDS),
    *(f"to base, seed {seed}" for seed in SEEDS),
    "CPU s",
    "kept",
)


def rows_for(found: Mapping[str, Outcome]) -> list[tuple[str, ...]]:
    """One row for the base and for each change."""
    lines, deviation = lines_for(found), noise(found)
    base = [run for seed in SEEDS if (run := found.get(f"base-s{seed}"))]
    rows = [_row(found, "base", base, [None] * len(SEEDS), "-")] if base else []
    for key, line in lines.items():
        rows.append(_row(found, key, line.runs, line.differences, kept(line, deviation)))
    return rows


def _row(
    found: Mapping[str, Outcome],
    key: str,
    runs: Sequence[Outcome],
    differences: Sequence[float | None],
    verdict: str,
) -> tuple[str, ...]:
    hours = [run.cpu_hours for run in runs if run.cpu_hours is not None]
    return (
        runs[0].what,
        f"{runs[0].steps}",
        f"{runs[0].pixels / 1e6:.0f}",
        *(_number(_score(found, key, seed)) for seed in SEEDS),
        *(_number(difference, "+") for difference in differences),
        f"{3600 * statistics.fmean(hours):.0f}" if hours else "-",
        verdict,
    )


def _number(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.3f}"


def notes_for(found: Mapping[str, Outcome]) -> list[str]:
    """Describe the noise, if all seeds of the base are finished."""
    scores, deviation = base_scores(found), noise(found)
    if deviation is None:
        return []
    return [
        f"The base with {len(scores)} seeds: {', '.join(f'{score:.3f}' for score in scores)} dB, "
        f"standard deviation {statistics.stdev(scores):.3f} dB, {deviation:.3f} dB for a "
        "difference of two runs. A change counts as noise up to twice that, divided by the root of "
        "its number of seeds."
    ]


def main() -> int:
    """Run the study; 2 if it fails, 130 after Ctrl-C."""
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, nargs="*", choices=SEEDS, default=SEEDS)
    args = options.parse_args()
    try:
        everything = outcomes(args, BASE, variants(args.seeds))
    except (ValueError, OSError, RuntimeError) as error:
        notice(one_line(error))
        return 2
    except KeyboardInterrupt:
        notice("interrupted: the same command resumes")
        return 130
    found = {outcome.name: outcome for outcome in everything}
    rows, notes = rows_for(found), notes_for(found)
    print_table(f"SESR-M5 x2: {BASE}", COLUMNS, rows)
    print("\n".join(notes))
    write(args.out, "recipe", "\n".join([markdown(COLUMNS, rows), *notes, ""]), everything)
    if args.figure:
        first = [outcome for outcome in everything if outcome.name.endswith("-s0")]
        panels = {
            group: [o for o in first if o.group == group or o.what == "base"]
            for group in (RATE, CROPS, NETWORK, LONG)
        }
        draw(args.figure, "SESR-M5 x2, one thing changed at a time, seed 0", panels)
    return 0


if __name__ == "__main__":
    sys.exit(main())
