"""docs/training.md: its tables are what the studies' results, kept beside it, give."""

from __future__ import annotations

import json
import re
from pathlib import Path

import run_ablations
import run_recipe
from study import markdown, read

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = (DOCS / "training.md").read_text("utf-8")


def test_the_recipes_table_is_that_of_its_results() -> None:
    found = {outcome.name: outcome for outcome in read(DOCS / "recipe.jsonl")}
    assert markdown(run_recipe.COLUMNS, run_recipe.rows_for(found)) in PAGE
    for note in run_recipe.notes_for(found):
        assert note in PAGE


def test_the_ablations_table_is_that_of_its_results() -> None:
    table = markdown(run_ablations.COLUMNS, run_ablations.rows_for(read(DOCS / "ablations.jsonl")))
    assert table in PAGE


def test_the_points_of_the_long_run_are_those_of_its_log() -> None:
    rows = map(json.loads, (DOCS / "m5-run.jsonl").read_text("utf-8").splitlines())
    curve = {row["step"]: row["psnr_db"] for row in rows}
    told = re.findall(r"(\d\d\.\d\d) dB after (\d+ \d{3})\b", PAGE)
    assert len(told) >= 4
    for psnr_db, steps in told:
        assert f"{curve[int(steps.replace(' ', ''))]:.2f}" == psnr_db


def test_its_pictures_are_there() -> None:
    for name in re.findall(r"\]\((\w+\.png)\)", PAGE):
        assert (DOCS / name).is_file()
