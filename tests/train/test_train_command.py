"""`sesr-ref train`: its options reach the recipe, and it writes down how a run was made."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import sesr_ref.commands.train as command
from sesr_ref.architectures import fsrcnn, sesr
from sesr_ref.cli import main
from sesr_ref.images import write_image
from sesr_ref.network import Network
from sesr_ref.ops.table import REFERENCE
from sesr_ref.params import load
from sesr_ref.train import Progress
from sesr_ref.train.optimiser import Recipe

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


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--blocks", "5"], "--blocks"),
        (["--expand", "64"], "--expand"),
        (["--block-bias", "none"], "--block-bias"),
        (["--no-linear-blocks"], "--no-linear-blocks"),
        (["--short-residuals"], "--short-residuals"),
    ],
)
def test_options_that_fsrcnn_does_not_have_are_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], named: str
) -> None:
    common = ["train", "--data", str(data), "--out", str(tmp_path / "out")]
    assert main([*common, "--architecture", "fsrcnn", *options]) == 2
    error = capsys.readouterr().err
    assert error == f"sesr-ref train: {named} does not apply to --architecture fsrcnn\n"


def test_plain_convolutions_have_no_expansion(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["train", "--data", str(data), "--out", str(tmp_path / "out")]
    assert main([*common, "--no-linear-blocks", "--expand", "64"]) == 2
    assert "--expand does not apply to --no-linear-blocks" in capsys.readouterr().err


def test_fsrcnn_takes_the_options_it_has(data: Path, tmp_path: Path) -> None:
    options = ["--steps", "1", "--batch", "1", "--crop", "8", "--engine", "reference"]
    options += ["--architecture", "fsrcnn", "--upscale", "3", "--activation", "relu"]
    assert main(["train", "--data", str(data), "--out", str(tmp_path / "out"), *options]) == 0
    assert load(tmp_path / "out" / "weights.npz")[0] == fsrcnn(3, "relu")


def test_a_network_is_the_papers_unless_told_otherwise(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Network] = []
    monkeypatch.setattr(command, "train", lambda net, *_, **__: seen.append(net))
    common = ["train", "--data", str(data), "--engine", "reference", "--crop", "8"]
    assert main([*common, "--out", str(tmp_path / "a")]) == 0
    assert main([*common, "--out", str(tmp_path / "b"), "--no-input-residual"]) == 0
    assert seen == [sesr(), sesr(input_residual=False)]


def test_every_part_of_a_run_is_recorded_and_another_engine_told(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr("sys.argv", ["sesr-ref", "train", "first"])
    with monkeypatch.context() as patch:
        patch.setattr(command, "_reporter", lambda update: stopping)
        assert trained(data, out) == 130
    assert "before" not in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["sesr-ref", "train", "second"])
    monkeypatch.setattr(command, "engine_named", lambda name: replace(REFERENCE, name="other"))
    assert trained(data, out, "--resume") == 0
    assert "resuming with --engine other a run trained with reference:" in capsys.readouterr().err
    facts = json.loads((out / "run.json").read_text())
    assert facts["command"] == "sesr-ref train first"
    assert facts["engine"] == "reference, other"
    assert [part["command"] for part in facts["runs"]] == [
        "sesr-ref train first",
        "sesr-ref train second",
    ]
    assert facts["hours"] == sum(part["hours"] for part in facts["runs"])
    monkeypatch.setattr(command, "engine_named", lambda name: REFERENCE)
    assert trained(data, out, "--resume") == 0
    assert "resuming with" not in capsys.readouterr().err  # a finished run is not


def stopping(now: Progress) -> None:
    if now.step == 1:
        signal.raise_signal(signal.SIGINT)


def test_the_record_of_an_older_version_is_its_first_part(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    old = {"command": "sesr-ref train old", "engine": "fast", "hours": 2.0, "cpu_hours": 3.0}
    (out / "run.json").write_text(json.dumps(old))
    assert trained(data, out) == 0
    facts = json.loads((out / "run.json").read_text())
    assert facts["runs"][0] == old
    assert facts["command"] == old["command"]
    assert 2 < facts["hours"] < 2.1


def test_resuming_with_other_validation_images_or_none_is_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    other.mkdir()
    (other / "0.png").write_bytes((data / "0.png").read_bytes())
    assert trained(data, out, "--val", str(data)) == 0
    for now, options in (("nothing", []), (f"1 image of {other}", ["--val", str(other)])):
        assert trained(data, out, "--resume", *options) == 2
        line = f"validated on 2 images of {data} before, now on {now}\n"
        assert capsys.readouterr().err.endswith(line)


def test_the_printed_loss_is_the_logs(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert trained(data, out, "--val", str(data), "--steps", "6", "--validate-every", "3") == 0
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    printed = capsys.readouterr().out
    for row in rows:
        assert f"step {row['step']}  loss {row['loss']:.5f}" in printed


def test_a_folder_that_cannot_be_taken_is_told_before_the_images_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "log.jsonl").write_text("")
    for name, words in (("file", "is a file, a folder is needed"), ("run", "holds a run already")):
        assert trained(tmp_path / "none", tmp_path / name) == 2
        assert words in capsys.readouterr().err
