"""Golden packs: the same bytes every time, read back without loss, rejected when damaged."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import naive
import sesr_ref as sr
from networks_for_verification import every_kind, random_params
from sesr_ref.cli import main
from sesr_ref.verify import read_pack, write_pack
from sesr_ref.verify.golden.encodings import ENCODINGS, KINDS, restore, store
from sesr_ref.verify.golden.exact import (
    FIXED_ORDER,
    conv2d,
    conv_transpose2d,
    exact_params,
    fractions,
)
from sesr_ref.verify.golden.rounded_run import rounded_run
from sesr_ref.verify.golden.write import expected_bytes

Array = npt.NDArray[Any]
Rng = np.random.Generator
Case = tuple[sr.Network, dict[str, Array], Array]


@pytest.fixture
def case(rng: Rng) -> Case:
    net = sr.sesr(2, 4, expand=8, dialect="arm", block_bias="true")
    return net, random_params(net, rng), rng.random((2, 5, 7, 1), np.float32)


def test_fixed_order_convolutions_are_the_definition(rng: Rng) -> None:
    x, weight, bias = (
        rng.normal(size=(2, 5, 7, 4)),
        rng.normal(size=(3, 3, 2, 6)),
        rng.normal(size=6),
    )
    expected = naive.conv2d(x, weight, bias, groups=2)
    np.testing.assert_allclose(conv2d(x, weight, bias, groups=2), expected, atol=1e-12)
    weight = rng.normal(size=(5, 5, 4, 3))
    expected = naive.conv_transpose2d(x, weight, None, 2, 1)
    np.testing.assert_allclose(conv_transpose2d(x, weight, None, 2, 1), expected, atol=1e-12)


def test_fixed_order_sums_are_exact_in_fractions(rng: Rng) -> None:
    x = rng.integers(-9, 9, (1, 4, 5, 2)) / 16
    weight = rng.integers(-9, 9, (3, 3, 2, 3)) / 32
    got = conv2d(fractions(x), fractions(weight))
    np.testing.assert_array_equal(got.astype(np.float64), conv2d(x, weight))


def test_fixed_order_tensors_agree_with_the_reference(rng: Rng) -> None:
    net = every_kind()
    params, x = random_params(net, rng), rng.random((1, 6, 5, 2), np.float32)
    expected = sr.forward(net, {k: v.astype(float) for k, v in params.items()}, x.astype(float))
    small = exact_params(net, params)
    for name, tensor in sr.forward(net, small, x.astype(float), FIXED_ORDER).items():
        np.testing.assert_allclose(tensor, expected[name], atol=1e-12, err_msg=name)


def test_fixed_order_collapse_agrees_with_the_closed_form(case: Case) -> None:
    net, params, _ = case
    expected = sr.collapse_params(net, {k: v.astype(float) for k, v in params.items()})
    for name, array in exact_params(net, params).items():
        np.testing.assert_allclose(array, expected[name], atol=1e-13, err_msg=name)


def test_bands_do_not_change_bits(rng: Rng, monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = rng.normal(size=(1, 9, 6, 3)), rng.normal(size=(5, 5, 3, 4))
    whole = conv2d(x, weight)
    monkeypatch.setattr("sesr_ref.verify.golden.exact.BAND_VALUES", 50)
    np.testing.assert_array_equal(conv2d(x, weight), whole)


def digest(folder: Path) -> dict[str, str]:
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(folder.iterdir())}


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("dtype", list(KINDS))
def test_two_runs_write_the_same_bytes_and_reading_back_loses_nothing(
    case: Case, tmp_path: Path, dtype: str, layout: str
) -> None:
    net, params, x = case
    for name in ("a", "b"):
        write_pack(tmp_path / name, net, params, x, dtype, ("npz", "bin", "c", "hex"), layout)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    run = rounded_run(net, params, x, KINDS[dtype])
    for files in (("npz",), ("bin",), ("c",), ("hex",)):
        write_pack(tmp_path / "one", net, params, x, dtype, files, layout, overwrite=True)
        pack = read_pack(tmp_path / "one")
        assert pack.net == sr.collapsed(net)
        for role, found in (("tensor", pack.tensors), ("parameter", pack.params)):
            assert set(found) == set(run[role])
            for name, array in run[role].items():
                values = restore(array.stored, array.fraction_bits)
                np.testing.assert_array_equal(found[name], values)


def test_the_bytes_equal_those_of_another_day_and_machine(tmp_path: Path) -> None:
    """Written once by this test and kept: integer inputs, so that no image library is involved."""
    net = sr.sesr(1, 3, expand=5)
    shapes = net.param_shapes()
    params = {
        name: (np.arange(np.prod(shape)).reshape(shape) % 17 / 61 - 0.1).astype(np.float32)
        for name, shape in shapes.items()
    }
    x = (np.arange(63).reshape(1, 7, 9, 1) * 37 % 64 / np.float32(63)).astype(np.float32)
    manifest = write_pack(tmp_path / "pack", net, params, x, files=("bin",))
    got = {k: v[:16] for k, v in manifest["sha256"].items() if "shuffle0" in k or "act0.bin" in k}
    assert got == {
        "tensor.act0.bin": "8a2f502fb4b2c39f",
        "tensor.shuffle0.bin": "871d2f447badfa64",
    }


def test_a_pack_agrees_with_its_network_and_with_no_other(case: Case, tmp_path: Path) -> None:
    net, params, x = case
    write_pack(tmp_path / "f32", net, params, x, layout="NCHW")
    write_pack(tmp_path / "f16", net, params, x, "float16")
    assert sr.compare(net, params, x, tmp_path / "f32", fused=False).agrees
    assert sr.compare(net, params, x, tmp_path / "f16", "float16").agrees
    assert not sr.compare(net, params, x, tmp_path / "f16", name_fault=False).agrees


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32"])
def test_packs_of_integers_are_read_but_not_judged(case: Case, tmp_path: Path, dtype: str) -> None:
    net, params, x = case
    write_pack(tmp_path / "pack", net, params, x, dtype)
    assert "input" in read_pack(tmp_path / "pack").tensors
    with pytest.raises(ValueError, match=f"only packs of floats, got one of {dtype}"):
        sr.compare(net, params, x, tmp_path / "pack")


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32"])
def test_integers_use_the_range_and_never_leave_it(dtype: str, rng: Rng) -> None:
    kind = KINDS[dtype]
    limits = np.iinfo(kind.dtype)
    for values in (
        rng.normal(size=99),
        rng.normal(size=99) * 1e5,
        np.array([0.0]),
        np.array([1.0 - 1e-12]),
        np.array([-1.0, 0.3]),
        np.array([1e-30]),
    ):
        stored, bits = store(values, kind)
        error = np.abs(restore(stored, bits) - values)
        assert (error <= 2.0 ** -(bits + 1)).all()
        if values.any() and np.abs(values).max() > 1e-9:
            assert np.abs(stored.astype(np.int64)).max() * 2 >= limits.max // 2


def test_values_beyond_float16_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"70000 is beyond the range of f2"):
        store(np.array([7e4]), KINDS["float16"])


def test_verilog_and_c_files_read_as_those_languages_do(rng: Rng) -> None:
    values = np.array([[1.0, -2.5], [0.15625, 3.0]])
    hexadecimal = ENCODINGS["hex"].write("t", *stored_as(values, "float32")).decode()
    assert hexadecimal == "// t 2x2\n3f800000\nc0200000\n3e200000\n40400000\n"
    lines = ENCODINGS["hex"].write("t", *stored_as(-values / 4, "int8")).decode().splitlines()
    assert lines[:2] == ["// t 2x2 fraction bits 7", "e0"]
    integers = ENCODINGS["c"].write("t", *stored_as(values, "int16")).decode()
    assert "static const int sesr_t_fraction_bits = 13;" in integers
    header = ENCODINGS["c"].write("act0.slope", *stored_as(values, "float32")).decode()
    assert "static const float sesr_act0_slope[4] = {" in header
    assert "-0x1.4000000000000p+1f" in header
    assert "sesr_act0_slope_shape[2] = {2, 2}" in header
    assert "0x3c00" in ENCODINGS["c"].write("t", *stored_as(values, "float16")).decode()


def stored_as(values: Array, dtype: str) -> tuple[Array, Any, int]:
    stored, bits = store(values, KINDS[dtype])
    return stored, KINDS[dtype], bits


def test_c_headers_compile_and_hold_the_values(case: Case, tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    import subprocess

    net, params, x = case
    write_pack(tmp_path / "pack", net, params, x, files=("c",))
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "pack/tensor.clip.h"\n'
        "int main(void) { for (int i = 0; i < (int)(sizeof sesr_clip / sizeof *sesr_clip); i++)"
        ' printf("%a\\n", sesr_clip[i]); return sesr_clip_shape[0] != 2; }\n'
    )
    subprocess.run(
        [
            compiler,
            "-Wall",
            "-Werror",
            "-Wno-unused-const-variable",
            "-o",
            tmp_path / "main",
            tmp_path / "main.c",
        ],
        check=True,
    )
    out = subprocess.run([tmp_path / "main"], check=True, capture_output=True, text=True).stdout
    got = [float.fromhex(line) for line in out.split()]
    np.testing.assert_array_equal(got, read_pack(tmp_path / "pack").tensors["clip"].ravel())


def edit(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def apply(pack: Path) -> None:
        manifest = json.loads((pack / "manifest.json").read_text())
        change(manifest)
        (pack / "manifest.json").write_text(json.dumps(manifest))

    return apply


def flip(pack: Path) -> None:
    data = bytearray((pack / "tensors.npz").read_bytes())
    data[-200] ^= 1
    (pack / "tensors.npz").write_bytes(data)


def entry(**fields: Any) -> Callable[[Path], None]:
    return edit(lambda manifest: manifest["arrays"][0].update(fields))


DAMAGE: list[tuple[Callable[[Path], Any], str]] = [
    (flip, "SHA-256 of tensors.npz must be .* as in the manifest, got"),
    (lambda p: (p / "network.json").write_text("{}"), "SHA-256 of network.json"),
    (lambda p: (p / "manifest.json").write_text("{"), "not a manifest: Expecting"),
    (
        edit(lambda m: m.update(format="other")),
        "must be 'sesr-ref golden pack', got 'other'",
    ),
    (edit(lambda m: m.update(version=2)), "the version of the pack must be 1, got 2"),
    (edit(lambda m: m.pop("arrays")), "arrays must be a list of objects, got None"),
    (edit(lambda m: m.update(sha256=[1])), r"sha256 must be a dict of files, got \[1\]"),
    (
        entry(shape=[1, 5, 7, 1]),
        r"tensor 'input': .* \(1, 5, 7, 1\), got float32 array",
    ),
    (
        entry(shape=[3]),
        r"axes must be those of the shape \[3\], got 'NHWC'",
    ),
    (entry(shape=[2, 5, "7", 1]), r"array 0 of the manifest: shape must be"),
    (entry(shape=[1 << 40, 0, -1, 1]), r"shape must be"),
    (entry(stem="x"), "tensor 'input': is in no file"),
    (entry(stem=None), "stem must be a string, got None"),
    (entry(role="spy"), "role must be tensor or parameter, got 'spy'"),
    (entry(dtype="complex"), "dtype must be one of float32, .* got 'complex'"),
    (entry(axes=[]), "axes must be one of"),
    (entry(name=7), "name must be a string, got 7"),
    (entry(fraction_bits=10**9), r"fraction_bits must be within \+-512, got 1000000000"),
    (entry(fraction_bits="1"), "fraction_bits must be"),
    (entry(files={"exe": "a"}), "files must be names of files by bin"),
    (
        edit(lambda m: m["sha256"].update({"../y": "0"})),
        "a name without a folder, got '../y'",
    ),
    (edit(lambda m: m["arrays"].append(m["arrays"][0])), "tensor 'input': is listed twice"),
    (edit(lambda m: m["sha256"].pop("network.json")), "no SHA-256 for 'network.json'"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGE)
def test_damaged_packs_are_rejected_in_one_line(
    case: Case, tmp_path: Path, damage: Callable[[Path], Any], message: str
) -> None:
    net, params, x = case
    write_pack(tmp_path / "pack", net, params, x)
    damage(tmp_path / "pack")
    with pytest.raises(ValueError, match=message) as caught:
        sr.compare(net, params, x, tmp_path / "pack")
    assert str(caught.value).startswith(str(tmp_path / "pack"))
    assert "\n" not in str(caught.value)


def test_nothing_is_half_written_and_nothing_else_overwritten(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, params, x = case
    (tmp_path / "mine").mkdir()
    with pytest.raises(FileExistsError, match="exists already"):
        write_pack(tmp_path / "mine", net, params, x)
    with pytest.raises(FileExistsError, match="not a golden pack"):
        write_pack(tmp_path / "mine", net, params, x, overwrite=True)
    large = {k: v * np.float32(1e9) for k, v in params.items()}
    with pytest.raises(ValueError, match="beyond the range"):
        write_pack(tmp_path / "pack", net, large, x, "float16")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    with pytest.raises(ValueError, match="a pack's files must be some of"):
        write_pack(tmp_path / "pack", net, params, x, files=("png",))
    with pytest.raises(ValueError, match="a pack's dtype"):
        write_pack(tmp_path / "pack", net, params, x, "float8")
    with pytest.raises(ValueError, match="layout must be"):
        write_pack(tmp_path / "pack", net, params, x, layout="CHWN")
    monkeypatch.setattr("sesr_ref.verify.golden.write.MAX_TEXT_VALUES", 100)
    with pytest.raises(ValueError, match="at most 100 for such a pack"):
        write_pack(tmp_path / "pack", net, params, x, files=("hex",))


def test_only_a_pack_and_nothing_beside_it_is_overwritten(case: Case, tmp_path: Path) -> None:
    net, params, x = case
    pack = tmp_path / "pack"

    def rejected(message: str, folder: Path = pack) -> None:
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(FileExistsError, match=message):
            write_pack(folder, net, params, x, overwrite=True)
        assert sorted(tmp_path.rglob("*")) == before

    pack.mkdir()
    (pack / "manifest.json").write_text('{"name": "a web app"}')
    rejected("is not a golden pack")
    (pack / "manifest.json").unlink()
    pack.rmdir()
    write_pack(pack, net, params, x)
    (pack / "notes.txt").write_text("mine")
    rejected("'notes.txt' in it does not belong to the pack")
    (pack / "notes.txt").unlink()
    (pack / "tensors.npz").unlink()
    (pack / "tensors.npz").mkdir()
    rejected("'tensors.npz' in it")
    (pack / "tensors.npz").rmdir()
    (tmp_path / "link").symlink_to(pack)
    rejected(f"link is a link; give its target {pack} instead", tmp_path / "link")
    write_pack(pack, net, params, x, files=("bin",), overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pack"]
    assert read_pack(pack).net == sr.collapsed(net)


def test_an_old_pack_stays_until_the_new_one_is_in_place(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, params, x = case
    write_pack(tmp_path / "pack", net, params, x)
    before, rename = digest(tmp_path / "pack"), Path.rename

    def fail_for_the_new(self: Path, target: Path) -> Path:
        if self.name.endswith(".old") or target.name.endswith(".old"):
            return rename(self, target)
        raise OSError("disk gone")

    monkeypatch.setattr(Path, "rename", fail_for_the_new)
    with pytest.raises(OSError, match="disk gone"):
        write_pack(tmp_path / "pack", net, params, x, "float16", overwrite=True)
    assert digest(tmp_path / "pack") == before
    assert [path.name for path in tmp_path.iterdir()] == ["pack"]


def test_the_command_does_not_overwrite_its_own_input(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    net, params, x = case
    monkeypatch.chdir(tmp_path)
    sr.save("m.npz", net, params)
    write_pack("pack", net, params, x)
    np.save("pack/x.npy", x)
    assert main(["golden", "m.npz", "pack/x.npy", "-o", "pack", "--overwrite"]) == 2
    assert "pack/x.npy is inside pack" in capsys.readouterr().err
    assert Path("pack/x.npy").is_file()


def test_the_command_writes_a_pack_and_does_not_overwrite_it(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    net, params, x = case
    monkeypatch.chdir(tmp_path)
    sr.save("m.npz", net, params)
    np.save("x.npy", x)
    arguments = ["golden", "m.npz", "x.npy", "-o", "out/pack", "--files", "bin", "npz"]
    assert main(arguments) == 0
    assert main(arguments) == 2
    assert "exists already" in capsys.readouterr().err
    assert main([*arguments, "--overwrite", "--json"]) == 0
    manifest = json.loads(capsys.readouterr().out)
    assert manifest["layout"] == "NHWC"
    assert main(["compare", "m.npz", "x.npy", "out/pack"]) == 0


def test_packs_of_the_expanded_network_are_compared_as_such(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    net, params, x = case
    monkeypatch.chdir(tmp_path)
    sr.save("m.npz", net, params)
    np.save("x.npy", x)
    assert main(["golden", "m.npz", "x.npy", "-o", "pack", "--expanded"]) == 0
    assert "head.expand" in read_pack("pack").tensors
    assert main(["compare", "m.npz", "x.npy", "pack", "--expanded"]) == 0
    assert main(["compare", "m.npz", "x.npy", "pack"]) == 2
    assert "no tensor 'head.expand'" in capsys.readouterr().err


@pytest.mark.parametrize("files", [["npz"], ["npz", "bin", "c", "hex"]])
@pytest.mark.parametrize("dtype", list(KINDS))
def test_the_expected_size_is_about_right(
    rng: Rng, tmp_path: Path, dtype: str, files: list[str]
) -> None:
    net = sr.sesr(1, 4, linear_blocks=False)
    params, x = random_params(net, rng), rng.random((1, 40, 50, 1), np.float32)
    write_pack(tmp_path / "pack", net, params, x, dtype, files)
    size = sum(file.stat().st_size for file in (tmp_path / "pack").iterdir())
    assert expected_bytes(net, x, dtype, files) == pytest.approx(size, rel=0.25)


def test_the_command_announces_a_large_pack(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    net, params, x = case
    monkeypatch.chdir(tmp_path)
    sr.save("m.npz", net, params)
    np.save("x.npy", x)
    assert main(["golden", "m.npz", "x.npy", "-o", "small"]) == 0
    assert not capsys.readouterr().err
    monkeypatch.setattr("sesr_ref.commands.golden.NOTICE_BYTES", 1000)
    assert main(["golden", "m.npz", "x.npy", "-o", "large"]) == 0
    assert capsys.readouterr().err == "large: writing about 0 MB\n"
    assert main(["golden", "m.npz", "x.npy", "-o", "large"]) == 2
    assert capsys.readouterr().err.splitlines() == ["sesr-ref golden: large exists already"]
