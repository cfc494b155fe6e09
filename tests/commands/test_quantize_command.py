"""`sesr-ref quantize`: grids, integers and scores; the result is a MODEL of other commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sesr_ref as sr
from checks import need_kernels
from sesr_ref.cli import main
from sesr_ref.images import write_image
from sesr_ref.integers.calibration import CODES

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small network, a folder of images and one image."""
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 256, (40 + 2 * i, 50, 3), dtype=np.uint8)
        write_image(Path("images", f"{i}.png"), pixels)
    net = sr.sesr(1, 3, expand=4)
    params = sr.initialise(net, 2)
    params["act0.slope"][:] = 0.2
    sr.save("model.npz", net, params)
    return tmp_path


def quantized(*options: str) -> int:
    return main(
        [
            "quantize",
            "model.npz",
            "--calibrate",
            "images",
            "-o",
            "small.npz",
            "--engine",
            "reference",
            *options,
        ]
    )


def test_the_file_holds_what_the_functions_make(here: Path, capsys: Capture) -> None:
    assert quantized("--as-they-are", "--images", "2") == 0
    net, params = sr.load("model.npz")
    small, iparams, q = sr.load_quantized("small.npz")
    images = [sr.read_image(f"images/{i}.png").pixels for i in (0, 1)]
    luma = [sr.rgb_to_ycbcr(image / 255.0)[None, ..., :1].astype(np.float32) for image in images]
    assert q == sr.calibrate(net, params, luma)
    assert small == sr.collapsed(net)
    for name, value in sr.quantize(net, params, q).items():
        np.testing.assert_array_equal(iparams[name], value)
        assert iparams[name].dtype == value.dtype
    output = capsys.readouterr().out
    assert "zero point" in output
    assert output.splitlines()[-1].startswith("wrote small.npz: ")


def test_a_model_that_the_kernels_leave_out_says_so_in_one_line(
    here: Path, capsys: Capture
) -> None:
    need_kernels()
    assert quantized("--bits", "16") == 0
    capsys.readouterr()
    options = ["--engine", "fast", "-n", "small.npz", "-o"]
    assert main(["upscale", "images/0.png", "images/1.png", *options, "out"]) == 0
    (line,) = (x for x in capsys.readouterr().err.splitlines() if x.startswith("notice"))
    assert line.endswith("NumPy runs these integers, the kernels do not: head has 16 bits")


