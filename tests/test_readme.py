"""The README tells the truth: its Python runs, its commands and files exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sesr_ref as sr
from sesr_ref.cli import COMMANDS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text("utf-8")


def test_the_python_of_the_readme_runs_as_it_stands() -> None:
    pytest.importorskip("numba", reason="its example takes the fast kernels")
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    x = np.random.default_rng(0).random((1, 20, 24, 1)).astype(np.float32)
    net, params = sr.load("sesr-m5-x2")
    names: dict[str, Any] = {"x": x, "candidate": sr.run(net, params, x)}
    exec(code, names)
    assert names["y"].shape == (1, 40, 48, 1)
    assert set(names["tensors"]) == {"input", *(layer.name for layer in names["small"].layers)}
    assert names["report"].agrees


def test_every_command_that_the_readme_names_exists() -> None:
    assert set(re.findall(r"`sesr-ref ([a-z]+)", TEXT)) <= set(COMMANDS)


@pytest.mark.parametrize("path", re.findall(r"\]\(([^)#:]+)\)", TEXT))
def test_every_file_that_the_readme_links_to_exists(path: str) -> None:
    assert (ROOT / path).is_file()
