"""`sesr-ref train`: its options reach the recipe, and it writes down how a run was made."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import sesr_ref.commands.train as command
from sesr_ref.cli import main
from sesr_ref.images import write_image
from sesr_ref.optimiser import Recipe
from sesr_ref.params import load

RUN = ["--blocks", "1", "--features", "3", "--expand", "4", "--engine", "reference"]
SHORT = [*RUN, "--steps", "3", "--batch", "2", "--crop", "8"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(2):
        pixels = np.random.default_rng(i).integers(16, 236, (40, 50), dtype=np.uint8)
        write_image(folder / f"{i}.png", pixels)
    return folder


def trained(data: Path, out: Path, *options: str) -> int:
    return main(["train", "--data", str(data), "--out", str(out), *SHORT, *options])


@pytest.mark.parametrize(
    ("options", "change"),
    [
        ([], {}),
        (["--loss", "charbonnier"], {"loss": "charbonnier"}),
        (["--init", "he", "--seed", "3"], {"init": "he", "seed": 3}),
        (["--slope", "0.25"], {"slope": 0.25}),
        (["--collapse-dtype", "float64"], {"collapse_dtype": "float64"}),
        (["--schedule", "cosine", "--warmup", "2"], {"schedule": "cosine", "warmup": 2}),
        (["--amsgrad", "--average", "0.9"], {"amsgrad": True, "average": 0.9}),
    ],
)
def test_options_reach_the_recipe(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    change: dict[str, object],
) -> None:
    seen: list[Recipe] = []
    monkeypatch.setattr(command, "train", lambda net, pairs, out, recipe, **_: seen.append(recipe))
    assert trained(data, tmp_path / "out", *options) == 0
    usual = Recipe(steps=3, batch=2, crop=8)
    assert seen == [replace(usual, **change)]  # type: ignore[arg-type]


def test_a_run_says_how_it_was_made_and_for_how_long(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert trained(data, out, "--val", str(data)) == 0
    facts = json.loads((out / "run.json").read_text())
    assert facts["engine"] == "reference"
    assert 0 < facts["hours"] < 0.1
    assert 0 < facts["cpu_hours"] < 0.1
    assert (out / "best.npz").is_file()
    before = (out / "run.json").read_bytes()
    assert trained(data, out, "--val", str(data), "--resume") == 0
    assert (out / "run.json").read_bytes() == before


def test_several_runs_share_one_cache(data: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for name in ("a", "b"):
        assert trained(data, tmp_path / name, "--cache", str(cache)) == 0
        assert not (tmp_path / name / "cache").exists()
    assert len(list(cache.glob("*.npy"))) == 1


def test_a_run_can_start_from_another_ones_weights(data: Path, tmp_path: Path) -> None:
    assert trained(data, tmp_path / "x2", "--steps", "1") == 0
    start = str(tmp_path / "x2" / "weights.npz")
    options = ("--upscale", "4", "--lr", "1e-30", "--start-from", start, "--init", "he")
    assert trained(data, tmp_path / "x4", "--crop", "4", *options) == 0
    (_, x2), (_, x4) = load(start), load(tmp_path / "x4" / "weights.npz")
    np.testing.assert_array_equal(x4["head.expand"], x2["head.expand"])
    limit = np.sqrt(6 / (25 * 3))
    assert 0.95 * limit < np.abs(x4["tail.expand"]).max() <= limit


def test_a_start_says_how_much_was_taken_over(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trained(data, tmp_path / "a") == 0
    start = str(tmp_path / "a" / "weights.npz")
    assert trained(data, tmp_path / "b", "--start-from", start) == 0
    assert f"from {start}: 4 of 4 layers' parameters\n" in capsys.readouterr().err
    assert trained(data, tmp_path / "c", "--start-from", start, "--blocks", "2") == 0
    words = "4 of 6 layers' parameters; drawn anew: block1, act1\n"
    assert f"from {start}: {words}" in capsys.readouterr().err


def test_a_start_from_a_network_with_other_residuals_names_the_option(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trained(data, tmp_path / "a", "--no-short-residuals") == 0
    start = str(tmp_path / "a" / "weights.npz")
    capsys.readouterr()
    assert trained(data, tmp_path / "b", "--start-from", start) == 2
    error = capsys.readouterr().err
    assert "block0.residual is True here and False there" in error
    assert "--no-short-residuals" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "b").exists()
    again = ("--no-short-residuals", "--resume", "--start-from", "none")
    assert trained(data, tmp_path / "a", *again) == 0  # what goes on needs no start
