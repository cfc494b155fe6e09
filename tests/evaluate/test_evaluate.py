"""Scores of folders: the figures of the field, protocols, layouts, and what is rejected."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import sesr_ref as sr
from sesr_ref.cli import main
from sesr_ref.evaluate import PROTOCOLS, bicubic, network, score_folder, validation_psnr
from sesr_ref.images import Pixels, from_float, luma_of, write_image
from sesr_ref.network import Network, Resize

pytest.importorskip("imageio")
Capture = pytest.CaptureFixture[str]

# Set, enlargement, protocol: mean PSNR and SSIM of bicubic interpolation, as the field knows them.
BICUBIC = {
    ("Set5", 2, "y"): (33.673, 0.9303),
    ("Set5", 4, "y"): (28.429, 0.8111),
    ("Set14", 2, "y"): (30.230, 0.8691),
    ("Set14", 4, "y"): (25.994, 0.7029),
    ("Set5", 2, "y-rounded"): (33.640, 0.9292),
    ("Set5", 4, "y-rounded"): (28.416, 0.8101),
    ("Set14", 2, "y-rounded"): (30.218, 0.8683),
    ("Set14", 4, "y-rounded"): (25.990, 0.7023),
    ("Set5", 2, "float"): (33.690, 0.9308),
    ("Set5", 4, "float"): (28.432, 0.8114),
    ("Set14", 2, "float"): (30.242, 0.8693),
    ("Set14", 4, "float"): (26.004, 0.7025),
    ("BSD100", 4, "y"): (25.961, 0.6681),
}


@pytest.mark.parametrize(
    ("folder", "upscale", "protocol"),
    [key if key[0] == "Set5" else pytest.param(*key, marks=pytest.mark.slow) for key in BICUBIC],
)
def test_bicubic_scores_are_the_published_ones(
    shared: Path, folder: str, upscale: int, protocol: str
) -> None:
    scores = score_folder(
        shared / "data/eval" / folder, {"bicubic": bicubic(upscale)}, upscale, PROTOCOLS[protocol]
    )
    mean = scores.mean()["bicubic"]
    assert (round(mean.psnr_db, 3), round(mean.ssim, 4)) == BICUBIC[folder, upscale, protocol]
    given = folder != "BSD100" and protocol != "float"
    assert scores.low_from == (f"LRbicx{upscale}" if given else "imresize")


@pytest.mark.parametrize("upscale", [2, 4])
def test_scores_from_given_files_equal_those_that_matlab_printed(
    shared: Path, tmp_path: Path, upscale: int
) -> None:
    golden = shared / "golden/matlab"
    (tmp_path / "HR").symlink_to(shared / "data/eval/Set5/HR")
    (tmp_path / f"LRbicx{upscale}").symlink_to(golden / f"Set5_LRx{upscale}_clamped")
    methods = {"bicubic": bicubic(upscale)}
    scores = score_folder(tmp_path, methods, upscale, PROTOCOLS["y-rounded"])
    for kind, key, tolerance in (("PSNR", "psnr_db", 1e-4), ("SSIM", "ssim", 1e-5)):
        lines = (golden / f"Set5_x{upscale}_{kind}.csv").read_text().split()[1:]
        assert len(lines) == 5
        for name, value in (line.split(",") for line in lines):
            got = getattr(scores.images[name]["bicubic"], key)
            assert got == pytest.approx(float(value), abs=tolerance)


def _pixels(height: int = 24, width: int = 27, channels: tuple[int, ...] = (3,)) -> Pixels:
    ramp = np.linspace(0.2, 0.8, height)[:, None] + 0.1 * np.sin(np.arange(width) / 2)
    noise = np.random.default_rng(4).random((height, width, *channels)) * 0.1
    return from_float(ramp.reshape(height, width, *[1] * len(channels)) + noise, np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A test set of a colour and a grey image, whose sizes do not divide by 2."""
    folder = tmp_path / "set"
    folder.mkdir()
    sr.write_image(folder / "colour.png", _pixels())
    sr.write_image(folder / "grey.PNG", _pixels(25, 31, ()))
    (folder / "readme.txt").write_text("no image")
    return folder


INTERPOLATE = Network("interpolate", 2, 1, (Resize("resize", 2),))


