"""The verdict on a candidate: what is accepted, what is rejected, what is reported."""

from __future__ import annotations

import json
import re
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import sesr_ref as sr
from networks_for_verification import every_kind, random_params
from sesr_ref import network as nw
from sesr_ref.checks import layer_params
from sesr_ref.cli import main
from sesr_ref.verify.bounds.arithmetic import FORMATS, rounded
from sesr_ref.verify.comparison.faults import FAULTS, INPUT_FAULTS
from sesr_ref.verify.comparison.faulty_convolutions import right
from sesr_ref.verify.comparison.inputs import read_input

Array = npt.NDArray[Any]
Rng = np.random.Generator
Case = tuple[sr.Network, dict[str, Array], Array, dict[str, Array]]


def save_all(path: Path, tensors: dict[str, Array]) -> None:
    arrays: dict[str, Any] = tensors
    np.savez(path, **arrays)


@pytest.fixture
def case(rng: Rng) -> Case:
    net = sr.sesr(2, 6, linear_blocks=False)
    params = random_params(net, rng)
    x = rng.random((2, 13, 17, 1), np.float32)
    return net, params, x, sr.forward(net, params, x)


def test_the_reference_itself_agrees_as_output_as_dict_and_as_files(
    case: Case, tmp_path: Path
) -> None:
    net, params, x, tensors = case
    np.save(tmp_path / "y.npy", tensors[net.output])
    save_all(tmp_path / "t.npz", tensors)
    folder = tmp_path / "folder"
    folder.mkdir()
    np.save(folder / "head.npy", tensors["head"])
    tensors[net.output].tofile(folder / f"{net.output}.bin")
    for candidate in (
        tensors[net.output],
        tensors,
        tmp_path / "y.npy",
        str(tmp_path / "t.npz"),
        folder,
    ):
        result = sr.compare(net, params, x, candidate)
        assert result.agrees, result
    assert result.missing == (
        "block0",
        "skip0",
        "act0",
        "block1",
        "skip1",
        "act1",
        "features",
        "tail",
        "subpixels",
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_agrees_in_its_own_format_only(
    case: Case, dtype: str, tmp_path: Path
) -> None:
    net, params, x, _ = case
    fmt = FORMATS[dtype]
    stored = {k: rounded(v, fmt).astype(np.float32) for k, v in params.items()}
    made = {"input": rounded(x, fmt).astype(np.float32)}
    for layer, inputs in net.steps():
        own = layer_params(layer, stored)
        y = right(layer, [made[name] for name in inputs], own)
        made[layer.name] = rounded(y, fmt).astype(np.float32)
    assert sr.compare(net, params, x, made, dtype).agrees
    assert not sr.compare(net, params, x, made).agrees
    if dtype == "bfloat16":
        bits = {k: (v.view(np.uint32) >> 16).astype("<u2") for k, v in made.items()}
        for name, array in bits.items():
            np.save(tmp_path / f"{name}.npy", array)
        assert sr.compare(net, params, x, tmp_path, dtype).agrees


def test_cutting_off_instead_of_rounding_is_caught(case: Case) -> None:
    """bfloat16 by dropping bits, which the theorem alone tells from rounding."""
    net, params, x, _ = case

    def cut(y: Array) -> Array:
        return (y.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)

    stored = {k: rounded(v, FORMATS["bfloat16"]).astype(np.float32) for k, v in params.items()}
    made = {"input": rounded(x, FORMATS["bfloat16"]).astype(np.float32)}
    for layer, inputs in net.steps():
        own = layer_params(layer, stored)
        made[layer.name] = cut(right(layer, [made[name] for name in inputs], own))
    result = sr.compare(net, params, x, made, "bfloat16", fused=False)
    assert result.first_wrong == "head"
    assert result.tensors["head"].check == "guaranteed"


def test_tiles_change_nothing(case: Case) -> None:
    net, params, x, tensors = case
    tensors["block1"] = tensors["block1"].copy()
    tensors["block1"][1, 3, 16, 4] += 1e-4
    whole, tiled = (sr.compare(net, params, x, tensors, tile=tile) for tile in (64, 5))
    assert whole.first_wrong == tiled.first_wrong == "block1"
    for name, report in whole.tensors.items():
        other = tiled.tensors[name]
        assert other.elements == report.elements == tensors[name].size
        assert other.verdict == report.verdict
        assert other.ulps == report.ulps
        assert other.used == pytest.approx(report.used, rel=1e-3)
    worst = tiled.tensors["block1"].worst["statistical"]
    assert worst.at == (1, 3, 16, 4)
    assert worst.candidate == tensors["block1"][1, 3, 16, 4]
    assert worst.candidate - worst.reference == pytest.approx(1e-4, rel=0.01)


def test_tensors_after_a_wrong_one_are_not_blamed(case: Case) -> None:
    net, params, x, _ = case
    params = params | {"block0.weight": params["block0.weight"][::-1].copy()}
    result = sr.compare(net, case[1], x, sr.forward(net, params, x))
    verdicts = {name: report.verdict for name, report in result.tensors.items()}
    assert verdicts["head"] == "agrees"
    assert verdicts["block0"] == "differs"
    assert {verdicts[name] for name in ("act0", "block1", "tail", net.output)} == {"follows"}
    assert "block0" in str(result)
    assert "flipped vertically" in str(result)


def test_small_errors_that_add_up_are_drift(case: Case) -> None:
    """Every layer just inside its bounds, always to the same side."""
    net, params, x, _ = case
    made: dict[str, Array] = {"input": x.astype(np.float64)}
    exact: dict[str, Array] = {k: v.astype(np.float64) for k, v in params.items()}
    for layer, inputs in net.steps():
        values = [made[name] for name in inputs]
        y = right(layer, values, layer_params(layer, exact))
        bounds = sr.error_bounds(net, params, x, kind="statistical")[layer.name]
        made[layer.name] = y + (0.9 * bounds if isinstance(layer, nw.Conv) else 0)
    result = sr.compare(net, params, x, made)
    assert not result.agrees
    assert result.tensors[net.output].error > 0


@pytest.mark.parametrize(
    "kind",
    [kind for kind in nw.PRIMITIVES if kind is not nw.FakeQuantize],  # it has no bounds
    ids=lambda kind: kind.__name__,
)
def test_every_fault_of_every_kind_of_layer_can_be_tried(kind: type[nw.Layer], rng: Rng) -> None:
    net = every_kind()
    params = random_params(net, rng)
    tensors = sr.forward(net, params, rng.random((1, 8, 8, 2)))
    layer, inputs = next((la, i) for la, i in net.steps() if type(la) is kind)
    x, own = [tensors[name] for name in inputs], layer_params(layer, params)
    changed = [
        not np.allclose(faulty(layer, x, own), tensors[layer.name]) for _, faulty in FAULTS[kind]
    ]
    assert sum(changed) >= len(changed) / 2
    assert all(
        faulty(layer, x, own).shape == tensors[layer.name].shape for _, faulty in FAULTS[kind]
    )


@pytest.mark.parametrize(
    ("net", "layer", "change", "named"),
    [
        (
            sr.sesr(1, 4, 4, linear_blocks=False),
            "shuffle1",
            lambda t: nw.DepthToSpace("x", 4, "CRD"),
            "one shuffle by 4",
        ),
        (
            sr.sesr(1, 4, 4, linear_blocks=False),
            "shuffle1",
            lambda t: nw.DepthToSpace("x", 4),
            "one shuffle by 4",
        ),
    ],
)
def test_one_shuffle_by_4_instead_of_two_by_2_is_named(
    net: sr.Network, layer: str, change: Callable[[Any], nw.Layer], named: str, rng: Rng
) -> None:
    params, x = random_params(net, rng), rng.random((1, 9, 9, 1), np.float32)
    tensors = sr.forward(net, params, x)
    tensors[layer] = right(change(tensors), [tensors["subpixels"]], {})
    result = sr.compare(net, params, x, {k: v for k, v in tensors.items() if k != "shuffle0"})
    assert result.first_wrong == layer
    assert result.fault is not None
    assert result.fault.layer == layer
    assert named in result.fault.name


def test_faults_of_colour_networks_and_the_arm_dialect_are_named(rng: Rng) -> None:
    mixed = every_kind()
    params, x = random_params(mixed, rng), rng.random((1, 9, 8, 2), np.float32)
    swapped = x[..., ::-1].copy()
    result = sr.compare(mixed, params, x, sr.forward(mixed, params, swapped))
    assert str(result.fault) == "input: channels reversed (RGB for BGR)"
    tensors = sr.forward(mixed, params, x)
    tensors["shuffle"] = right(nw.DepthToSpace("x", 2, "CRD"), [tensors["scale"]], {})
    result = sr.compare(mixed, params, x, tensors)
    assert str(result.fault) == "shuffle: depth-to-space in mode CRD"
    arm = sr.collapsed(sr.sesr(1, 4, dialect="arm", block_bias="true"))
    params, x = random_params(arm, rng), rng.random((1, 9, 8, 1), np.float32)
    changes: list[tuple[str, Callable[[dict[str, Array]], Array], str]] = [
        ("shift", lambda t: t["input"], "not shifted"),
        ("clip", lambda t: t["shuffle0"], "not clipped"),
        ("head", lambda t: t["head"] - params["head.bias"], "bias missing"),
    ]
    for layer, change, named in changes:
        tensors = sr.forward(arm, params, x)
        tensors[layer] = change(tensors)
        result = sr.compare(arm, params, x, tensors)
        assert result.first_wrong == layer
        assert result.fault is not None
        assert named in result.fault.name


def test_the_input_s_faults_all_change_it(rng: Rng) -> None:
    x = rng.random((1, 6, 6, 3))
    assert all(not np.allclose(change(x), x) for _, change in INPUT_FAULTS)


BAD: list[tuple[Callable[[dict[str, Array]], Any], str]] = [
    (lambda t: {**t, "blok0": t["block0"]}, "no tensor 'blok0'; did you mean 'block0'"),
    (lambda t: {"head": t["head"]}, "the output 'shuffle0' is missing"),
    (lambda t: {}, "is missing"),
    (lambda t: t["shuffle0"].transpose(0, 3, 1, 2), r"transpose\(0, 2, 3, 1\) would fit"),
    (lambda t: {**t, "head": t["head"].transpose(0, 3, 1, 2)}, r"head must have shape .*fit"),
    (lambda t: t["shuffle0"][..., 0], r"reshape to \(2, 26, 34, 1\) would fit"),
    (lambda t: t["shuffle0"][:, :-1], r"must have shape \(2, 26, 34, 1\), got \(2, 25, 34, 1\)$"),
    (lambda t: {**t, "tail": t["tail"] * np.nan}, r"tail holds nan at \(0, 0, 0, 0\)"),
    (lambda t: {**t, "tail": np.where(t["tail"] == t["tail"].max(), np.inf, t["tail"])}, "inf at"),
    (lambda t: (t["shuffle0"] * 255).astype(np.uint8), "floating-point numbers, got uint8"),
    (lambda t: {**t, "head": "no array"}, "head must be a NumPy array, got str"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_candidates_are_rejected_in_one_line(
    case: Case, change: Callable[[dict[str, Array]], Any], message: str
) -> None:
    net, params, x, tensors = case
    with pytest.raises(ValueError, match=message) as caught:
        sr.compare(net, params, x, change(tensors))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tail": np.nan}, "tail holds nan at"),
        ({"shuffle0": np.zeros((1, 2, 3, 4))}, "shuffle0 must have shape"),
        ({"shuffle0": np.zeros((2, 26, 34, 1), np.uint8)}, "shuffle0 must be an array of floating"),
        ({"blok0": np.zeros(3)}, "the network has no tensor 'blok0'"),
        ({"shuffle0": None}, "the output 'shuffle0' is missing"),
    ],
)
def test_problems_with_files_are_reported_with_their_name(
    case: Case, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    net, params, x, tensors = case
    changed = {k: v for k, v in (tensors | change).items() if v is not None}
    if "tail" in change:
        changed["tail"] = np.full_like(tensors["tail"], np.nan)
    save_all(tmp_path / "c.npz", changed)
    (tmp_path / "c").mkdir()
    for name, array in changed.items():
        np.save(tmp_path / "c" / f"{name}.npy", array)
    for path in (tmp_path / "c.npz", tmp_path / "c"):
        with pytest.raises(ValueError, match=f"^{path}: {message}"):
            sr.compare(net, params, x, path)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_bad_files_are_rejected_in_one_line(case: Case, tmp_path: Path) -> None:
    net, params, x, tensors = case
    np.save(tmp_path / "object.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "large.npz", head=np.zeros((999, 999)), shuffle0=tensors["shuffle0"])
    np.savez(tmp_path / "odd.npz", other=np.zeros(3))
    whole = tmp_path / "y.npy"
    np.save(whole, tensors["shuffle0"])
    (tmp_path / "empty").mkdir()
    bad = {
        tmp_path / "object.npy": "not a .npy file of numbers",
        tmp_path / "large.npz": "'head' takes .* bytes, more than the limit",
        tmp_path / "odd.npz": "no tensor 'other'",
        tmp_path / "empty": "contains no .npy or .bin file",
        write(tmp_path / "cut.npy", whole.read_bytes()[:-5]): "truncated: 7067 bytes of 7072",
        write(tmp_path / "text.npz", b"not a zip"): "not an .npz file",
        write(tmp_path / "y.bin", b"1234567"): "must be 7072 bytes",
        write(tmp_path / "y.jpg", b"1234567"): "a candidate must be a .npy, .npz or .bin",
    }
    for path, message in bad.items():
        with pytest.raises(ValueError, match=message) as caught:
            sr.compare(net, params, x, path)
        assert "\n" not in str(caught.value)
    for name in ("none.npy", "none.npz", "none"):
        with pytest.raises(OSError, match=f"{name}: no such file or folder"):
            sr.compare(net, params, x, tmp_path / name)


def test_a_tensor_given_twice_is_rejected(case: Case, tmp_path: Path) -> None:
    net, params, x, tensors = case
    np.save(tmp_path / "y.npy", tensors["shuffle0"])
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as archive:
        for name in ("shuffle0", "shuffle0.npy"):
            archive.write(tmp_path / "y.npy", name)
    folder = tmp_path / "folder"
    folder.mkdir()
    for suffix in (".bin", ".RAW"):
        tensors["shuffle0"].tofile(folder / f"shuffle0{suffix}")
    for path in (tmp_path / "t.npz", folder):
        with pytest.raises(ValueError, match=r"'shuffle0'( is there twice|$)"):
            sr.compare(net, params, x, path)


@pytest.mark.parametrize("kind", ["NPY", "BIN", "NPZ"])
def test_suffixes_in_capitals_are_recognised(case: Case, kind: str, tmp_path: Path) -> None:
    net, params, x, tensors = case
    save_all(tmp_path / "t.npz", {"head": -tensors["head"], "shuffle0": tensors["shuffle0"]})
    path = (tmp_path / "t.npz").rename(tmp_path / "t.NPZ")
    if kind != "NPZ":
        (path := tmp_path / "folder").mkdir()
        np.save(path / "shuffle0.npy", tensors["shuffle0"])
        (-tensors["head"]).tofile(path / "head.BIN")
        if kind == "NPY":
            (path / "head.BIN").unlink()
            np.save(path / "head.npy", -tensors["head"])
            (path / "head.npy").rename(path / "head.NPY")
    assert sr.compare(net, params, x, path).first_wrong == "head"


HEADERS = [
    b"{'descr': (((",
    b"'''abc",
    b"(" * 3000,
    b"{'descr': 5}",
    b"\xff\x00",
    b"{'descr': 5, 'fortran_order': False, 'shape': (1,)}",
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (%d,)}" % 10**30,
]


@pytest.mark.parametrize("header", HEADERS)
def test_malformed_headers_are_rejected_by_name(case: Case, tmp_path: Path, header: bytes) -> None:
    net, params, x, _ = case
    data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    path = write(tmp_path / "odd.npy", data)
    with pytest.raises(ValueError, match=r"odd\.npy: not a \.npy file of numbers"):
        read_input(path, net)
    with pytest.raises(ValueError, match=r"odd\.npy: not a \.npy file of numbers"):
        sr.compare(net, params, x, path)
    with zipfile.ZipFile(tmp_path / "odd.npz", "w") as archive:
        archive.writestr("shuffle0.npy", data)
    with pytest.raises(ValueError, match=r"odd\.npz: shuffle0: not a \.npy file of numbers"):
        sr.compare(net, params, x, tmp_path / "odd.npz")


def test_archives_that_are_misnamed_damaged_or_encrypted_are_rejected_by_name(
    case: Case, tmp_path: Path
) -> None:
    net, params, x, tensors = case
    save_all(tmp_path / "t.npz", tensors)
    misnamed = write(tmp_path / "t.npy", (tmp_path / "t.npz").read_bytes())
    with pytest.raises(ValueError, match=r"t\.npy: not a \.npy file of numbers"):
        read_input(misnamed, net)
    with pytest.raises(ValueError, match=r"t\.npy: not a \.npy file of numbers"):
        sr.compare(net, params, x, misnamed)
    np.savez_compressed(tmp_path / "z.npz", shuffle0=tensors["shuffle0"])
    data = bytearray((tmp_path / "z.npz").read_bytes())
    with zipfile.ZipFile(tmp_path / "z.npz") as archive:
        start = archive.infolist()[0].header_offset + 30 + len("shuffle0.npy") + 20
        size = archive.infolist()[0].compress_size
    damaged, encrypted = bytearray(data), bytearray(data)
    damaged[start : start + size - 40] = b"\xff" * (size - 40)
    for at in (6, data.index(b"PK\x01\x02") + 8):
        encrypted[at] |= 1
    for content in (damaged, encrypted):
        with pytest.raises(ValueError, match=r"z\.npz: '?shuffle0'?"):
            sr.compare(net, params, x, write(tmp_path / "z.npz", bytes(content)))
    with zipfile.ZipFile(tmp_path / "l.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("shuffle0.npy", b"1234567")
    with pytest.raises(ValueError, match=r"l\.npz: .* encrypted, or compressed"):
        sr.compare(net, params, x, tmp_path / "l.npz")


@pytest.fixture
def files(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    net, params, x, tensors = case
    monkeypatch.chdir(tmp_path)
    sr.save("m.npz", net, params)
    np.save("x.npy", x)
    save_all(Path("good.npz"), tensors)
    np.save("bad.npy", tensors[net.output] + np.float32(1e-4))
    return case


def test_the_command_reports_agreement_difference_or_misuse(
    files: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", "m.npz", "x.npy", "good.npz"]) == 0
    out = capsys.readouterr().out
    assert "agrees: at most" in out
    assert "block1" in out
    assert main(["compare", "m.npz", "x.npy", "bad.npy"]) == 1
    assert "added" in capsys.readouterr().out
    for arguments in (["none.npy"], ["m.npz"], ["bad.npy", "--accumulate", "bfloat16"]):
        assert main(["compare", "m.npz", "x.npy", *arguments]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_description_is_rejected_for_lack_of_weights(
    files: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("m.json").write_text(files[0].to_json(), "utf-8")
    assert main(["compare", "m.json", "x.npy", "good.npz"]) == 2
    message = "sesr-ref compare: m.json: a description has no weights (they are in .npz, "
    assert capsys.readouterr().err.startswith(message)


def test_the_table_fits_a_page_however_wrong_the_candidate(
    files: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    net, _, _, tensors = files
    far = {name: array * np.float32(-1e6) for name, array in tensors.items()}
    save_all(Path("far.npz"), far)
    np.save("near.npy", tensors[net.output] + np.float32(2e-3))
    assert main(["compare", "m.npz", "x.npy", "far.npz"]) == 1
    table = capsys.readouterr().out.splitlines()[:-1]
    assert max(map(len, table)) <= 100
    wrong = [line for line in table if "differs" in line]
    assert wrong
    assert all("> 1000 x" in line for line in wrong)
    assert main(["compare", "m.npz", "x.npy", "near.npy"]) == 1
    assert re.search(r" \d\d+ x ", capsys.readouterr().out)


@pytest.mark.parametrize("text", ["a", "-1x4", "3x", "3x3", "x4", "4x4x4", "4x ", ""])
def test_an_invalid_tile_is_rejected_with_its_value(
    files: Case, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["compare", "m.npz", "x.npy", "good.npz", f"--winograd={text}"])
    assert f"--winograd: must be ROWSxCOLUMNS, each of 1, 2, 4, 6, got {text!r}" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("text", ["4x4", "4x1", "4"])
def test_tiles_are_rows_and_columns(files: Case, text: str) -> None:
    assert main(["compare", "m.npz", "x.npy", "good.npz", "--winograd", text]) == 0


def test_the_command_prints_everything_as_json(
    files: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    net = files[0]
    assert main(["compare", "m.npz", "x.npy", "bad.npy", "--json"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["first_wrong"] == net.output
    assert data["fault"]["layer"] == net.output
    report = data["tensors"][net.output]
    assert report["verdict"] == "differs"
    assert report["error"] == pytest.approx(1e-4, rel=0.4)
    assert sum(report["ulps"].values()) == report["elements"] == 2 * 26 * 34
    assert len(report["worst"]["statistical"]["at"]) == 4


def test_the_guide_s_worked_example_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rng: Rng
) -> None:
    pytest.importorskip("imageio")
    guide = (Path(__file__).parents[2] / "docs" / "verification.md").read_text("utf-8")
    example = guide.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    sr.write_image("photo.png", rng.integers(0, 256, (20, 24, 3), np.uint8))
    exec(example, {})
    assert main(["compare", "sesr-m5-x2", "photo.png", "my_tensors/"]) == 0
    head = capsys.readouterr().out.splitlines()[0]
    assert head.split()[1:] == guide.split("my_tensors/\ntensor")[1].splitlines()[0].split()


@pytest.mark.slow
def test_memory_depends_on_the_tile_and_not_on_the_image(rng: Rng) -> None:
    net = sr.sesr(1, 4, linear_blocks=False)
    params = random_params(net, rng)
    peaks = []
    for size in (96, 384):
        x = rng.random((1, size, size, 1), np.float32)
        tensors = sr.forward(net, params, x)
        tracemalloc.start()
        assert sr.compare(net, params, x, tensors, tile=48).agrees
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
