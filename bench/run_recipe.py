"""What each part of the recipe is worth: python bench/run_recipe.py --data D --val V --out RUNS.

Trains SESR-M5 x2 briefly, with one thing changed at a time, into RUNS/NAME (what is finished is not
trained again), and scores each on the images of --val.  Prints the table, writes RUNS/recipe.md and
RUNS/recipe.json and, with --figure, the curves.  About a minute and a half a line on one core.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence

from sesr_ref.commands.console import notice, one_line, print_table
from study import Outcome, Variant, draw, markdown, outcomes, parser, write

BASE = (
    "--blocks 5 --steps 3000 --batch 16 --crop 32 --lr 5e-4 --schedule cosine --warmup 300 "
    "--amsgrad --average 0.999 --seed 0 --validate-every 500"
)
PAPER = "--schedule constant --warmup 0 --no-amsgrad --average 0"
RATE, CROPS, NETWORK = "schedule and optimiser", "rate, crops, batch", "network, start, loss"
SEEDS = ("base", "seed1", "seed2")
BASE_PIXELS = 3000 * 16 * 32**2
VARIANTS = (
    Variant("base", "base"),
    Variant("seed1", "base, seed 1", "--seed 1"),
    Variant("seed2", "base, seed 2", "--seed 2"),
    Variant("paper", "the paper's: constant rate, plain Adam, no average", PAPER, RATE),
    Variant("no-average", "no moving average", "--average 0", RATE),
    Variant("average-99", "moving average 0.99", "--average 0.99", RATE),
    Variant("average-9995", "moving average 0.9995", "--average 0.9995", RATE),
    Variant("no-amsgrad", "plain Adam", "--no-amsgrad", RATE),
    Variant("no-warmup", "no warm-up", "--warmup 0", RATE),
    Variant("constant", "constant rate", "--schedule constant", RATE),
    Variant("linear", "linear decay", "--schedule linear", RATE),
    Variant("charbonnier", "Charbonnier loss", "--loss charbonnier", NETWORK),
    Variant("true-bias", "true biases", "--block-bias true", NETWORK),
    Variant("collapse-64", "collapse in float64", "--collapse-dtype float64", NETWORK),
    Variant("no-linear-blocks", "no linear blocks", "--no-linear-blocks", NETWORK),
    Variant("expand-64", "expand 64", "--expand 64", NETWORK),
    Variant("init-he", "He's initialisation", "--init he", NETWORK),
    Variant("init-lecun", "LeCun's initialisation", "--init lecun", NETWORK),
    Variant("lr-2.5e-4", "rate 2.5e-4", "--lr 2.5e-4", CROPS),
    Variant("lr-7e-4", "rate 7e-4", "--lr 7e-4", CROPS),
    Variant("crop-16", "64 crops of 16 x 16", "--crop 16 --batch 64", CROPS),
    Variant("crop-48", "7 crops of 48 x 48", "--crop 48 --batch 7", CROPS),
    Variant("batch-32-half", "32 crops, half the steps", "--batch 32 --steps 1500", CROPS),
    Variant("batch-32", "32 crops", "--batch 32", CROPS),
    Variant("expand-512", "expand 512", "--expand 512", NETWORK),
    Variant("paper-5x", "the paper's, five times the steps", f"{PAPER} --steps 15000"),
)


def noise(found: Sequence[Outcome]) -> tuple[float, float] | None:
    """Mean and standard deviation in dB over the seeds of the base, if all are there."""
    by_name = {outcome.name: outcome.psnr_db for outcome in found}
    scores = [score for name in SEEDS if (score := by_name.get(name)) is not None]
    if len(scores) < len(SEEDS):
        return None
    return statistics.fmean(scores), statistics.stdev(scores)


def rows_for(found: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """A row for each variant; those of seed 0 beside the base, which has the same batches."""
    base = next((o.psnr_db for o in found if o.name == "base"), None)
    spread = noise(found)
    rows: list[tuple[str, ...]] = []
    for outcome in found:
        score, change, kept = outcome.psnr_db, "-", "-"
        if base is not None and score is not None and outcome.name not in SEEDS:
            change = f"{score - base:+.3f}"
        if spread is not None and base is not None and outcome.name not in SEEDS:
            kept = _kept(outcome, base, 2 * spread[1])
        seconds = "-" if outcome.cpu_hours is None else f"{3600 * outcome.cpu_hours:.0f}"
        rows.append((
            outcome.what, f"{outcome.steps}", f"{outcome.pixels / 1e6:.0f}",
            "-" if score is None else f"{score:.3f}", change, seconds, kept,
        ))  # fmt: skip
    return rows


def _kept(outcome: Outcome, base: float, noise: float) -> str:
    """Whether to take the change over, and why not."""
    if outcome.psnr_db is None:
        return "no: diverged"
    if outcome.pixels > 1.1 * BASE_PIXELS:
        return f"no: {outcome.pixels / BASE_PIXELS:.0f} x the pixels"
    change = outcome.psnr_db - base
    if abs(change) <= noise:
        return "no: within noise"
    return "yes" if change > 0 else "no: worse"


COLUMNS = ("what", "steps", "pixels / M", "PSNR / dB", "to base", "CPU s", "kept")


def main() -> int:
    """Run the study; 2 if it cannot be."""
    args = parser(__doc__).parse_args()
    try:
        found = outcomes(args, BASE, VARIANTS)
    except (ValueError, OSError, RuntimeError) as error:
        notice(one_line(error))
        return 2
    rows = rows_for(found)
    print_table(f"SESR-M5 x2: {BASE}", COLUMNS, rows)
    text = markdown(COLUMNS, rows)
    if spread := noise(found):
        line = (
            f"Three seeds of the base: {spread[0]:.3f} dB, standard deviation {spread[1]:.3f} dB."
        )
        print(line)
        text += f"\n{line}\n"
    write(args.out, "recipe", text, found)
    if args.figure:
        base = [outcome for outcome in found if outcome.name == "base"]
        panels = {
            group: base + [outcome for outcome in found if outcome.group == group]
            for group in (RATE, CROPS, NETWORK)
        }
        draw(args.figure, "SESR-M5 x2, one thing changed at a time", panels)
    return 0


if __name__ == "__main__":
    sys.exit(main())
