"""docs/kernels.md: what it shows as printed is printed, and its numbers of rings are right."""

from __future__ import annotations

import re
import shlex

import pytest

from checks import ROOT, need_kernels, python

need_kernels()

PAGE = (ROOT / "docs" / "kernels.md").read_text("utf-8")
PRINTED = re.findall(r"^```console\n\$ python -m (\S+) (.*?)\n(.*?)^```", PAGE, re.M | re.S)
AS_ON_THE_PAGE = """
import sys
from sesr_kernels.machine import host
host.HOST, host.second_level_cache = host.HOSTS["avx512"], lambda: 2 << 20
from sesr_kernels.explain.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
"""The processor that the page states, in the place of this one: nothing is compiled."""


@pytest.mark.parametrize(("module", "arguments", "shown"), PRINTED, ids=lambda part: part[:30])
def test_what_the_page_shows_is_printed(module: str, arguments: str, shown: str) -> None:
    assert module == "sesr_kernels.explain"
    done = python(AS_ON_THE_PAGE, *shlex.split(arguments))
    assert done.returncode == 0, done.stderr
    assert done.stdout == shown


def test_the_page_shows_the_command_twice() -> None:
    assert len(PRINTED) == 2


def test_the_rings_explained_by_hand_are_those_rehearsed() -> None:
    import sesr_ref as sr
    from sesr_kernels.explain.inference import explain

    rows = dict(re.findall(r"^\| `(\w+)` \| t.* \| (\d+) \|$", PAGE, re.M))
    found = explain(sr.collapsed(sr.sesr(1)), 540, 960, 1, winograd=False)
    assert rows == {op.makes: str(op.rows) for op in found.operations if op.rows}


def test_every_file_that_the_page_names_is_there() -> None:
    package = ROOT / "kernels" / "sesr_kernels"
    last = ""
    for name in re.findall(r"`([\w/]+\.py)`", PAGE):
        folder, _, _ = name.rpartition("/")
        last = folder or last  # `inference/rings.py`, `bands.py`
        folders = (package, package / last, ROOT)
        assert any((folder / name).is_file() for folder in folders), name
