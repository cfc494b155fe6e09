"""sesr-ref demo: what it prints and writes, and that it leaves the user's photograph alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import sesr_ref as sr
from sesr_ref.cli import main

pytest.importorskip("imageio")
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a small network and a photograph of 90 x 81 pixels."""
    net = sr.sesr(blocks=1, features=4, expand=4)
    sr.save(tmp_path / "model.npz", net, sr.initialise(net, seed=1))
    photo = np.random.default_rng(3).integers(0, 256, (81, 90, 3), np.uint8)
    sr.write_image(tmp_path / "photo.png", photo)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def demo(*arguments: str) -> int:
    return main(["demo", *arguments, "-n", "model.npz", "--engine", "reference"])


def test_the_table_has_heads_and_the_sizes_are_stated(here: Path, capsys: Capture) -> None:
    assert demo("photo.png", "-o", "out") == 1  # an untrained network loses to bicubic
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "A photograph of 90 x 80 pixels, reduced to 45 x 40"
    assert lines[1].split() == ["quantity", "value"]
    assert any(line.endswith(" weights + 4 slopes") for line in lines)
    assert lines[-1].startswith("wrote out/enlarged.png (90 x 80) and out/side-by-side.png (pixels")
    assert sr.read_image("out/enlarged.png").pixels.shape == (80, 90, 3)
    assert sr.read_image("out/side-by-side.png").pixels.shape == (18 + 220, 4 * 274 - 4, 3)


def test_a_photograph_of_floats_is_taken(here: Path) -> None:
    checks = np.indices((40, 44)).sum(axis=0) // 3 % 2
    sr.write_image("checks.tif", checks.astype(np.float32))
    assert demo("checks.tif", "-o", "out") in (0, 1)
    assert sr.read_image("out/enlarged.png").pixels.shape == (40, 44)


def test_without_a_photograph_it_shows_two_of_scikit_image(here: Path) -> None:
    pytest.importorskip("skimage")
    assert demo("-o", "out") == 1
    sheet = sr.read_image("out/side-by-side.png").pixels
    assert sheet.shape == (18 + 2 * 220, 4 * 292 - 4, 3)
    for top in (18, 18 + 220):  # the originals, each pixel three wide
        crop = sheet[top : top + 216, 3 * 292 :]
        assert np.array_equal(crop[::3, ::3].repeat(3, 0).repeat(3, 1), crop)
        assert np.ptp(crop) > 150


def test_json_counts_what_info_counts(here: Path, capsys: Capture) -> None:
    demo("photo.png", "-o", "out", "--json")
    facts = json.loads(capsys.readouterr().out)
    assert main(["info", "model.npz", "--collapsed", "--json"]) == 0
    total = json.loads(capsys.readouterr().out)["parameters"]
    assert facts["parameters"] + facts["slopes"] == total


@pytest.mark.parametrize("name", ["enlarged.png", "side-by-side.png"])
def test_the_users_photograph_is_not_replaced(here: Path, capsys: Capture, name: str) -> None:
    (here / "photo.png").rename(here / name)
    before = (here / name).read_bytes()
    assert demo(name, "-o", ".", "--overwrite") == 2
    assert f"{name}: the result would replace it" in capsys.readouterr().err
    assert (here / name).read_bytes() == before
