"""docs/speed.md and docs/speed-avx2.md state what the committed measurements print."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REPORTS = {"docs/speed.md": "speed.json", "docs/speed-avx2.md": "speed-avx2.json"}
"""Document and the report whose tables it has."""


def printed(report: str) -> list[str]:
    """The tables that run_speed.py --table prints, and the line on the machine."""
    found = json.loads((ROOT / "bench/results" / report).read_text("utf-8"))
    text: str = importlib.import_module("speed.report").markdown(found, ["m5-x2"])
    return text.split("\n\n")


@pytest.mark.parametrize("path", REPORTS)
def test_every_table_is_in_the_document(path: str) -> None:
    document = (ROOT / path).read_text("utf-8")
    for section in printed(REPORTS[path]):
        assert section in document


@pytest.mark.parametrize("path", REPORTS)
def test_no_other_figures_are_stated(path: str) -> None:
    sections = (ROOT / path).read_text("utf-8").split("\n\n")
    tables = [s.strip() for s in sections if s.startswith("| ") and "sesr_ref fast" in s]
    assert tables
    assert set(tables) <= set(printed(REPORTS[path]))