def test_a_network_is_scored_on_the_y_that_it_computes(folder: Path) -> None:
    scores = score_folder(folder, {"n": network(INTERPOLATE, {})}, 2).images
    assert list(scores) == ["colour", "grey"]
    for name, pixels, codes in (
        ("colour", _pixels()[:, :26], (16, 235)),
        ("grey", _pixels(25, 31, ())[:24, :30], (0, 255)),  # Y itself, in the file's own range
    ):
        low, reference = (luma_of(x / 255) for x in (sr.imresize(pixels, 0.5), pixels))
        luma = np.clip(sr.imresize(low, 2), codes[0] / 255, codes[1] / 255)
        assert scores[name]["n"].psnr_db == pytest.approx(sr.psnr(reference, luma, 2), abs=1e-4)
        assert scores[name]["n"].ssim == pytest.approx(sr.ssim(reference, luma, 2), abs=1e-6)


def test_grey_images_of_black_and_white_are_not_clipped_to_studio_range(tmp_path: Path) -> None:
    disc = np.hypot(*np.mgrid[-20:20, -20:20]) / 3 - 3
    pixels = (255 * np.clip(disc, 0, 1)).astype(np.uint8)
    sr.write_image(tmp_path / "disc.png", pixels)
    methods = {"bicubic": bicubic(2), "network": network(INTERPOLATE, {})}
    scores = score_folder(tmp_path, methods, 2).images["disc"]
    assert scores["network"].psnr_db == pytest.approx(scores["bicubic"].psnr_db, abs=0.5)


COLOURS = Network("colours", 2, 3, (Resize("resize", 2),))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_network_on_rgb_is_scored_by_the_y_of_its_result(folder: Path, protocol: str) -> None:
    rule = PROTOCOLS[protocol]
    scores = score_folder(folder, {"n": network(COLOURS, {})}, 2, rule).images
    for name, pixels in (("colour", _pixels()[:, :26]), ("grey", _pixels(25, 31, ())[:24, :30])):
        high = pixels if rule.rounded_images else pixels / 255
        low = sr.imresize(high, 0.5)
        shown = np.clip(sr.imresize(low / (255 if rule.rounded_images else 1), 2), 0, 1)
        shown = from_float(shown, np.uint8) / 255 if rule.rounded_images else shown
        reference, luma = luma_of(pixels / 255), luma_of(shown)
        if rule.rounded_luma:
            reference, luma = (from_float(y, np.uint8) / 255 for y in (reference, luma))
        assert scores[name]["n"].psnr_db == pytest.approx(sr.psnr(reference, luma, 2), abs=2e-3)
        assert scores[name]["n"].ssim == pytest.approx(sr.ssim(reference, luma, 2), abs=1e-5)


def test_bicubic_as_a_network_on_rgb_scores_as_the_baseline(folder: Path) -> None:
    methods = {
        "bicubic": bicubic(2),
        "n": network(COLOURS, {}),
        "tiles": network(COLOURS, {}, tile=5),
    }
    for scores in score_folder(folder, methods, 2).images.values():
        assert scores["n"].psnr_db == pytest.approx(scores["bicubic"].psnr_db, abs=0.05)
        assert scores["tiles"] == scores["n"]


def test_a_network_on_rgb_is_validated_while_it_trains(folder: Path) -> None:
    mean = score_folder(folder, {"n": network(COLOURS, {})}, 2).mean()["n"]
    assert validation_psnr(folder, 2)(COLOURS, {}) == pytest.approx(mean.psnr_db, abs=1e-9)


def test_networks_on_other_channels_are_not_scored() -> None:
    net = Network("two", 2, 2, (Resize("resize", 2),))
    with pytest.raises(ValueError, match=r"scores are of Y: two works on 2 channels; needed is 1"):
        network(net, {})


def test_protocols_differ_by_rounding_alone(folder: Path) -> None:
    methods = {"bicubic": bicubic(2), "network": network(INTERPOLATE, {})}
    means = {name: score_folder(folder, methods, 2, p).mean() for name, p in PROTOCOLS.items()}
    for method in methods:
        figures = {mean[method].psnr_db for mean in means.values()}
        assert len(figures) == 3
        assert max(figures) - min(figures) < 0.5
    both = means["float"].values()  # nothing rounded: interpolating Y is interpolating RGB
    assert np.ptp([score.psnr_db for score in both]) < 1e-4


