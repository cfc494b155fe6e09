"""weights/ship.py: from a training run's folder to the package."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recipe
import rescore
import sesr_ref as sr
import ship
import state
from checks import check_collapse
from sesr_ref.cli import main as sesr_ref_main
from sesr_ref.shipped import shipped

NAME = "sesr-m1-x2"
Capture = pytest.CaptureFixture[str]


def trained(out: Path, images: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> Path:
    """A run of two steps from where a network starts, its input enlarged by hand."""
    small = () if "fsrcnn" in options else ("--blocks", "1", "--expand", "4")
    command = (
        "train",
        "--data",
        str(images / "train"),
        "--val",
        str(images / "Kodak24"),
        "--out",
        str(out),
        "--engine",
        "reference",
        *small,
        "--crop",
        "8",
        "--batch",
        "2",
        "--steps",
        "3",
        "--steps",
        "2",
        *options,
    )
    monkeypatch.setattr("sys.argv", ["sesr-ref", *command])
    assert sesr_ref_main(list(command)) == 0
    return out


def shipping(run: Path, images: Path, *options: str, name: str = NAME) -> list[str]:
    return [
        "ship.py",
        str(run),
        name,
        "--data",
        str(images),
        "--val",
        str(images / "Kodak24"),
        "--engine",
        "reference",
        *options,
    ]


@pytest.mark.parametrize("half", [False, True])
def test_a_run_becomes_two_files_and_an_entry_without_private_paths(
    half: bool, package: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(tmp_path / "m1", images, monkeypatch)
    monkeypatch.setattr(ship, "LARGEST_FLOAT32", 0 if half else 1 << 20)
    monkeypatch.setattr("sys.argv", shipping(run, images))
    assert ship.main() == 0
    entry = json.loads((package / "manifest.json").read_text())[NAME]
    assert entry["recipe"].items() >= {"steps": 2, "seed": 0, "engine": "reference"}.items()
    assert entry["recipe"]["data"]["sets"] == ["T1"]
    assert entry["recipe"]["command"] == (
        "sesr-ref train --data data/train --val data/Kodak24 --out runs/m1 --engine reference "
        "--blocks 1 --expand 4 --crop 8 --batch 2 --steps 2"
    )
    assert str(tmp_path) not in json.dumps(entry)
    net, params = sr.load(NAME)
    with np.load(package / f"{NAME}.npz") as file:
        assert file["head.expand"].dtype == ("float16" if half else "float32")
        assert file["act0.slope"].dtype == "float32"
    check_collapse(net, params, sr.load(f"{NAME}-collapsed")[1])
    assert ("lost_to_float16_db" in entry["validation"]) == half


def test_worse_weights_do_not_replace_better_ones_unless_forced(
    package: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    good = trained(tmp_path / "good", images, monkeypatch)
    bad = trained(tmp_path / "bad", images, monkeypatch, "--lr", "0.5")
    monkeypatch.setattr("sys.argv", shipping(good, images, "--state"))
    assert ship.main() == 0
    monkeypatch.setattr("sys.argv", shipping(good, images))  # the same once more
    assert ship.main() == 0
    assert state.read_state(NAME)[0]["step"] == 2
    before = {path.name: path.read_bytes() for path in package.iterdir()}
    monkeypatch.setattr("sys.argv", shipping(bad, images))
    assert ship.main() == 1
    assert "--force replaces them" in capsys.readouterr().err
    assert before == {path.name: path.read_bytes() for path in package.iterdir()}
    monkeypatch.setattr("sys.argv", shipping(bad, images, "--force"))
    assert ship.main() == 0
    assert shipped()[NAME]["recipe"]["command"].endswith("--lr 0.5")
    assert not list(state.STATES.iterdir())  # it was of the weights before


@pytest.mark.parametrize(
    ("name", "said"),
    [("sesr-m2-x2", "is no sesr-m2-x2"), ("mine", "no architecture is called 'mine'")],
)
def test_a_run_is_not_shipped_under_another_architectures_name(
    name: str,
    said: str,
    package: Path,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    run = trained(tmp_path / "m1", images, monkeypatch)
    monkeypatch.setattr("sys.argv", shipping(run, images, name=name))
    assert ship.main() == 2
    assert said in capsys.readouterr().err
    assert not list(package.iterdir())


def test_the_hardware_variant_has_a_name_of_its_own(
    package: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(
        tmp_path / "npu", images, monkeypatch, "--activation", "relu", "--no-input-residual"
    )
    monkeypatch.setattr("sys.argv", shipping(run, images, name=f"{NAME}-npu"))
    assert ship.main() == 0
    assert sr.load(f"{NAME}-npu")[0].name == f"{NAME}-npu"
    assert "subpixels" not in {layer.name for layer in sr.load(f"{NAME}-npu")[0].layers}


def test_a_network_without_linear_blocks_is_one_file(
    package: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(tmp_path / "f", images, monkeypatch, "--architecture", "fsrcnn")
    monkeypatch.setattr("sys.argv", shipping(run, images, name="fsrcnn-x2"))
    assert ship.main() == 0
    assert {path.name for path in package.iterdir()} == {"fsrcnn-x2.npz", "manifest.json"}
    assert "collapsed" not in shipped()["fsrcnn-x2"]


@pytest.mark.parametrize(
    ("private", "public"),
    [
        ("--data /home/me/train --out /tmp/x/m5", "--data data/train --out runs/m5"),
        ("--start-from /tmp/x/m11/weights.npz", "--start-from runs/m11/weights.npz"),
        ("--start-from /a/weights/sesr_weights/sesr-m3-x2.npz", "--start-from sesr-m3-x2"),
        ("--start-from sesr-m3-x2", "--start-from sesr-m3-x2"),
        ("--steps 5 --amsgrad --lr=1e-3 --steps 7", "--amsgrad --lr 1e-3 --steps 7"),
        ("--cache /tmp/cache --steps 5", "--steps 5"),
        ("--val '/tmp/my images/Kodak24'", "--val data/Kodak24"),
    ],
)
def test_private_paths_in_a_command_become_the_projects_names(private: str, public: str) -> None:
    expected = f"sesr-ref train {public}"
    assert recipe.public_command(f"sesr-ref train {private}") == expected


def test_the_step_of_the_best_weights_is_the_one_that_scored_best(tmp_path: Path) -> None:
    log = [{"step": s, "psnr_db": p} for s, p in ((10, 30.0), (20, 31.0), (30, None), (40, 30.5))]
    meta: dict[str, Any] = {"step": 40, "log": log, "recipe": {"seed": 3}, "data": {"images": 7}}
    text = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    np.savez(tmp_path / "checkpoint.npz", meta=text)
    facts = {"command": "sesr-ref train --data gone", "engine": "fast", "hours": 1.23456}
    for name in ("weights.npz", "best.npz"):
        (tmp_path / name).touch()
    (tmp_path / "run.json").write_text(json.dumps(facts))
    assert recipe.recipe_of(tmp_path)["steps"] == 40
    best = recipe.recipe_of(tmp_path, "best.npz")
    assert best["steps"] == 20
    assert best.items() >= {"seed": 3, "data": {"images": 7}, "hours": 1.235}.items()
    ended = (tmp_path / "run.json").stat().st_mtime
    os.utime(tmp_path / "best.npz", (ended + 1800, ended + 1800))  # the run goes on
    assert recipe.recipe_of(tmp_path, "best.npz")["hours"] == 1.735


def test_a_package_that_was_half_written_is_mended_by_the_same_run(
    package: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    good = trained(tmp_path / "good", images, monkeypatch)
    bad = trained(tmp_path / "bad", images, monkeypatch, "--lr", "0.5")
    monkeypatch.setattr("sys.argv", shipping(good, images))
    assert ship.main() == 0
    small = package / f"{NAME}-collapsed.npz"
    small.write_bytes(small.read_bytes()[:-1])
    with pytest.raises(ValueError, match="the manifest says"):
        sr.load(f"{NAME}-collapsed")
    monkeypatch.setattr("sys.argv", shipping(bad, images))
    assert ship.main() == 1
    monkeypatch.setattr("sys.argv", shipping(good, images))
    assert ship.main() == 0
    sr.load(f"{NAME}-collapsed")


def test_further_test_sets_are_scored_where_they_are(
    package: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = tmp_path / "sets"
    shutil.copytree(images, sets)
    shutil.copytree(images / "Set5", sets / "DIV2Kcrop100")
    run = trained(tmp_path / "m1", images, monkeypatch)
    monkeypatch.setattr("sys.argv", shipping(run, sets))
    assert ship.main() == 0
    scores = shipped()[NAME]["scores"]
    assert scores.keys() == {"protocol", "Set5", "Set14", "BSD100", "DIV2Kcrop100"}
    assert scores["DIV2Kcrop100"] == scores["Set5"]


def test_a_run_that_has_lost_its_checkpoint_is_shipped_by_its_command_and_log(
    package: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(tmp_path / "m1", images, monkeypatch, "--seed", "5")
    (run / "checkpoint.npz").unlink()
    monkeypatch.setattr("sys.argv", shipping(run, images))
    assert ship.main() == 0
    recipe = shipped()[NAME]["recipe"]
    assert recipe.items() >= {"steps": 2, "seed": 5, "pixels": 2 * 2 * 8**2}.items()


def test_scores_are_made_anew_when_the_code_behind_them_has_changed(
    package: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    run = trained(tmp_path / "m1", images, monkeypatch)
    monkeypatch.setattr("sys.argv", shipping(run, images))
    assert ship.main() == 0
    manifest = package / "manifest.json"
    true = manifest.read_text()
    entries = json.loads(true)
    entries[NAME]["scores"]["Set14"]["psnr_db"] = 1.0
    manifest.write_text(json.dumps(entries))
    arguments = ["rescore.py", "--data", str(images), "--engine", "reference"]
    capsys.readouterr()
    monkeypatch.setattr("sys.argv", arguments)
    assert rescore.main() == 0
    assert f"{NAME} Set14: 1.0000/" in capsys.readouterr().out
    assert manifest.read_text() == true
    monkeypatch.setattr("sys.argv", [*arguments, "sesr-m2-x2"])
    assert rescore.main() == 2
    assert "sesr-m2-x2: not shipped; there is sesr-m1-x2" in capsys.readouterr().err
