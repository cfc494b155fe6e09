"""The README tells the truth: its Python runs, its commands and files exist."""

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


def test_every_command_that_the_readme_names_exists() -> None:
    assert set(re.findall(r"`sesr-ref ([a-z]+)", TEXT)) <= set(COMMANDS)


@pytest.mark.parametrize("path", re.findall(r"\]\(([^)#:]+)\)", TEXT))
def test_every_file_that_the_readme_links_to_exists(path: str) -> None:
    assert (ROOT / path).is_file()
