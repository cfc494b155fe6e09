"""The README tells the truth: its Python runs, its commands exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sesr_ref.cli import COMMANDS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text("utf-8")


def test_the_python_of_the_readme_runs_as_it_stands() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["y"].shape == (1, 180, 240, 1)
    assert set(names["tensors"]) == {"input", *(layer.name for layer in names["small"].layers)}
    assert names["report"].agrees


@pytest.mark.parametrize("page", ["README.md", "docs/commands.md"])
def test_every_command_that_a_page_names_exists(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    named = set(re.findall(r"^sesr-ref ([a-z]+)|`sesr-ref ([a-z]+)", text, re.MULTILINE))
    assert {first or second for first, second in named} <= set(COMMANDS)


def test_the_page_of_commands_names_all() -> None:
    text = (ROOT / "docs" / "commands.md").read_text("utf-8")
    assert set(re.findall(r"`sesr-ref ([a-z]+)", text)) == set(COMMANDS)
