"""`sesr-ref train`: its options reach the recipe, and it writes down how a run was made."""

from __future__ import annotations

import json
import shlex
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import sesr_ref.commands.train as command
from sesr_ref.architectures import architecture, architectures, ecbsr, fsrcnn, sesr, xlsr
from sesr_ref.cli import main
from sesr_ref.commands import run_record
from sesr_ref.evaluate import network as by_network
from sesr_ref.evaluate import score_folder
from sesr_ref.images import write_image
from sesr_ref.network import Conv, DepthToSpace, Network
from sesr_ref.ops.table import REFERENCE
from sesr_ref.params import load
from sesr_ref.train import Progress
from sesr_ref.train.checkpoint import described
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
        (["--loss", "log-mse", "--log-share", "0.1"], {"loss": "log-mse", "log_share": 0.1}),
        (["--low", "float"], {"low": "float"}),
        (
            ["--lr-factor", "tail=0.1", "--lr-factor", "head=0.5", "--lr-factor", "tail=0.2"],
            {"lr_factors": (("head", 0.5), ("tail", 0.2))},
        ),
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


def test_runs_share_the_users_cache_unless_told_otherwise_or_they_had_their_own(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "pairs"
    monkeypatch.setenv("SESR_PAIRS_DIR", str(folder))
    for name in ("a", "b"):
        assert trained(data, tmp_path / name) == 0
        assert not (tmp_path / name / "cache").exists()
    (prepared,) = folder.glob("images-*/pairs-*.npy")
    prepared.unlink()
    own = tmp_path / "old" / "cache"
    own.mkdir(parents=True)
    assert trained(data, own.parent) == 0
    assert len(list(own.glob("pairs-*.npy"))) == 1
    assert not list(folder.glob("*/*.npy"))


def test_a_users_cache_that_cannot_be_made_is_told_and_the_runs_own_taken(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SESR_PAIRS_DIR", str(tmp_path / "file" / "below"))
    assert trained(data, tmp_path / "out") == 0
    assert f"cannot be written: the prepared images go to {tmp_path / 'out' / 'cache'}" in (
        capsys.readouterr().err
    )
    assert len(list((tmp_path / "out" / "cache").glob("pairs-*.npy"))) == 1


@pytest.mark.parametrize("text", ["tail", "=0.1", "tail=", "tail=a"])
def test_a_factor_that_is_none_is_refused_with_an_example(
    text: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        trained(data, tmp_path / "out", "--lr-factor", text)
    assert f"must be LAYER=FACTOR such as deconv=0.1, got '{text}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "missing"),
    [([], "--data, --out"), (["--data", "x"], "--out"), (["--out", "x", "--resume"], "--data")],
)
def test_folders_that_are_needed_are_asked_for(
    options: list[str], missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *options]) == 2
    error = capsys.readouterr().err
    assert error == f"sesr-ref train: the following arguments are required: {missing}\n"


def cut(data: Path, out: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    """A run that is interrupted ahead of its second step's end."""
    with monkeypatch.context() as patch:
        patch.setattr(command, "reporter", lambda update: stopping)
        assert trained(data, out, *options) == 130


def test_a_stopped_run_can_be_finished_where_it_stands(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    cut(data, out, monkeypatch, "--average", "0.9")
    assert not (out / "weights.npz").exists()
    assert main(["train", "--finish", str(out)]) == 0
    assert f"finished after 2 steps: {out / 'weights.npz'}" in capsys.readouterr().out
    _, params = load(out / "weights.npz")
    for name, values in load(out / "checkpoint.npz")[1].items():
        np.testing.assert_array_equal(params[name], values)
    for where in (out / "weights.npz", out / "checkpoint.npz"):
        assert main(["info", str(where)]) == 0
    assert main(["train", "--finish", str(tmp_path / "none")]) == 2
    assert "checkpoint.npz: no such file" in capsys.readouterr().err


def test_a_run_named_alone_goes_on_with_the_options_it_began_with(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--val", str(data), "--seed", "3", "--no-short-residuals", "--lr-factor", "head=0.5")
    assert trained(data, tmp_path / "whole", *options) == 0
    cut(data, tmp_path / "begun", monkeypatch, *options)
    moved = (tmp_path / "begun").rename(tmp_path / "moved")
    assert main(["train", "--resume", str(moved)]) == 0
    for name in ("weights.npz", "log.jsonl"):
        assert (moved / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    parts = json.loads((moved / "run.json").read_text())["runs"]
    assert [part["steps"] for part in parts] == [2, 1]
    assert str(tmp_path / "begun") not in parts[1]["command"].split("--out")[-1]
    assert "--resume" not in parts[1]["command"]


def test_a_run_named_alone_takes_other_options_and_what_it_is_not_is_told(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    cut(data, out, monkeypatch)
    assert main(["train", "--resume", str(out), "--steps", "4"]) == 0
    assert "4 steps instead of 3: at a constant rate as if it always were" in (
        capsys.readouterr().err
    )
    assert json.loads((out / "run.json").read_text())["runs"][1]["length"] == {
        "at_step": 2,
        "steps_before": 3,
        "steps": 4,
    }
    assert main(["train", f"--resume={out}", "--lr", "1"]) == 2
    assert "it is of another recipe: lr was 0.0005 and is 1.0" in capsys.readouterr().err
    (out / "run.json").write_text("{}")
    assert main(["train", "--resume", str(out)]) == 2
    assert "run.json does not state a command of sesr-ref train" in capsys.readouterr().err
    (out / "run.json").unlink()
    assert main(["train", "--resume", str(out)]) == 2
    assert "run.json: No such file" in capsys.readouterr().err


def test_a_resumed_run_keeps_its_length_and_a_decaying_one_says_what_another_means(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    cut(data, out, monkeypatch, "--schedule", "cosine")
    capsys.readouterr()
    common = ["--data", str(data), "--out", str(out), *RUN, "--batch", "2", "--crop", "8"]
    assert main(["train", *common, "--schedule", "cosine", "--resume"]) == 0
    told = capsys.readouterr()
    assert "instead of" not in told.err
    assert told.out.startswith("step 3")
    assert main(["train", "--resume", str(out), "--steps", "6"]) == 0
    assert (
        "6 steps instead of 3: from step 3 on the cosine schedule is that of 6 steps, the rate "
        "0.00025; the result is not that of one run"
    ) in capsys.readouterr().err


def test_a_run_that_is_killed_is_on_record_up_to_a_minute_before(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    seen: list[dict[str, object]] = []

    def show(now: Progress) -> None:
        seen.append(json.loads((out / "run.json").read_text()))

    monkeypatch.setattr(command, "reporter", lambda update: show)
    monkeypatch.setattr(run_record, "EVERY_SECONDS", 0.0)
    assert trained(data, out, "--checkpoint-every", "1") == 0
    assert [facts["runs"][0]["steps"] for facts in seen] == [1, 2, 3]  # type: ignore[index]
    assert seen[0]["hours"] < seen[2]["hours"]  # type: ignore[operator]


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


ONCE = ["--steps", "1", "--batch", "1", "--crop", "8", "--engine", "reference"]


def test_any_network_that_is_known_by_name_is_trained(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Network, int]] = []
    monkeypatch.setattr(command, "train", lambda n, p, *_, **__: seen.append((n, p.channels)))
    for i, name in enumerate(architectures()):
        out = str(tmp_path / str(i))
        assert main(["train", "--data", str(data), "--out", out, *ONCE, "--network", name]) == 0
    nets = [architecture(name) for name in architectures()]
    assert seen == [(net, net.channels) for net in nets]


def test_a_named_network_takes_the_options_that_its_name_leaves_open(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Network] = []
    monkeypatch.setattr(command, "train", lambda net, *_, **__: seen.append(net))
    common = ["train", "--data", str(data), *ONCE]
    words = (
        ["--network", "sesr-m3-x2", "--block", "dbb", "--expand", "8"],
        ["--block", "dbb", "--expand", "8", "--blocks", "3"],
        ["--network", "xlsr-x4", "--features", "8", "--upscale", "4"],
        ["--network", "ecbsr-m4c8-x2", "--activation", "relu"],
        ["--architecture", "fsrcnn", "--features", "9"],
    )
    for i, options in enumerate(words):
        assert main([*common, "--out", str(tmp_path / str(i)), *options]) == 0
    dbb = sesr(3, block="dbb", expand=8)
    relu = ecbsr(2, 4, 8, "relu")
    assert seen == [dbb, dbb, xlsr(4, 8), relu, fsrcnn(2, features=9)]


def test_a_description_is_trained_on_rgb_and_scored_by_the_luma_of_its_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out, path = tmp_path / "rgb", tmp_path / "out", tmp_path / "own.json"
    folder.mkdir()
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        write_image(folder / f"{i}.png", pixels)
    net = xlsr(2, 4, 1, 2)
    path.write_text(net.to_json(indent=1))
    options = ["--data", str(folder), "--val", str(folder), "--out", str(out), *ONCE]
    assert main(["train", *options, "--network", str(path)]) == 0
    assert "learns RGB; --val scores Y, protocol y: 8-bit images" in capsys.readouterr().err
    assert described(out / "checkpoint.npz")["validation"]["protocol"].endswith(
        "a network on RGB by the Y of its 8-bit result"
    )
    trained_net, params = load(out / "weights.npz")
    assert trained_net == net
    (row,) = map(json.loads, (out / "log.jsonl").read_text().splitlines())
    methods = {"net": by_network(net, params)}
    assert row["psnr_db"] == score_folder(folder, methods, 2).mean()["net"].psnr_db


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--network", "sesr-m5"], "--network must name an architecture"),
        (["--network", "none.json"], "none.json: No such file"),
        (["--network", "DATA/a.json"], "a.json: not a network description"),
        (["--network", "DATA/two.json"], "two: the number of channels must be 1 (Y) or 3 (RGB)"),
        (["--network", "DATA/two.json", "--block", "ecb"], "--block does not apply to --network"),
        (["--network", "sesr-m5-x2", "--blocks", "3"], "--blocks does not apply to --network"),
        (["--network", "etds-s-x2", "--features", "9"], "--features does not apply to --network"),
        (["--network", "xlsr-x2", "--activation", "relu"], "--activation does not apply to"),
        (["--network", "xlsr-x2", "--upscale", "4"], "--upscale for xlsr-x2 must be 2, got 4"),
        (
            ["--architecture", "fsrcnn", "--block", "ecb"],
            "--block does not apply to --architecture",
        ),
    ],
)
def test_a_network_that_cannot_be_is_refused_before_any_work(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    (data / "a.json").write_text("no description")
    two = Network("two", 2, 2, (Conv("a", 8, 1), DepthToSpace("b", 2)))
    (data / "two.json").write_text(two.to_json())
    given = [word.replace("DATA", str(data)) for word in options]
    assert main(["train", "--data", str(data), "--out", str(tmp_path / "out"), *given]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_every_part_of_a_run_is_recorded_and_another_engine_told(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    cut(data, out, monkeypatch)
    assert "before" not in capsys.readouterr().err
    monkeypatch.setattr(command, "engine_named", lambda name: replace(REFERENCE, name="other"))
    assert trained(data, out, "--resume", "--threads", "1") == 0
    assert "resuming with --engine other a run trained with reference:" in capsys.readouterr().err
    facts = json.loads((out / "run.json").read_text())
    first = shlex.join(["sesr-ref", "train", "--data", str(data), "--out", str(out), *SHORT])
    assert facts["command"] == first
    assert facts["engine"] == "reference, other"
    assert [part["command"] for part in facts["runs"]] == [first, f"{first} --threads 1"]
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
