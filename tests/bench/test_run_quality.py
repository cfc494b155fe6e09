"""bench/run_quality.py: whose row is whose, tables of docs/scores.md, ensemble, Figure 1(a)."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from sesr_ref.evaluate import PROTOCOLS, Score
from sesr_ref.images import write_image
from sesr_ref.shipped import shipped
from tables import quality_report


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "bench"))

    return quality_report


@pytest.fixture
def quality(report: ModuleType) -> ModuleType:
    import run_quality

    return run_quality


def test_every_shipped_network_has_a_row_of_the_paper(report: ModuleType) -> None:
    rows = {
        "bicubic": "Bicubic",
        "sesr-m5-x2": "SESR-M5",
        "sesr-m11-x4": "SESR-M11",
        "sesr-m5-x2-npu": "SESR-M5",
        "sesr-xl-x4": "SESR-XL",
        "fsrcnn-x2": "FSRCNN, their set-up",
        "runs/m5/weights.npz": "",
        "vdsr-x2": "",
        "sesr-m5-f8-x2": "",
    }
    assert {name: report.paper_row(name) for name in rows} == rows
    for name in shipped():
        assert report.paper_row(name) in report.SCORES[int(name.split("-x")[-1][0])], name


def test_tables_hold_every_network_beside_its_paper(report: ModuleType) -> None:
    score = {"Set5": Score(37.125, 0.95699)}
    names = ("bicubic", "sesr-m5-x2", "sesr-m5-x2-npu", "mine.npz")
    results = dict.fromkeys(names, score)
    rows = report.rows_for(2, results, ["Set5", "Set14"])
    at = [row[0] for row in rows].index("SESR-M5 (paper)")
    assert rows[at] == ("SESR-M5 (paper)", "37.39/.9585", "32.84/.9115")
    assert rows[at + 1 : at + 3] == [(f"  {name}", "37.12/.9570", "-") for name in names[1:3]]
    assert rows[-1][0] == "  mine.npz"
    assert report.printed((37.75, None)) == "37.75/-"


def test_markdown_names_paper_and_ours_with_steps(report: ModuleType) -> None:
    results = {name: {"Set5": Score(36.0, 0.95)} for name in ("bicubic", "sesr-m5-x4", "fsrcnn-x4")}
    lines = report.markdown(4, results, ["Set5"]).splitlines()
    steps = shipped()["sesr-m5-x4"]["recipe"]["steps"]
    assert lines[:4] == [
        "| x4 | parameters | Set5 |",
        "|---|---|---|",
        "| bicubic, paper | - | 28.43/.8113 |",
        "| bicubic, here | - | 36.00/.9500 |",
    ]
    assert lines[4] == "| FSRCNN, paper (their set-up) | 12.46 K | 30.45/.8648 |"
    assert lines[6] == "| SESR-M5, paper | 18.32 K | 30.99/.8764 |"
    note = f"{steps:,}".replace(",", " ") + " steps, no short residuals, from x2"
    assert lines[7] == f"| **SESR-M5, here** ({note}) | 18.32 K | 36.00/.9500 |"
    assert len(lines) == 8


def test_self_ensemble_turns_everything_back(quality: ModuleType, rng: np.random.Generator) -> None:
    low = rng.random((11, 14))

    def nearest(image: np.ndarray, protocol: object) -> np.ndarray:
        return np.kron(image, np.ones((2, 2)))

    eight = quality.ensemble(nearest)(low, PROTOCOLS["y"])
    np.testing.assert_allclose(eight, nearest(low, None), rtol=1e-15)

    def lopsided(image: np.ndarray, protocol: object) -> np.ndarray:
        mark = np.zeros((2 * image.shape[0], 2 * image.shape[1]))
        mark[0, 0] = 1
        return mark

    marks = quality.ensemble(lopsided)(low, PROTOCOLS["y"])
    assert marks[[0, 0, -1, -1], [0, -1, 0, -1]].tolist() == [0.25] * 4
    assert marks.sum() == 1


@pytest.mark.slow
def test_the_command_prints_both_shapes_and_draws(
    quality: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    rng: np.random.Generator,
) -> None:
    pytest.importorskip("matplotlib")
    for name in ("Set5", "Set14"):
        (tmp_path / name).mkdir()
        write_image(tmp_path / name / "a.png", rng.integers(0, 256, (28, 30, 3), dtype=np.uint8))
    options = ["run_quality", "--data", str(tmp_path), "--engine", "reference", "--upscale", "2"]
    figure = ["--figure", str(tmp_path / "f.png")]
    monkeypatch.setattr("sys.argv", [*options, "--models", "sesr-m3-x2", *figure])
    assert quality.main() == 0
    assert "  sesr-m3-x2" in capsys.readouterr().out
    assert (tmp_path / "f-x2.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr("sys.argv", [*options, "--models", "sesr-m3-x2", "--markdown"])
    assert quality.main() == 0
    assert "| **SESR-M3, here** (" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["run_quality", "--data", str(tmp_path / "Set5")])
    assert quality.main() == 2


def test_further_sets_are_found_where_people_have_them(quality: ModuleType, tmp_path: Path) -> None:
    for name in ("Set5", "Manga109", "Urban100/HR", "DIV2K/DIV2K_valid_HR", "DIV2Kcrop100", "mine"):
        (tmp_path / name).mkdir(parents=True)
    assert quality.sets_in(tmp_path) == {
        "Set5": tmp_path / "Set5",
        "Urban100": tmp_path / "Urban100",
        "Manga109": tmp_path / "Manga109",
        "DIV2K": tmp_path / "DIV2K/DIV2K_valid_HR",
        "DIV2Kcrop100": tmp_path / "DIV2Kcrop100",
    }
    (tmp_path / "DIV2K/DIV2K_valid_HR").rmdir()
    assert quality.sets_in(tmp_path)["DIV2K"] == tmp_path / "DIV2K"
    (tmp_path / "DIV2K").rename(tmp_path / "DIV2K_valid_HR")
    assert quality.sets_in(tmp_path)["DIV2K"] == tmp_path / "DIV2K_valid_HR"


def test_crops_of_validation_images_are_called_that_beside_what_is_cited(
    quality: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    rng: np.random.Generator,
) -> None:
    (tmp_path / "DIV2Kcrop100").mkdir()
    image = rng.integers(0, 256, (28, 30, 3), dtype=np.uint8)
    write_image(tmp_path / "DIV2Kcrop100" / "a.png", image)
    options = [
        "run_quality",
        "--data",
        str(tmp_path),
        "--engine",
        "reference",
        "--models",
        "sesr-m3-x2",
        "--upscale",
        "2",
        "--float-low",
    ]
    monkeypatch.setattr("sys.argv", options)
    assert quality.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert "DIV2Kcrop100: the 100 central crops of DIV2K validation" in lines[0]
    assert "float LR: nothing rounded" in lines[0]
    rows = {line.rsplit(None, 1)[0].strip(): line.split()[-1] for line in lines[1:]}
    assert rows["ETDS-T (cited, measured elsewhere)"] == "33.647/-"
    assert rows["ECBSR-M4C16 (cited, measured elsewhere)"] == "33.653/-"
    ours, unrounded = rows["sesr-m3-x2"], rows["sesr-m3-x2, float LR"]
    assert ours != unrounded
    assert len(ours.partition("/")[0].partition(".")[2]) == 3
    order = [line.strip().partition("  ")[0] for line in lines]
    at = order.index("SESR-M3 (paper)")
    assert order[at + 1 : at + 3] == ["sesr-m3-x2", "sesr-m3-x2, float LR"]
    monkeypatch.setattr("sys.argv", [*options, "--markdown"])
    assert quality.main() == 0
    assert "| **SESR-M3, here, float LR** (" in capsys.readouterr().out


def test_stages_state_their_pixels_and_single_runs_their_steps(report: ModuleType) -> None:
    command = "sesr-ref train --no-short-residuals --start-from x"
    one = {"steps": 12000, "pixels": 5, "command": command}
    assert report._length(one) == "12 000 steps"
    assert report._length(one | {"stages": [{}], "pixels": 32.24e9}) == "32.2 Gpx"


def test_stated_scores_are_the_manifests(
    quality: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["run_quality", "--stated", "--markdown"])
    assert quality.main() == 0
    lines = capsys.readouterr().out.splitlines()
    for entry in shipped().values():
        score = entry["scores"]["Set14"]
        text = f"| {score['psnr_db']:.2f}/{score['ssim']:.4f} |".replace("/0.", "/.")
        assert any(text in line and "here" in line for line in lines), text
    monkeypatch.setattr("sys.argv", ["run_quality", "--stated", "--ensemble"])
    with pytest.raises(SystemExit, match="2"):
        quality.main()


def test_the_page_states_the_manifests_scores(
    quality: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["run_quality", "--stated", "--markdown"])
    assert quality.main() == 0
    printed = [line for line in capsys.readouterr().out.splitlines() if ", here** (" in line]
    page = (Path(__file__).resolve().parents[2] / "docs" / "scores.md").read_text("utf-8")
    assert [line for line in page.splitlines() if ", here** (" in line] == printed
