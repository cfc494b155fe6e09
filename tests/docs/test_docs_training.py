"""docs/training.md: its tables are what the studies' results, kept beside it, give."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import run_ablations
import run_recipe
from studies.study import markdown, read

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "training.md").read_text("utf-8")


def test_the_recipes_table_is_that_of_its_results() -> None:
    found = {outcome.name: outcome for outcome in read(DOCS / "data" / "recipe.jsonl")}
    assert markdown(run_recipe.COLUMNS, run_recipe.rows_for(found)) in PAGE
    for note in run_recipe.notes_for(found):
        assert note in PAGE


def test_the_ablations_table_is_that_of_its_results() -> None:
    table = markdown(
        run_ablations.COLUMNS, run_ablations.rows_for(read(DOCS / "data" / "ablations.jsonl"))
    )
    assert table in PAGE


@pytest.mark.parametrize(
    ("label", "log"), [("with short residuals", "m5-short-run.jsonl"), ("without", "m5-run.jsonl")]
)
def test_the_points_of_the_long_runs_are_those_of_their_logs(label: str, log: str) -> None:
    rows = map(json.loads, (DOCS / "data" / log).read_text("utf-8").splitlines())
    curve = {row["step"]: f"{row['psnr_db']:.2f}" for row in rows}
    head, told = (re.search(rf"^\| {name} \| (.*) \|$", PAGE, re.M) for name in ("steps", label))
    assert head
    assert told
    steps = [int(step.replace(" ", "")) for step in head[1].split(" | ")]
    assert [curve[step] for step in steps] == told[1].split(" | ")


def test_its_pictures_are_there() -> None:
    for name in re.findall(r"\]\((images/\w+\.png)\)", PAGE):
        assert (DOCS / name).is_file()
