"""Shipped weights: names and files, the manifest's hashes, and every way it can be damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import sesr_ref as sr
from sesr_ref import shipped as shipped_module
from sesr_ref.commands.models import load_model
from sesr_ref.files import sha256_of
from sesr_ref.shipped import smallest

NET = sr.sesr(blocks=2, features=3, expand=5)


def folder_with(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of weights that ships one network, called mine."""
    params = sr.initialise(NET)
    sr.save(path / "a.npz", NET, params)
    sr.save(path / "b.npz", sr.collapsed(NET), sr.collapse_params(NET, params))
    entry: dict[str, Any] = {
        "scores": {},
        **fact(path / "a.npz"),
        "collapsed": fact(path / "b.npz"),
    }
    (path / "manifest.json").write_text(json.dumps({"mine": entry}))
    monkeypatch.setattr(shipped_module, "weights_folder", lambda: path)
    return path


def fact(file: Path) -> dict[str, str]:
    return {"file": file.name, "sha256": sha256_of(file)}


def test_a_name_loads_linear_blocks_and_with_a_suffix_their_collapse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_with(tmp_path, monkeypatch)
    assert sr.load("mine")[0] == NET
    assert sr.load("mine-collapsed")[0] == sr.collapsed(NET)
    assert load_model("mine")[0] == sr.collapsed(NET)
    assert load_model("mine", small=False)[0] == NET
    assert [smallest(name) for name in ("mine", "yours")] == ["mine-collapsed", "yours"]
    with pytest.raises(FileNotFoundError, match="yours-collapsed: no such file and no shipped"):
        sr.load("yours-collapsed")


@pytest.mark.parametrize(("name", "file"), [("mine", "a.npz"), ("mine-collapsed", "b.npz")])
def test_a_shipped_file_must_have_the_manifests_sha256(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, file: str
) -> None:
    folder_with(tmp_path, monkeypatch)
    sr.save(tmp_path / file, NET, sr.initialise(NET, 1))
    with pytest.raises(ValueError, match=rf"{file}: SHA-256 is"):
        sr.load(name)
    (tmp_path / file).unlink()
    with pytest.raises(FileNotFoundError, match=file):
        sr.load(name)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"a": {}}',
        '{"a": {"file": "../x", "sha256": "", "scores": {}}}',
        '{"a": {"file": "x", "sha256": "", "scores": []}}',
        '{"a": {"file": "x", "sha256": "", "scores": {}, "collapsed": {"file": "../x"}}}',
    ],
)
def test_a_damaged_manifest_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "manifest.json").write_text(text)
    monkeypatch.setattr(shipped_module, "weights_folder", lambda: tmp_path)
    with pytest.raises(ValueError, match=r"manifest\.json: a damaged manifest"):
        sr.load("a")
