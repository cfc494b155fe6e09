"""weights/run.py: the stages of a plan, one after another, whatever happens meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import book
import plan
import run
import sesr_ref as sr
import ship
from runbook import NAME, Capture, done, states_of, words
from sesr_ref.commands.train_options import network_for
from sesr_ref.shipped import shipped

ROOT = Path(__file__).resolve().parents[2]


def test_all_stages_are_trained_in_order_and_what_is_better_is_shipped(
    package: Path, images: Path, plan_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    options = words(images, plan_file)
    assert states_of(monkeypatch, capsys, *options) == {
        "sesr-m1-x2/long": "ready",
        "sesr-m1-x2/l2": "waiting",
        "sesr-m1-x4/x4": "waiting",
    }
    assert done(monkeypatch, *options) == 0
    told = capsys.readouterr().err
    assert "nothing is left to be done" in told
    assert set(states_of(monkeypatch, capsys, *options).values()) <= {"shipped", "done, not better"}
    entry = shipped()["sesr-m1-x4"]["recipe"]
    chain = entry["stages"]
    assert [record["stage"] for record in chain] == [
        "sesr-m1-x2/long",
        "sesr-m1-x2/l2",
        "sesr-m1-x4/x4",
    ]
    assert [record["pixels"] for record in chain] == [5120, 2560, 1280]
    assert entry["pixels"] == 8960
    assert entry["seed"] == 3
    assert all(record["hours"] >= 0 for record in chain)
    assert "--start-from runs/sesr-m1-x2-l2/weights.npz" in entry["command"]
    assert str(plan_file.parent) not in json.dumps(shipped())
    before = {path: path.stat().st_mtime_ns for path in package.iterdir()}
    assert done(monkeypatch, *options) == 0  # once more: nothing is done twice
    assert {path: path.stat().st_mtime_ns for path in package.iterdir()} == before


def test_training_and_shipping_may_be_done_apart(
    package: Path, images: Path, plan_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    options = words(images, plan_file)
    assert done(monkeypatch, *options, "--no-ship") == 0
    assert not list(package.iterdir())
    assert set(states_of(monkeypatch, capsys, *options).values()) == {"done"}
    assert done(monkeypatch, *options, "--ship", "--only", NAME) == 0
    states = states_of(monkeypatch, capsys, *options)
    assert states["sesr-m1-x2/long"] == "shipped"
    assert states["sesr-m1-x4/x4"] == "done"
    assert [record["stage"] for record in shipped()[NAME]["recipe"]["stages"]] in (
        ["sesr-m1-x2/long"],
        ["sesr-m1-x2/long", "sesr-m1-x2/l2"],
    )


def test_everything_can_be_trained_anew_beside_weights_that_are_shipped(
    package: Path, images: Path, plan_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    options = words(images, plan_file)
    assert done(monkeypatch, *options) == 0
    elsewhere = ("--runs", str(plan_file.parent / "again"))
    states = states_of(monkeypatch, capsys, *options, *elsewhere)
    assert states["sesr-m1-x2/long"] == "done"
    states = states_of(monkeypatch, capsys, *options, *elsewhere, "--anew")
    assert states["sesr-m1-x2/long"] == "ready"
    assert done(monkeypatch, *options, *elsewhere, "--anew") == 0
    for stage in ("sesr-m1-x2-long", "sesr-m1-x2-l2", "sesr-m1-x4-x4"):
        a, b = (plan_file.parent / runs / stage / "weights.npz" for runs in ("runs", "again"))
        assert a.read_bytes() == b.read_bytes()


def test_the_status_measures_its_rate_on_the_runs_that_are_here(
    package: Path, images: Path, plan_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    options = words(images, plan_file, "--no-ship")
    assert done(monkeypatch, *options, "--only", NAME, "--stage", "long") == 0
    record = plan_file.parent / "runs" / f"{NAME}-long" / "run.json"
    facts = json.loads(record.read_text())
    facts["runs"][0] |= {"hours": 2.0, "steps": 40}
    record.write_text(json.dumps(facts))
    capsys.readouterr()
    assert done(monkeypatch, *options, "--json") == 0
    status = json.loads(capsys.readouterr().out)
    long, l2, x4 = status["stages"]
    assert (long["pixels"], long["planned_pixels"], long["hours"]) == (5120, 5120, 2.0)
    assert long["psnr_db"] is not None
    assert (l2["hours"], l2["hours_left"]) == (0, 1.0)  # half as many pixels
    cost = [sr.cost(sr.sesr(1, upscale=upscale), 64, 64).macs for upscale in (2, 4)]
    assert x4["hours_left"] == pytest.approx(0.5 * cost[1] / cost[0])
    assert status["totals"]["hours_left"] == pytest.approx(1.0 + x4["hours_left"])
    assert done(monkeypatch, *options, "--status") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["stage", "state", "Gpx", "of", "dB", "shipped", "hours", "left"]
    assert [line.split()[0] for line in lines[2:]] == [
        "sesr-m1-x2/long",
        "sesr-m1-x2/l2",
        "sesr-m1-x4/x4",
        "all",
    ]


def test_the_pixels_of_a_stage_decide_its_steps() -> None:
    for stage in plan.read_plan():
        options = plan.options_of(stage.words)
        assert stage.pixels == stage.steps * options.batch * options.crop**2


def test_the_shipped_plan_trains_what_the_networks_are() -> None:
    stages = plan.read_plan()
    assert [stage.key for stage in stages[:2]] == ["sesr-m5-x2/first", "sesr-m5-x2/long"]
    for stage in stages:
        net = network_for(plan.options_of(stage.words))
        assert ship.named(stage.network, net).name == stage.network


def start(images: Path, plan_file: Path, folder: Path, *options: str) -> subprocess.Popen[bytes]:
    path = os.pathsep.join(str(ROOT / part) for part in (".", "kernels", "weights"))
    env = os.environ | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "weights" / "run.py")]
    command += words(images, plan_file, "--no-ship", "--runs", str(folder), *options)
    return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def wait_for(path: Path, run: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if path.exists():
            return
        assert run.poll() is None, run.communicate()
        time.sleep(0.05)
    raise AssertionError(f"{path} did not come")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_stage_that_is_killed_ends_with_the_bits_of_one_that_is_not(
    number: int, images: Path, plan_file: Path, tmp_path: Path
) -> None:
    text = plan_file.read_text().replace("pixels = 5120", "pixels = 51200")
    plan_file.write_text(text)
    one = ("--only", NAME, "--stage", "long")
    whole = start(images, plan_file, tmp_path / "whole", *one)
    cut = start(images, plan_file, tmp_path / "cut", *one)
    checkpoint = tmp_path / "cut" / f"{NAME}-long" / "checkpoint.npz"
    wait_for(checkpoint, cut)
    cut.send_signal(number)
    _, told = cut.communicate(timeout=60)
    assert cut.returncode == (-number if number == signal.SIGKILL else 130), told
    assert not (checkpoint.parent / "weights.npz").exists()
    again = start(images, plan_file, tmp_path / "cut", *one)
    for process in (whole, again):
        _, told = process.communicate(timeout=120)
        assert process.returncode == 0, told
    for name in ("weights.npz", "checkpoint.npz", "log.jsonl"):
        a, b = ((tmp_path / d / f"{NAME}-long" / name).read_bytes() for d in ("whole", "cut"))
        assert a == b, name


def test_processes_that_share_the_stages_train_them_to_the_same_bits(
    images: Path, plan_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    other = '{ network = "sesr-m2-x2", stage = "long", recipe = "long", pixels = 2560, seed = 4, '
    text = plan_file.read_text().removesuffix("]\n") + other + 'start = "" },\n]\n'
    plan_file.write_text(text.replace("[networks]", '[networks]\nsesr-m2-x2 = "--blocks 2"'))
    for jobs in ("1", "2"):
        options = words(images, plan_file, "--no-ship", "--anew", "--jobs", jobs)
        assert done(monkeypatch, *options, "--runs", str(plan_file.parent / jobs)) == 0
    folders = sorted(path.name for path in (plan_file.parent / "1").glob("sesr-*"))
    assert len(folders) == 4
    for folder in folders:
        one, two = (plan_file.parent / jobs / folder / "checkpoint.npz" for jobs in ("1", "2"))
        assert one.read_bytes() == two.read_bytes()
    begun = [line for line in capsys.readouterr().err.splitlines() if "Gpx" in line]
    keys = [line.partition(":")[0] for line in begun]
    assert keys[:4] == [f"{NAME}/long", f"{NAME}/l2", "sesr-m1-x4/x4", "sesr-m2-x2/long"]
    assert keys[4:6] == [f"{NAME}/long", "sesr-m2-x2/long"]  # at once, the others wait


def test_time_that_is_over_leaves_a_checkpoint_and_says_so(
    images: Path, plan_file: Path, tmp_path: Path
) -> None:
    plan_file.write_text(plan_file.read_text().replace("pixels = 5120", "pixels = 51200000"))
    process = start(images, plan_file, tmp_path / "runs", "--until", "0.0008")
    _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert b"stages left: the time is over" in told
    assert (tmp_path / "runs" / f"{NAME}-long" / "checkpoint.npz").exists()


def test_a_stage_that_another_process_has_is_left_to_it(
    package: Path, images: Path, plan_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    options = words(images, plan_file, "--no-ship")
    runs = plan_file.parent / "runs"
    with book.held(runs / f".{NAME}-long.lock"):
        assert states_of(monkeypatch, capsys, *options)["sesr-m1-x2/long"] == "running"
        assert done(monkeypatch, *options) == 0
    assert "3 stages left: failed, or with another process" in capsys.readouterr().err
    assert not list(runs.glob("*/weights.npz"))


def test_a_run_made_elsewhere_is_adopted_and_gone_on_from(
    package: Path,
    images: Path,
    plan_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    options = words(images, plan_file, "--no-ship")
    elsewhere = tmp_path / "elsewhere"
    one = ("--only", NAME, "--stage", "long")
    assert done(monkeypatch, *options, "--runs", str(elsewhere), *one) == 0
    made = elsewhere / f"{NAME}-long"
    (made / "checkpoint.npz").unlink()
    assert done(monkeypatch, *options, "--adopt", "sesr-m1-x2/long", str(made)) == 0
    assert states_of(monkeypatch, capsys, *options)["sesr-m1-x2/l2"] == "ready"
    assert done(monkeypatch, *words(images, plan_file), "--only", NAME) == 0
    chain = shipped()[NAME]["recipe"]["stages"]
    assert [record["steps"] for record in chain] == [40, 20]
    assert done(monkeypatch, *options, "--adopt", "sesr-m1-x2/long", str(made)) == 2
    assert "sesr-m1-x2/long has a run already" in capsys.readouterr().err
    assert done(monkeypatch, *options, "--adopt", "sesr-m1-x2/short", str(made)) == 2
    assert "the plan has no sesr-m1-x2/short, only sesr-m1-x2/long" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('recipe = "l2"', 'recipe = "l3"', "'l3' is missing"),
        ("--lr 1e-3 --schedule", "--lrr 1e-3 --schedule", "sesr-m1-x2/l2: unrecognized arguments"),
        ("seed = 2", "sed = 2", "a stage has no 'sed', only network"),
        ('stage = "l2"', 'stage = "long"', "sesr-m1-x2/long is planned twice"),
        (', start = "sesr-m1-x2/l2"', "", "sesr-m1-x4/x4 needs a start"),
        ("stages = [", "stages = ", "Invalid value"),
    ],
)
def test_a_plan_with_a_mistake_is_refused_by_the_line(
    old: str, new: str, said: str, plan_file: Path
) -> None:
    plan_file.write_text(plan_file.read_text().replace(old, new))
    with pytest.raises(ValueError, match=rf"plan\.toml: .*{said}"):
        plan.read_plan(plan_file)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--only", "sesr-m9-x2"], "the plan has no sesr-m9-x2, only sesr-m1-x2, sesr-m1-x4"),
        (["--stage", "long", "short"], "the plan has no short, only long, l2, x4"),
    ],
)
def test_networks_and_stages_that_are_not_planned_are_refused(
    options: list[str],
    said: str,
    images: Path,
    plan_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    assert done(monkeypatch, *words(images, plan_file), *options) == 2
    assert said in capsys.readouterr().err


def test_folders_come_from_the_environment_or_are_asked_for(
    plan_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    for name in run.FOLDERS.values():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SESR_TRAIN", "/nowhere")
    assert done(monkeypatch, "--plan", str(plan_file)) == 2
    assert "--val (or SESR_VAL) is needed" in capsys.readouterr().err
