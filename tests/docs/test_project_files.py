"""What stands around the code: links, versions, the site's pages, the Makefile, the file checks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PAGES = [
    *(
        ROOT / name
        for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "weights/README.md")
    ),
    *sorted((ROOT / "docs").glob("*.md")),
]
WRITTEN_AT_BUILD = ("docs/api/", "docs/gallery/")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text):
        path = (page.parent / target).resolve()
        if not str(path.relative_to(ROOT)).startswith(WRITTEN_AT_BUILD):
            assert path.exists(), f"{page.name} links to {target}"


def test_every_page_is_in_the_sites_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text("utf-8")
    listed = set("\n".join(re.findall(r"```\{toctree\}(.*?)```", index, re.DOTALL)).split())
    assert {page.stem for page in (ROOT / "docs").glob("*.md")} - {"index"} <= listed


def test_the_readme_is_a_page() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert text.count("\n") <= 66
    assert "PSNR |" not in text


def test_the_version_is_the_same_everywhere() -> None:
    version = PROJECT["project"]["version"]
    newest = re.search(r"^## ([\d.]+) - \d{4}-\d\d-\d\d$", _text("CHANGELOG.md"), re.MULTILINE)
    assert newest
    assert newest[1] == version
    assert f"\nversion: {version}\n" in _text("CITATION.cff")
    assert "arXiv:2103.09404" in _text("CITATION.cff")


def test_the_changelog_has_three_kinds_of_entries() -> None:
    assert set(re.findall(r"^### (.*)$", _text("CHANGELOG.md"), re.MULTILINE)) <= {
        "Added",
        "Changed",
        "Fixed",
    }


def test_check_needs_what_the_extra_docs_brings() -> None:
    extra = PROJECT["project"]["optional-dependencies"]["docs"]
    groups = PROJECT["dependency-groups"]
    assert extra == ["sesr-ref[all]", *groups["docs"]]
    assert {"include-group": "docs"} in groups["dev"]


def test_help_names_every_target() -> None:
    makefile = _text("Makefile")
    targets = re.findall(r"^([a-z]+):", makefile, re.MULTILINE)
    assert targets
    for target in set(targets) - {"help"}:
        assert f'@echo "make {target} ' in makefile
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony
    assert set(phony[1].split()) == set(targets)


@pytest.mark.parametrize(
    ("name", "data", "fault"),
    [
        ("good.md", b"fine\n", ""),
        ("empty.py", b"", ""),
        ("picture.png", b"\x89PNG\0\r\n \n", ""),
        ("blank.md", b"a \nb\n", "blank.md:1: blanks at the end of the line"),
        ("end.md", b"a", "end.md: must end with one newline"),
        ("ends.md", b"a\n\n", "ends.md: must end with one newline"),
        ("dos.md", b"a\r\n", "dos.md: a carriage return"),
        ("latin.md", b"\xe9\n", "latin.md: not UTF-8"),
        ("merge.py", b"<" * 7 + b" HEAD\n", "merge.py:1: the mark of a merge"),
        ("bad.json", b"{\n", "bad.json: "),
        ("bad.toml", b"a = \n", "bad.toml: "),
        ("large.npz", b"\0" * 3_000_001, "large.npz: 3000001 bytes"),
    ],
)
def test_the_file_check_finds(tmp_path: Path, name: str, data: bytes, fault: str) -> None:
    (tmp_path / name).write_bytes(data)
    script = [sys.executable, str(ROOT / ".ci" / "check_files.py"), name]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == bool(fault), done.stderr
    assert fault in done.stdout
    assert bool(done.stdout) == bool(fault)


def _text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")
