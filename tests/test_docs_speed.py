"""docs/speed.md and the README state what the committed measurements print."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def printed() -> list[str]:
    """The tables that run_speed.py --table prints, and the line on the machine."""
    report = json.loads((ROOT / "bench/results/speed.json").read_text("utf-8"))
    text: str = importlib.import_module("speed_report").markdown(report, ["m5-x2"])
    return text.split("\n\n")


def test_every_table_is_in_the_document(printed: list[str]) -> None:
    document = (ROOT / "docs/speed.md").read_text("utf-8")
    for section in printed:
        assert section in document


@pytest.mark.parametrize("path", ["README.md", "docs/speed.md"])
def test_no_other_figures_are_stated(printed: list[str], path: str) -> None:
    sections = (ROOT / path).read_text("utf-8").split("\n\n")
    tables = [s.strip() for s in sections if s.startswith("| ") and "sesr_ref fast" in s]
    assert tables
    assert set(tables) <= set(printed)
