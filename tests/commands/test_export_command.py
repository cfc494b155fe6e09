"""sesr-ref export: what it writes, what it says, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sesr_ref as sr
from sesr_ref import cli
from sesr_ref.exchange.formats import LOADERS, SAVERS

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
pytest.importorskip("safetensors", reason="needs the extra onnx")

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def model(tmp_path: Path, rng: np.random.Generator) -> Path:
    net = sr.sesr(2, 4, 4, expand=20, block_bias="true")
    shapes = net.param_shapes()
    params: Any = {k: rng.normal(0, 0.2, s).astype("f4") for k, s in shapes.items()}
    sr.save(tmp_path / "model.npz", net, params)
    return tmp_path / "model.npz"


def export(*argv: str | Path) -> int:
    return cli.main(["export", *map(str, argv)])


def outputs(path: Path, x: Any) -> Any:
    return sr.run(*sr.load_any(path), x)


def test_every_format_that_is_written_is_read() -> None:
    assert set(SAVERS) | {".onnx"} == set(LOADERS)


@pytest.mark.parametrize("suffix", LOADERS)
@pytest.mark.parametrize("expanded", [True, False])
def test_every_format_holds_the_same_network(
    suffix: str, expanded: bool, model: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    out = tmp_path / f"out{suffix}"
    assert export(model, "-o", out, *(["--expanded"] if expanded else [])) == 0
    net, _ = sr.load_any(out)
    reference, _ = sr.load(model)
    assert any("LinearBlock" in str(la) for la in net.layers) == expanded
    wanted = reference if expanded else sr.collapsed(reference)
    assert net.param_shapes() == wanted.param_shapes()
    x = rng.random((1, 6, 5, 1), dtype=np.float32)
    np.testing.assert_allclose(outputs(out, x), outputs(model, x), rtol=0, atol=1e-5)


def test_the_json_says_what_was_written(model: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "m.onnx"
    assert export(model, "-o", out, "--size", "9x14", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    net = sr.collapsed(sr.load(model)[0])
    assert facts == {
        "file": str(out),
        "network": net.name,
        "upscale": 4,
        "channels": 1,
        "parameters": sum(int(np.prod(s)) for s in net.param_shapes().values()),
        "dtype": "float32",
        "bytes": out.stat().st_size,
        "opset": 17,
        "size": [9, 14],
    }
    dims = onnx.load(out).graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_value for d in dims] == [1, 1, 9, 14]


def test_the_text_is_one_line(model: Path, tmp_path: Path, capsys: Capture) -> None:
    assert export(model, "-o", tmp_path / "m.safetensors") == 0
    text = capsys.readouterr().out
    assert text.startswith(f"wrote {tmp_path / 'm.safetensors'}: sesr-m2-f4-x4, x4, ")
    assert text.count("\n") == 1
    assert " parameters, float32, " in text
    for size, end in (("9x14", "input 9x14\n"), ("dynamic", "input dynamic\n")):
        assert export(model, "-o", tmp_path / "m.onnx", "--size", size, "--overwrite") == 0
        assert capsys.readouterr().out.endswith(end)


def test_what_cannot_be_expanded_any_more_is_said(
    model: Path, tmp_path: Path, capsys: Capture
) -> None:
    small, out = tmp_path / "small.npz", tmp_path / "m.onnx"
    assert export(model, "-o", out, "--expanded") == 0
    assert capsys.readouterr().err == ""
    assert export(model, "-o", small) == 0
    assert export(small, "-o", out, "--expanded", "--overwrite") == 0
    assert capsys.readouterr().err == f"{small} has no linear blocks: --expanded changes nothing\n"


@pytest.mark.parametrize("suffix", LOADERS)
def test_float16_and_the_order_of_channels(
    suffix: str, model: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    out = tmp_path / f"out{suffix}"
    assert export(model, "-o", out, "--dtype", "float16", "--mode", "CRD") == 0
    net, _ = sr.load_any(out)
    assert {getattr(la, "mode", "CRD") for la in net.layers} == {"CRD"}
    x = rng.random((1, 6, 5, 1), dtype=np.float32)
    np.testing.assert_allclose(outputs(out, x), outputs(model, x), rtol=0, atol=0.02)


def test_every_tensor_may_be_an_output(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.onnx"
    assert export(model, "-o", out, "--every-tensor", "--expanded") == 0
    names = [o.name for o in onnx.load(out).graph.output]
    assert sorted(names) == sorted(la.name for la in sr.expanded(sr.load(model)[0]).layers)


@pytest.mark.parametrize("form", ["--expanded", "--size=6x5"])
def test_a_model_with_every_tensor_is_read_back(
    model: Path, form: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    out = tmp_path / "m.onnx"
    assert export(model, "-o", out, "--every-tensor", form) == 0
    x = rng.random((1, 6, 5, 1), dtype=np.float32)
    np.testing.assert_allclose(outputs(out, x), outputs(model, x), rtol=0, atol=1e-5)


def test_a_dialect_is_written_for_those_who_read_it(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    assert export(model, "-o", out, "--dialect", "torch", "--expanded") == 0
    from safetensors.numpy import load_file

    assert load_file(out)["head.expand.weight"].shape == (20, 1, 5, 5)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["-o", "m.xyz"], "m.xyz: the name must end in one of .onnx, .npz"),
        (["-o", "m.npz", "--size", "4x4"], "--size and --every-tensor are for ONNX"),
        (["-o", "m.pth", "--every-tensor"], "--size and --every-tensor are for ONNX"),
        (["-o", "m.onnx", "--dialect", "aimet"], "--dialect is for safetensors"),
        (["-o", "m.pth", "--mode", "CRD", "--expanded"], "leave out --expanded"),
        (["-o", "m.pth", "--dialect", "aimet", "--expanded"], "is not the network that AIMET"),
        (["-o", "m.pth", "--dialect", "torch"], "parameters of linear blocks: add --expanded"),
        (["-o", "m.pth", "--dialect", "aimet-collapsed", "--expanded"], "leave out --expanded"),
        (["-o", "m.onnx", "--size", "0x4"], "size must be height and width from 1 on"),
        (["-o", "kept.onnx"], "kept.onnx exists already (--overwrite replaces it)"),
        (["-o", "nowhere/m.onnx"], "nowhere"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing_behind(
    argv: list[str], message: str, model: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model.parent)
    (model.parent / "kept.onnx").write_text("mine")
    assert export(model, *argv) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert sorted(p.name for p in model.parent.iterdir()) == ["kept.onnx", "model.npz"]
    assert (model.parent / "kept.onnx").read_text() == "mine"


def test_a_size_that_is_none_is_refused_by_the_parser(model: Path, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stop:
        export(model, "-o", "m.onnx", "--size", "big")
    assert stop.value.code == 2
    assert "'big' is neither HxW nor 'dynamic'" in capsys.readouterr().err
