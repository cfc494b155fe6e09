"""docs/extending.md: its network runs, its description is read, its tables are those there are."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

import sesr_ref as sr
from sesr_ref.cli import main
from sesr_ref.network import Network

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text("utf-8")
architectures: Any = importlib.import_module("sesr_ref.architectures")
NETWORK, USE, ROW = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[:3]


def names_of(*codes: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    for code in codes:
        exec(code, names)
    return names


def test_its_python_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = names_of(NETWORK, USE)
    assert names["y"].shape == (2, 60, 80, 1)
    assert names["report"].agrees
    assert sr.load("mine.npz")[0] == names["net"]


def test_a_row_makes_it_known_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # the same table, since commands keep it; the row is gone afterwards
    known = architectures.NAMES
    monkeypatch.setitem(known, "two-branches-x{upscale}", known["span-x{upscale}"])
    names = {**vars(architectures), **names_of(NETWORK)}
    exec(ROW, names)
    assert architectures.architecture("two-branches-x4").upscale == 4
    assert "two-branches-x2" in architectures.architectures()
    assert main(["info", "two-branches-x4"]) == 0
    assert "64 x 96 x 1" in capsys.readouterr().out


def test_its_description_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (text,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert Network.from_json(text).name == "smallest-x2"
    path = tmp_path / "smallest.json"
    path.write_text(text, encoding="utf-8")
    for command in re.findall(r"^sesr-ref (.*)$", PAGE, re.MULTILINE):
        assert main([word.replace("smallest.json", str(path)) for word in command.split()]) == 0
    assert "smallest-x2" in capsys.readouterr().out


def test_the_tables_it_names_are_there() -> None:
    section = PAGE.split("## Where each tool")[1].split("\n## ")[0]
    rows = re.findall(r"^\| .* \| (`.*`) \| (.*) \|$", section, re.MULTILINE)
    assert len(rows) == 12
    for tables, files in rows:
        first, *others = re.findall(r"`([\w/]+\.py)`", files)
        paths = [ROOT / first]
        folder = paths[0].parents[1] if first.startswith("kernels") else paths[0].parent
        paths += [ROOT / other if "sesr" in other else folder / other for other in others]
        for table, path in zip(re.findall(r"`(\w+)`", tables), paths, strict=True):
            text = path.read_text("utf-8")
            assert re.search(rf"^{table}\b.*[=:]", text, re.MULTILINE), path
