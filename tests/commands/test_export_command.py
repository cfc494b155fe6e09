"""sesr-ref export: what it writes, what it says, what it rejects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sesr_ref as sr
from sesr_ref import cli
from sesr_ref.exchange.formats import LOADERS, SAVERS
from sesr_ref.exchange.state import to_state

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
pytest.importorskip("safetensors", reason="needs the extra onnx")

Capture = pytest.CaptureFixture[str]
WRITTEN = (*SAVERS, ".onnx")


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
    assert set(WRITTEN) < set(LOADERS)


@pytest.mark.parametrize("suffix", WRITTEN)
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


@pytest.mark.parametrize("suffix", WRITTEN)
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


def test_a_module_is_written_with_its_weights(model: Path, tmp_path: Path, capsys: Capture) -> None:
    out, module = tmp_path / "m.pth", tmp_path / "m.py"
    argv: list[str | Path] = ["-o", out, "--dialect", "torch", "--module", module]
    assert export(model, *argv, "--expanded", "--json") == 0
    assert json.loads(capsys.readouterr().out)["module"] == str(module)
    assert '"expand": nn.Conv2d(1, 20, 5, padding=2),' in module.read_text()
    assert export(model, *argv, "--overwrite") == 0
    assert capsys.readouterr().out.endswith(f", and the module {module}\n")
    assert "self.head = nn.Conv2d(1, 4, 5, padding=2)" in module.read_text()
    assert sr.load_any(out)[0] == sr.collapsed(sr.load(model)[0])


def test_the_opset_may_be_chosen(model: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "m.onnx"
    assert export(model, "-o", out, "--opset", "11") == 0
    assert ", opset 11, " in capsys.readouterr().out
    assert [o.version for o in onnx.load(out).opset_import] == [11]
    with pytest.raises(SystemExit):
        export(model, "-o", out, "--opset", "10")


def test_one_of_several_outputs_is_chosen(model: Path, tmp_path: Path, capsys: Capture) -> None:
    out, small = tmp_path / "m.onnx", tmp_path / "small.npz"
    assert export(model, "-o", out, "--every-tensor") == 0
    proto = onnx.load(out)
    proto.producer_name = "somebody"
    out.write_bytes(proto.SerializeToString())
    assert export(out, "-o", small) == 2
    assert "say which one is the image (--output NAME)" in capsys.readouterr().err
    assert export(out, "-o", small, "--output", "shuffle1") == 0
    assert sr.load(small)[0].output == "shuffle1"


@pytest.mark.parametrize("by", ["name", "file"])
def test_a_state_dict_is_read_as_the_network_that_is_asked_for(
    by: str, tmp_path: Path, capsys: Capture, rng: np.random.Generator
) -> None:
    net = sr.fsrcnn(2)
    params: Any = {k: rng.normal(0, 0.2, s).astype("f4") for k, s in net.param_shapes().items()}
    stems = {name.rpartition(".")[0]: i for i, name in enumerate(params)}
    state: Any = {
        f"{stems[name.rpartition('.')[0]]}.weight": array
        for name, array in to_state(net, params, "torch").items()
    }
    np.savez(tmp_path / "m.npz", **state)
    out, described = tmp_path / "out.npz", tmp_path / "net.json"
    assert export(tmp_path / "m.npz", "-o", out) == 2
    assert "say which one with --as (fsrcnn-x2, fsrcnn-x3, fsrcnn-x4)" in capsys.readouterr().err
    described.write_text(net.to_json())
    asked = "fsrcnn-x2" if by == "name" else described
    assert export(tmp_path / "m.npz", "-o", out, "--as", asked) == 0
    x = rng.random((1, 6, 5, 1), dtype=np.float32)
    np.testing.assert_allclose(outputs(out, x), sr.run(net, params, x), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["-o", "m.xyz"], "m.xyz: the name must end in one of .onnx, .npz"),
        (["-o", "m.npz", "--size", "4x4"], "--size, --every-tensor and --opset are for ONNX"),
        (["-o", "m.pth", "--every-tensor"], "--size, --every-tensor and --opset are for ONNX"),
        (["-o", "m.onnx", "--dialect", "aimet"], "--dialect is for safetensors"),
        (["-o", "m.pth", "--mode", "CRD", "--expanded"], "leave out --expanded"),
        (["-o", "m.pth", "--dialect", "aimet", "--expanded"], "is not the network that AIMET"),
        (["-o", "m.pth", "--dialect", "aimet"], "parameters of linear blocks: add --expanded"),
        (["-o", "m.pth", "--opset", "12"], "--size, --every-tensor and --opset are for ONNX"),
        (["-o", "m.pth", "--module", "m.py"], "--module needs --dialect torch"),
        (["-o", "m.pth", "--dialect", "torch", "--module", "m.txt"], "must end in .py"),
        (["-o", "m.pth", "--dialect", "torch", "--module", "kept.py"], "kept.py exists already"),
        (["-o", "m.onnx", "--output", "y"], "a model with --output must be an ONNX model"),
        (["-o", "m.onnx", "--as", "sesr-m2-x4"], "the file states its network: omit --as"),
        (["-o", "m.onnx", "--as", "nothing"], "no architecture is called 'nothing'"),
        (["-o", "m.onnx", "--as", "none.json"], "none.json"),
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
    for name in ("kept.onnx", "kept.py"):
        (model.parent / name).write_text("mine")
    assert export(model, *argv) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert sorted(p.name for p in model.parent.iterdir()) == [
        *("kept.onnx", "kept.py", "model.npz")
    ]
    assert (model.parent / "kept.onnx").read_text() == "mine"


def test_a_size_that_is_none_is_rejected_by_the_parser(model: Path, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stop:
        export(model, "-o", "m.onnx", "--size", "big")
    assert stop.value.code == 2
    assert "'big' is neither HxW nor 'dynamic'" in capsys.readouterr().err