def test_an_image_that_its_enlargement_equals_scores_infinity(tmp_path: Path) -> None:
    sr.write_image(tmp_path / "flat.png", np.full((20, 20), 100, np.uint8))
    mean = score_folder(tmp_path, {"bicubic": bicubic(2)}, 2).mean()["bicubic"]
    assert (mean.psnr_db, mean.ssim) == (np.inf, 1.0)


def test_given_low_resolution_images_are_used(folder: Path, tmp_path: Path) -> None:
    for name in ("HR", "LRbicx2"):
        (tmp_path / "given" / name).mkdir(parents=True)
    sr.write_image(tmp_path / "given/HR/grey.png", _pixels(24, 30, ()))
    flat = np.full((12, 15, 3), 128, np.uint8)  # a grey image with three equal channels
    sr.write_image(tmp_path / "given/LRbicx2/grey.png", flat)
    scores = score_folder(tmp_path / "given", {"bicubic": bicubic(2)}, 2)
    expected = sr.psnr(_pixels(24, 30, ()), np.full((24, 30), 128, np.uint8), 2)
    assert scores.images["grey"]["bicubic"].psnr_db == pytest.approx(expected)
    assert scores.low_from == "LRbicx2"


def _set(folder: Path, high: Pixels, low: Pixels | None) -> None:
    for name, pixels in (("HR", high), ("LRbicx2", low)):
        (folder / name).mkdir(parents=True)
        if pixels is not None:
            sr.write_image(folder / name / "a.png", pixels)


BAD_SETS = {
    "low missing": (_pixels(24, 30), None, r"LRbicx2/a.png"),
    "low of another size": (
        _pixels(24, 30),
        _pixels(12, 14),
        r"must be \(12, 15\), got \(12, 14\)",
    ),
    "low with colours": (_pixels(24, 30, ()), _pixels(12, 15), "its high-resolution image is grey"),
    "too small for SSIM": (_pixels(12, 30), _pixels(6, 15), "a.png: .* at least 11 x 11 for SSIM"),
    "too small to divide": (_pixels(1, 30), _pixels(1, 15), "a.png: .* at least 2 x 2 pixels"),
    "transparent": (_pixels(24, 30, (4,)), _pixels(12, 15), "a.png: .*transparent pixels"),
}


@pytest.mark.parametrize("case", BAD_SETS)
def test_a_set_that_cannot_be_scored_names_the_file(tmp_path: Path, case: str) -> None:
    high, low, message = BAD_SETS[case]
    _set(tmp_path / "set", high, low)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        score_folder(tmp_path / "set", {"bicubic": bicubic(2)}, 2)


def test_folders_without_images_or_with_two_of_a_name_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="contains no image"):
        score_folder(tmp_path, {"bicubic": bicubic(2)}, 2)
    for suffix in (".png", ".bmp"):
        sr.write_image(tmp_path / f"a{suffix}", _pixels())
    with pytest.raises(ValueError, match="two images are called a"):
        score_folder(tmp_path, {"bicubic": bicubic(2)}, 2)
    with pytest.raises(FileNotFoundError):
        score_folder(tmp_path / "none", {"bicubic": bicubic(2)}, 2)


# The command -------------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A file with the weights of a small network."""
    net = sr.sesr(blocks=1, features=4, expand=4)
    sr.save(tmp_path / "model.npz", net, sr.initialise(net))
    return str(tmp_path / "model.npz")


