"""`sesr-ref match` with a model in integers: files of a port are read, and its fault is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sesr_ref as sr
from sesr_ref.cli import main
from sesr_ref.images import write_image
from sesr_ref.integers import forward_int, save_quantized

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A model in integers, an image, and a port's files in all formats."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(3)
    net = sr.sesr(1, 3, expand=8)
    params = sr.initialise(net, 1)
    params["act0.slope"][:] = [0.1, 0.3, -0.2]
    q = sr.calibrate(net, params, [rng.random((1, 9, 11, 1), np.float32)])
    iparams = sr.quantize(net, params, q)
    save_quantized("m8.npz", net, iparams, q)
    pixels = rng.integers(0, 256, (9, 11), dtype=np.uint8)
    write_image(Path("in.png"), pixels)
    codes = (pixels.astype(int) - 128).astype(np.int8)[None, ..., None]
    tensors = forward_int(net, iparams, q, codes, "litert")
    Path("port").mkdir()
    for i, (name, tensor) in enumerate(tensors.items()):
        if i % 3 == 0:
            np.save(f"port/{name}.npy", tensor)
        elif i % 3 == 1:
            tensor.tofile(f"port/tensor.{name}.bin")
        else:
            lines = "\n".join(f"{value & 255:02x}" for value in tensor.ravel().tolist())
            Path(f"port/{name}.hex").write_text(lines)
    return tensors


@pytest.mark.parametrize("more", [[], ["--input", "in.png"]])
def test_a_port_is_equal_in_the_arithmetic_that_it_has(
    here: Any, capsys: Capture, more: list[str]
) -> None:
    assert main(["match", "m8.npz", "port", *more]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("equal: ")
    assert "litert" in lines[-1]
    assert main(["match", "m8.npz", "port", "--json"]) == 0
    assert "litert" in json.loads(capsys.readouterr().out)["arithmetics"]


def test_a_fault_is_named_with_exit_code_1(here: Any, capsys: Capture) -> None:
    wrong = here["act0"].copy()
    wrong[..., 1] = np.clip(wrong[..., 1].astype(int) + 9, -128, 127)
    for file in Path("port").glob("*act0*"):
        file.unlink()
    np.save("port/act0.npy", wrong)
    assert main(["match", "m8.npz", "port"]) == 1
    output = capsys.readouterr().out
    assert "act0 is the first layer that differs from " in output
    assert "only channel 1 differs" in output


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ("rm", [], "port has no input.npy: give the image (--input)"),
        ("neck.npy", [], "has no tensor 'neck'"),
        ("head.npy", [], "port: two files are of tensor 'head'"),
        ("", ["--steps", "1"], "--steps must be 0 with a model in integers"),
    ],
)
def test_mistakes_are_one_line(
    here: Any, capsys: Capture, change: str, options: list[str], message: str
) -> None:
    if change == "rm":
        Path("port/input.npy").unlink()
    elif change:
        np.save(f"port/{change}", here["head"])
    assert main(["match", "m8.npz", "port", *options]) == 2
    assert message in capsys.readouterr().err