def test_the_result_enlarges_pictures_as_its_integers_do(here: Path, capsys: Capture) -> None:
    assert quantized() == 0
    grey = np.random.default_rng(5).integers(0, 256, (9, 13), dtype=np.uint8)
    write_image(Path("grey.png"), grey)
    command = ["upscale", "grey.png", "-n", "small.npz", "--engine", "reference", "--json"]
    capsys.readouterr()
    assert main([*command, "-o", "a.png", "--arithmetic", "litert"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "sesr-m1-f3-x2 (litert)"
    net, iparams, q = sr.load_quantized("small.npz")
    from sesr_ref.evaluate import IntegerModel, enlarge_image

    expected = enlarge_image(grey, IntegerModel(net, iparams, q, "litert"))
    np.testing.assert_array_equal(sr.read_image("a.png").pixels, expected)
    assert main([*command, "-o", "b.png", "-t", "4", "--arithmetic", "litert"]) == 0
    assert Path("b.png").read_bytes() == Path("a.png").read_bytes()


def test_scores_stand_beside_the_floats(here: Path, capsys: Capture) -> None:
    assert quantized("--score", "images", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["protocol"] == "y-rounded"
    assert set(found["scores"]) == {"images"}
    assert (
        main(
            [
                "evaluate",
                "-n",
                "small.npz",
                "--data",
                "images",
                "--protocol",
                "y-rounded",
                "--json",
                "--engine",
                "reference",
            ]
        )
        == 0
    )
    mean = json.loads(capsys.readouterr().out)["mean"]
    assert mean["sesr-m1-f3-x2 (tflite)"]["psnr_db"] == found["scores"]["images"]["integers"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--bits", "16"], {"head": (16, 0), "input": (8, -128)}),
        (["--wide", "head"], {"head": (16, 0), "act0": (8, None)}),
        (["--fused", "activations"], {"block0": (32, 0)}),
        (["--power-of-two"], {"head": (8, 0), "tail": (8, 0)}),
    ],
)
def test_options_reach_the_grids(
    here: Path, options: list[str], expected: dict[str, tuple[int, Any]]
) -> None:
    assert quantized(*options) == 0
    grids = sr.load_quantized("small.npz")[2].tensors
    for name, (bits, zero) in expected.items():
        assert grids[name].bits == bits
        assert zero is None or grids[name].zero_point == zero
    if options == ["--power-of-two"]:
        assert all(np.log2(grid.scales) % 1 == 0 for grid in grids.values())


TRAIN = ["--qat", "--data", "images", "--batch", "2", "--crop", "8", "--cache", "cache"]


def test_training_changes_the_integers_and_keeps_the_codes(here: Path) -> None:
    assert quantized() == 0
    before = sr.load_quantized("small.npz")
    options = [*TRAIN, "--steps", "20", "--lr", "0.003"]
    assert quantized(*options, "--overwrite") == 0
    net, iparams, q = sr.load_quantized("small.npz")
    assert q.tensors["input"] == q.tensors[net.output] == CODES
    assert q.tensors["head"].scale != before[2].tensors["head"].scale
    assert (iparams["head.weight"] != before[1]["head.weight"]).any()
    assert Path("small.qat/weights.npz").exists()


@pytest.mark.parametrize("teacher", [[], ["--teacher"]])
def test_a_stopped_training_resumes_to_the_same_bytes(here: Path, teacher: list[str]) -> None:
    options = [*TRAIN, *teacher, "--steps", "6", "--checkpoint-every", "3"]
    assert quantized(*options, "--training", "whole") == 0
    expected = Path("small.npz").read_bytes()
    assert quantized(*options, "--training", "part", "--overwrite") == 0
    Path("part/weights.npz").unlink()
    from sesr_ref.train.checkpoint import described

    assert described(Path("part/checkpoint.npz"))["step"] == 6
    assert quantized(*options, "--training", "part", "--overwrite", "--resume") == 0
    assert Path("small.npz").read_bytes() == expected


def test_integers_are_scored_while_they_are_trained(here: Path, capsys: Capture) -> None:
    options = [*TRAIN, "--steps", "2", "--val", "images", "--validate-every", "1"]
    assert quantized(*options) == 0
    log = [json.loads(line) for line in Path("small.qat/log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in log] == [1, 2]
    assert (
        main(["evaluate", "-n", "small.npz", "--data", "images", "--json", "--engine", "reference"])
        == 0
    )
    mean = json.loads(capsys.readouterr().out.partition("{")[2].join(["{", ""]))["mean"]
    assert mean["sesr-m1-f3-x2 (tflite)"]["psnr_db"] == pytest.approx(log[-1]["psnr_db"], abs=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "x.onnx"], "x.onnx: the suffix must be .npz"),
        (["--images", "0"], "--images must be 1 or more, got 0"),
        (["--qat"], "--data must be given with --qat"),
        (["--wide", "neck"], "bits: a tensor must be one of input, head"),
        (["--calibrate", "none"], "none: no such folder"),
        (["--score", "none"], "none: no such folder"),
        (["-o", "model.npz"], "model.npz exists already (--overwrite replaces it)"),
    ],
)
def test_mistakes_are_one_line(
    here: Path, capsys: Capture, options: list[str], message: str
) -> None:
    assert quantized(*options) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"sesr-ref quantize: {message}")


@pytest.mark.parametrize("command", ["collapse", "prove", "export"])
def test_commands_for_real_numbers_say_that_it_holds_integers(
    here: Path, capsys: Capture, command: str
) -> None:
    assert quantized() == 0
    out = {"collapse": ["-o", "x.npz"], "export": ["-o", "x.onnx"]}.get(command, [])
    assert main([command, "small.npz", *out]) == 2
    assert "holds a network in integers" in capsys.readouterr().err
    assert main(["upscale", "images/0.png", "-o", "y.png", "--arithmetic", "ruy"]) == 2
    assert "--arithmetic" in capsys.readouterr().err