def test_the_command_prints_a_table_that_names_its_protocol(
    folder: Path, model: str, capsys: Capture
) -> None:
    assert main(["evaluate", "--data", str(folder), "-n", model, "--engine", "reference"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "set x2: PSNR and SSIM on Y, protocol y (8-bit images, Y unrounded), border 2, "
        "low resolution from imresize"
    )
    assert [line.split()[0] for line in lines[3:]] == ["colour", "grey", "mean"]
    expected = score_folder(folder, {"bicubic": bicubic(2)}, 2).mean()["bicubic"]
    assert f"{expected.psnr_db:.3f}  " in lines[-1]
    assert f"{expected.ssim:.4f}  " in lines[-1]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_command_says_how_a_network_on_rgb_is_scored(
    folder: Path, tmp_path: Path, capsys: Capture, protocol: str
) -> None:
    net = sr.architecture("abpn-m1c3-x2")
    sr.save(tmp_path / "rgb.npz", net, sr.initialise(net))
    arguments = ["--data", str(folder), "-n", str(tmp_path / "rgb.npz"), "--engine", "reference"]
    assert main(["evaluate", *arguments, "--protocol", protocol]) == 0
    rule = PROTOCOLS[protocol]
    lines = capsys.readouterr().out.splitlines()
    assert f"protocol {protocol} ({rule.text}; a network on RGB by the Y of its " in lines[0]
    assert ("8-bit result)" in lines[0]) == rule.rounded_images
    assert "abpn-m1c3-x2 dB" in lines[1]
    assert main(["evaluate", *arguments, "--protocol", protocol, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["protocol"]["colours"] == rule.colours


def test_the_command_prints_json(folder: Path, model: str, capsys: Capture) -> None:
    arguments = ["--data", str(folder), "-n", model, "--engine", "reference", "--json"]
    assert main(["evaluate", *arguments, "--protocol", "float"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["protocol"]["name"] == "float"
    assert (answer["upscale"], answer["border"]) == (2, 2)
    assert (answer["engine"], answer["low_resolution"]) == ("reference", "imresize")
    assert set(answer["images"]) == {"colour", "grey"}
    (name,) = set(answer["mean"]) - {"bicubic"}
    mean = np.mean([image[name]["psnr_db"] for image in answer["images"].values()])
    assert answer["mean"][name]["psnr_db"] == pytest.approx(mean)


def test_processes_score_as_one_does(
    folder: Path, model: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sesr_ref.workers.processes.START_SECONDS", 1e-9)  # one image
    for i in range(4):
        write_image(folder / f"more{i}.png", _pixels(30 + i))
    answers = []
    for jobs in ("1", "2"):
        words = ["evaluate", "--data", str(folder), "-n", model, "--engine", "reference", "--json"]
        assert main([*words, "--jobs", jobs]) == 0
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1]
    assert answers[0].count('"psnr_db"') > 8


def test_bicubic_alone_needs_no_weights(folder: Path, capsys: Capture) -> None:
    arguments = ["evaluate", "--data", str(folder), "-n", "bicubic", "-s", "4"]
    assert main([*arguments, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["upscale"] == 4
    assert list(answer["mean"]) == ["bicubic"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-n", "bicubic", "--data", "none"], "none: no such folder"),
        (["-n", "none.npz", "--data", "set"], "none.npz: no such file"),
        (["-n", "bicubic", "--data", "set", "-s", "0"], "-s must be at least 1"),
        (["-n", "bicubic", "--data", "set", "--max-pixels", "9"], "more than the limit of 9"),
        (
            ["-n", "model.npz", "--data", "set", "-s", "4"],
            "model.npz must be 2, got 4",
        ),
        (["-n", "model.npz", "--data", "set", "-t", "0"], "e: --tile must be at least 1, got 0"),
        (["-n", "bicubic", "--data", "set", "--max-pixels", "0"], "e: --max-pixels must be at"),
    ],
)
def test_a_mistake_is_one_line(
    folder: Path,
    model: str,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(Path(model).parent)
    assert main(["evaluate", *arguments, "--engine", "reference"]) == 2
    output = capsys.readouterr()
    assert message in output.err
    assert len(output.err.splitlines()) == 1
    assert output.out == ""


def test_validation_while_training_is_the_score_of_the_folder(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, shape in (("a", (41, 50, 3)), ("b", (33, 40))):
        write_image(tmp_path / f"{name}.png", rng.integers(0, 256, shape, dtype=np.uint8))
    net = sr.sesr(1, 3, expand=4)
    params = sr.initialise(net)
    mean = score_folder(tmp_path, {"net": network(net, params)}, 2).mean()["net"]
    assert validation_psnr(tmp_path, 2)(net, params) == pytest.approx(mean.psnr_db, abs=1e-9)


def test_validation_names_the_image_that_it_cannot_score(tmp_path: Path) -> None:
    pixels = np.full((12, 12, 4), 9, np.uint8)
    write_image(tmp_path / "glass.png", pixels)
    with pytest.raises(ValueError, match=r"glass\.png: the image has transparent pixels"):
        validation_psnr(tmp_path, 2)
