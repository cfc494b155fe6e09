"""docs/networks.md: the table is what the command prints, and the names are known."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import sesr_ref as sr
from sesr_ref.architectures import NAMES
from sesr_ref.cli import main

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "networks.md").read_text("utf-8")


def test_the_table_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"^```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert main(["info", "--architectures"]) == 0
    assert capsys.readouterr().out == block


def test_every_network_has_a_source_in_its_table_and_its_docstring() -> None:
    for family in NAMES.values():
        assert re.fullmatch(r"\w+( et al\.)? \d{4}", family.source)
        built = family.build
        function = getattr(built, "func", built)
        author, year = family.source.split()[0], family.source[-4:]
        text = function.__doc__ or ""
        assert author in text
        assert year in text


def test_names_that_the_page_gives_as_examples_are_known() -> None:
    for name in re.findall(r"`([a-z0-9-]+-x\d)`", PAGE):
        assert sr.architecture(name).name == name
