"""Ports that round once per layer reproduce golden packs bit for bit, and no others do."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import naive
import sesr_ref as sr
from networks_for_verification import random_params
from sesr_ref.cli import main
from sesr_ref.ops.rearrange import depth_to_space
from sesr_ref.verify import match_pack, read_pack, write_pack
from sesr_ref.verify.golden.encodings import KINDS
from sesr_ref.verify.golden.rounded_run import Rounded, rounded_run

Array = npt.NDArray[Any]
Rng = np.random.Generator
Case = tuple[sr.Network, dict[str, Array], Array]
Stored = dict[str, Rounded]


@pytest.fixture
def case(rng: Rng) -> Case:
    net = sr.sesr(2, 5, expand=8)
    return net, random_params(net, rng), rng.random((2, 5, 7, 1), np.float32)


def port(net: sr.Network, tensors: Stored, params: Stored, bits: int) -> dict[str, Array]:
    """The network in integers alone, from its stored input: products, sums, shifts, saturation."""
    own = {"input": tensors["input"].stored}

    def scale(name: str) -> Fraction:
        array = tensors.get(name) or params[name]
        return Fraction(2) ** -array.fraction_bits

    def rounded(name: str, sums: Array, unit: Fraction) -> Array:
        limit = 1 << bits - 1
        values = [
            min(max(round(int(v) * unit / scale(name)), -limit), limit - 1) for v in sums.ravel()
        ]
        return np.array(values).reshape(sums.shape)

    for layer, names in sr.collapsed(net).steps():
        x = [own[name].astype(np.int64).astype(object) for name in names]
        unit, name, kind = scale(names[0]), layer.name, type(layer).__name__
        if kind == "Conv":
            weight = params[f"{name}.weight"].stored.astype(object)
            sums = naive.conv2d(x[0], weight)
            own[name] = rounded(name, sums, unit * scale(f"{name}.weight"))
        elif kind == "PReLU":
            slope, one = params[f"{name}.slope"].stored.astype(object), scale(f"{name}.slope") ** -1
            sums = np.where(x[0] > 0, x[0] * int(one), x[0] * slope)
            own[name] = rounded(name, sums, unit * scale(f"{name}.slope"))
        elif kind == "Add":
            finest = min(scale(n) for n in names)
            parts = [part * int(scale(n) / finest) for part, n in zip(x, names, strict=True)]
            own[name] = rounded(name, parts[0] + parts[1], finest)
        else:
            assert isinstance(layer, sr.network.DepthToSpace)
            shuffled = depth_to_space(x[0].astype(np.float64), layer.block)
            own[name] = rounded(name, shuffled.astype(np.int64), unit)
    return own


@pytest.mark.parametrize(("dtype", "bits"), [("int8", 8), ("int16", 16)])
def test_a_port_in_integers_has_every_bit(
    case: Case, rng: Rng, tmp_path: Path, dtype: str, bits: int
) -> None:
    net, params, x = case
    write_pack(tmp_path / "calibrated", net, params, x[:1], dtype)
    for scales in (None, tmp_path / "calibrated"):
        manifest = write_pack(
            tmp_path / "pack",
            net,
            params,
            x * 2 - 0.5,
            dtype,
            ("bin",),
            "NCHW",
            overwrite=True,
            scales=scales,
        )
        given = {(e["role"], e["name"]): e["fraction_bits"] for e in manifest["arrays"]}
        run = rounded_run(net, params, x * 2 - 0.5, KINDS[dtype], given)
        assert any(e["saturated"] for e in manifest["arrays"]) == (scales is not None)
        mine = port(net, run["tensor"], run["parameter"], bits)
        stored = {name: array.transpose(0, 3, 1, 2) for name, array in mine.items()}
        result = match_pack(tmp_path / "pack", stored)
        assert result.agrees, result
        assert not result.missing


def test_float32_tensors_are_the_rounded_sums_of_the_pack_s_own_values(
    rng: Rng, tmp_path: Path
) -> None:
    net = sr.sesr(1, 3, expand=5)
    write_pack(tmp_path / "p", net, random_params(net, rng), rng.random((1, 4, 5, 1), np.float32))
    pack = read_pack(tmp_path / "p")
    x, weight = (
        np.vectorize(Fraction, otypes=[object])(array)
        for array in (pack.tensors["head"], pack.params["block0.weight"])
    )
    want = naive.conv2d(x, weight).astype(np.float64).astype(np.float32)
    np.testing.assert_array_equal(pack.tensors["block0"].astype(np.float32), want)


@pytest.mark.parametrize("dtype", list(KINDS))
def test_a_difference_of_one_step_is_found_and_may_be_allowed(
    case: Case, tmp_path: Path, dtype: str
) -> None:
    net, params, x = case
    write_pack(tmp_path / "pack", net, params, x, dtype)
    run = rounded_run(net, params, x, KINDS[dtype])["tensor"]
    stored = {name: array.stored.copy() for name, array in run.items()}
    assert match_pack(tmp_path / "pack", stored).agrees
    bits = stored["act1"].view(f"<i{stored['act1'].itemsize}")
    bits[1, 2, 3, 4] += 1 if bits[1, 2, 3, 4] < 5 else -1
    result = match_pack(tmp_path / "pack", stored)
    assert result.first_wrong is not None
    assert (result.first_wrong.name, result.first_wrong.at) == ("act1", (1, 2, 3, 4))
    assert (result.first_wrong.differing, result.first_wrong.most_steps) == (1, 1)
    assert match_pack(tmp_path / "pack", stored, steps=1).agrees
    del stored["input"]
    assert match_pack(tmp_path / "pack", stored, steps=1).missing == ("input",)


@pytest.mark.parametrize("suffix", [".npy", ".bin", ".raw", ".hex", ".h"])
def test_files_of_every_kind_are_read(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    net, params, x = case
    pack, mine = tmp_path / "pack", tmp_path / "mine"
    manifest = write_pack(pack, net, params, x, "int16", ("bin", "hex", "c"), "NCHW")
    mine.mkdir()
    for name in ("head", "shuffle0"):
        shape = next(e["shape"] for e in manifest["arrays"] if e["name"] == name)
        if suffix == ".npy":
            data = np.fromfile(pack / f"tensor.{name}.bin", "<i2").reshape(shape)
            np.save(mine / f"{name}.npy", data.astype(np.int32))
        else:
            source = pack / f"tensor.{name}{'.bin' if suffix == '.raw' else suffix}"
            (mine / f"{name}{suffix}").write_bytes(source.read_bytes())
    assert main(["match", str(pack), str(mine), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [t["name"] for t in report["tensors"]] == ["head", "shuffle0"]
    assert main(["match", str(pack), str(mine / f"shuffle0{suffix}")]) == 0
    assert "agrees bit for bit" in capsys.readouterr().out


def test_packs_match_packs_with_the_same_scales(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    net, params, x = case
    monkeypatch.chdir(tmp_path)
    sr.save("m.npz", net, params)
    np.save("a.npy", x)
    np.save("b.npy", x * np.float32(3))
    golden = ["golden", "m.npz", "--dtype", "int8", "-o"]
    assert main([*golden[:2], "a.npy", *golden[2:], "a"]) == 0
    assert main([*golden[:2], "b.npy", *golden[2:], "b"]) == 0
    capsys.readouterr()
    assert main(["match", "a", "b"]) == 2
    assert "use golden --scales to set them" in capsys.readouterr().err
    assert main([*golden[:2], "b.npy", *golden[2:], "c", "--scales", "a"]) == 0
    assert "values saturate with" in capsys.readouterr().err
    assert main(["match", "a", "c"]) == 1
    assert "input is the first tensor shown that differs" in capsys.readouterr().out
    assert main(["match", "a", "a"]) == 0
    assert main([*golden[:2], "b.npy", "--dtype", "int16", "-o", "d", "--scales", "a"]) == 2
    assert "the dtypes of the pack must be ['int16'], got ['int8']" in capsys.readouterr().err


def test_mismatches_are_rejected_in_one_line(case: Case, tmp_path: Path) -> None:
    net, params, x = case
    pack = tmp_path / "pack"
    write_pack(pack, net, params, x, "int16")
    other = sr.sesr(2, 4, expand=8)
    with pytest.raises(ValueError, match="must have shape"):
        match_pack(pack, {"head": np.zeros((2, 5, 7, 4), np.int16)})
    with pytest.raises(ValueError, match="head must be stored as int16, got float32"):
        match_pack(pack, {"head": np.zeros((2, 5, 7, 5), np.float32)})
    with pytest.raises(ValueError, match="the pack has no tensor 'haed'"):
        match_pack(pack, {"haed": x})
    with pytest.raises(ValueError, match="contains none of the tensors input, head"):
        match_pack(pack, {})
    with pytest.raises(ValueError, match=r"steps must be an integer from 0 to .*, got -1"):
        match_pack(pack, {}, steps=-1)
    (tmp_path / "head.bin").write_bytes(b"123")
    with pytest.raises(ValueError, match=r"head.bin: not \(2, 10, 14, 1\) of int16"):
        match_pack(pack, tmp_path / "head.bin")
    (tmp_path / "x.hex").write_text("xxxx\n")
    with pytest.raises(ValueError, match=r"x.hex: not .*: invalid literal"):
        match_pack(pack, tmp_path / "x.hex")
    with pytest.raises(ValueError, match=r"has no parameter 'extract\.weight'"):
        write_pack(
            tmp_path / "o",
            sr.fsrcnn(2),
            random_params(sr.fsrcnn(2), np.random.default_rng(0)),
            x,
            "int16",
            scales=pack,
        )
    with pytest.raises(ValueError, match="must be an integer dtype, got 'float32'"):
        write_pack(
            tmp_path / "o", other, random_params(other, np.random.default_rng(0)), x, scales=pack
        )
