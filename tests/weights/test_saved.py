"""weights/saved.py: what of the run book outlives a machine, within a budget."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

import sesr_ref as sr
import sesr_ref.commands.train as command
import state
from book import Book
from plan import read_plan
from runbook import NAME, Capture, done, states_of, words
from sesr_ref.shipped import shipped
from sesr_ref.train import Progress
from sesr_ref.train.checkpoint import described, read_checkpoint


def stopping_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def report(now: Progress) -> None:
        if now.step == step:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(command, "reporter", lambda update: report)


@pytest.fixture
def stopped(
    package: Path, images: Path, plan_file: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Options of a book whose first stage, of 40 steps, was stopped after 18."""
    options = words(images, plan_file)
    with monkeypatch.context() as patch:
        stopping_at(17, patch)
        assert done(patch, *options) == 130
    return options


def test_a_stage_that_was_stopped_goes_on_where_its_runs_folder_is_not(
    stopped: list[str], plan_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    runs = plan_file.parent / "runs"
    before = read_checkpoint(runs / f"{NAME}-long" / "checkpoint.npz")
    assert before[0]["step"] == 18
    assert done(monkeypatch, *stopped, "--save") == 0
    assert capsys.readouterr().out.startswith("sesr-m1-x2/long: 0.0")
    (file,) = (state.STATES / "stages").iterdir()
    count = sum(array.size for array in sr.load(runs / f"{NAME}-long/checkpoint.npz")[1].values())
    assert file.stat().st_size < 4 * 2 * count + 6000  # four vectors of two bytes, and words
    shutil.rmtree(runs)
    assert states_of(monkeypatch, capsys, *stopped)["sesr-m1-x2/long"] == "saved"
    assert not runs.exists()
    with monkeypatch.context() as patch:
        stopping_at(20, patch)
        assert done(patch, *stopped) == 130
    told = capsys.readouterr().err
    assert f"sesr-m1-x2/long: goes on from {file}, of its kind, not its bits" in told
    assert described(runs / f"{NAME}-long/checkpoint.npz")["step"] == 21
    assert done(monkeypatch, *stopped) == 0
    (record, *_) = shipped()["sesr-m1-x4"]["recipe"]["stages"]
    assert record["steps"] == 40
    parts = json.loads((runs / f"{NAME}-long" / "run.json").read_text())["runs"]
    assert [part["steps"] for part in parts] == [18, 3, 19]


def test_what_is_kept_is_the_average_and_the_moments_to_three_digits(
    stopped: list[str], plan_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import saved

    book = Book(read_plan(plan_file), plan_file.parent / "runs")
    stage = book.stages[0]
    path = book.folder(stage) / "checkpoint.npz"
    meta, vectors = read_checkpoint(path)
    saved.save(book)
    shutil.rmtree(book.runs)
    assert saved.restore(book, stage)
    again, restored = read_checkpoint(path)
    assert again == meta
    assert restored.keys() == vectors.keys()
    for key, like in (
        ("weights", "average"),
        ("average", "average"),
        ("mean", "mean"),
        ("square", "square"),
        ("largest", "largest"),
    ):
        want = vectors[like]
        assert restored[key].dtype == np.float32
        np.testing.assert_allclose(restored[key], want, rtol=2e-3, atol=1e-6 * abs(want).max())
    assert not saved.restore(book, stage)  # it is there


def test_finished_stages_are_kept_until_their_weights_are_shipped(
    package: Path, images: Path, plan_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    runs = plan_file.parent / "runs"
    options = words(images, plan_file)
    one = ("--only", NAME, "--stage", "long")
    assert done(monkeypatch, *options, "--no-ship", *one) == 0
    capsys.readouterr()
    assert done(monkeypatch, *options, "--save") == 0
    assert capsys.readouterr().out.startswith("sesr-m1-x2/long: 0.01 MB")
    want = sr.load(runs / f"{NAME}-long" / "weights.npz")[1]
    shutil.rmtree(runs)
    assert done(monkeypatch, *options, *one) == 0
    for name, values in sr.load(runs / f"{NAME}-long" / "weights.npz")[1].items():
        np.testing.assert_allclose(values, want[name], rtol=1e-3, atol=1e-6)
    assert shipped()[NAME]["recipe"]["pixels"] == 5120
    capsys.readouterr()
    assert done(monkeypatch, *options, "--save") == 0
    assert capsys.readouterr().out == "sesr-m1-x2/long: removed, it is no longer needed\n"
    shutil.rmtree(runs)  # the shipped weights say that the stage is done
    assert states_of(monkeypatch, capsys, *options)["sesr-m1-x2/long"] == "done"
    assert done(monkeypatch, *options, "--only", NAME) == 0
    assert "from sesr-m1-x2: 4 of 4 layers' parameters" in capsys.readouterr().err


def test_the_budget_goes_to_the_first_stages_and_moments_of_shipped_weights_give_way(
    stopped: list[str], plan_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import saved

    state.STATES.mkdir()
    (state.STATES / "small.npz").write_bytes(bytes(100))
    (state.STATES / "large.npz").write_bytes(bytes(5000))
    book = Book(read_plan(plan_file), plan_file.parent / "runs")
    shutil.copytree(book.folder(book.stages[0]), book.folder(book.stages[2]))
    size, coarse = (len(saved.packed(book, book.stages[0], bits)) for bits in (10, 6))
    lines = saved.save(book, size + 1000)
    assert lines == [
        f"sesr-m1-x2/long: {size / 1e6:.2f} MB",
        f"sesr-m1-x4/x4: left out, it needs {coarse / 1e6:.2f} MB, its moments to 0.8 %; "
        "0.00 MB are left",
        "large: the moments of the shipped weights are removed, no room",
    ]
    assert {path.name for path in state.STATES.rglob("*.npz")} == {
        "small.npz",
        f"{NAME}-long.npz",
    }
    shutil.rmtree(book.runs)
    assert saved.save(book, size + 1000) == []  # what another machine left stays
    assert saved.file_of(book.stages[0]).exists()


def test_where_there_is_too_little_room_the_moments_are_coarse(
    stopped: list[str], plan_file: Path
) -> None:
    import saved

    book = Book(read_plan(plan_file), plan_file.parent / "runs")
    stage = book.stages[0]
    _, vectors = read_checkpoint(book.folder(stage) / "checkpoint.npz")
    size = len(saved.packed(book, stage))
    assert saved.save(book, size - 1)[0].endswith("MB, its moments to 0.8 %")
    assert saved.file_of(stage).stat().st_size < size
    shutil.rmtree(book.runs)
    assert saved.restore(book, stage)
    _, restored = read_checkpoint(book.folder(stage) / "checkpoint.npz")
    for key, error in (("average", 1e-3), ("mean", 8.5e-3), ("square", 1.7e-2)):
        large = abs(vectors[key]) > 1e-4 * abs(vectors[key]).max()
        np.testing.assert_allclose(restored[key][large], vectors[key][large], rtol=error)


def test_everything_kept_for_later_is_below_the_budget() -> None:
    import saved

    assert sum(path.stat().st_size for path in state.STATES.rglob("*.npz")) < saved.BUDGET_BYTES
