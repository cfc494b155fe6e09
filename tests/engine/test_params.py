"""Initialise, save, load; every way a file of weights can be wrong."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

import sesr_ref as sr


def small() -> sr.Network:
    return sr.sesr(blocks=2, features=3, expand=5)


def test_same_seed_gives_the_same_parameters_and_another_seed_others() -> None:
    net = small()
    a, b, c = (sr.initialise(net, seed) for seed in (7, 7, 8))
    assert all(np.array_equal(a[name], b[name]) for name in a)
    assert not np.array_equal(a["head.expand"], c["head.expand"])
    assert {array.dtype for array in a.values()} == {np.dtype(np.float32)}


def test_initial_weights_are_glorot_uniform_and_the_rest_zero() -> None:
    params = sr.initialise(sr.sesr(block_bias="true"))
    limit = np.sqrt(6 / (9 * 16 + 9 * 256))
    weight = params["block0.expand"]
    assert np.abs(weight).max() <= limit
    assert np.abs(weight).max() > 0.999 * limit
    assert abs(weight.var() / (limit**2 / 3) - 1) < 0.03
    assert not params["act0.slope"].any()
    assert not params["tail.project_bias"].any()


@pytest.mark.parametrize(
    ("init", "variance"), [("he", 2 / (9 * 16)), ("lecun", 1 / (9 * 16)), ("glorot", 2 / (9 * 272))]
)
def test_initial_weights_have_the_variance_asked_for(init: str, variance: float) -> None:
    weight = sr.initialise(sr.sesr(), 1, init)["block0.expand"].astype(np.float64)
    assert weight.var() == pytest.approx(variance, rel=0.03)
    assert np.abs(weight).max() <= np.sqrt(3 * variance)


def test_slopes_start_at_the_given_value_and_biases_at_zero() -> None:
    params = sr.initialise(sr.sesr(block_bias="true"), slope=0.25)
    assert (params["act0.slope"] == np.float32(0.25)).all()
    assert not params["tail.project_bias"].any()
    with pytest.raises(ValueError, match="the slope must be finite, got inf"):
        sr.initialise(small(), slope=float("inf"))


def test_an_unknown_initialisation_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"init must be one of .*glorot.*, got 'zeros'"):
        sr.initialise(small(), 0, "zeros")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_network_is_read_back_as_it_was_saved(tmp_path: Path, dtype: str) -> None:
    net = small()
    params = {k: v.astype(dtype) for k, v in sr.initialise(net).items()}
    path = tmp_path / "net.npz"
    sr.save(path, net, params)
    got_net, got = sr.load(path)
    assert got_net == net
    assert list(got) == list(params)
    for name, array in params.items():
        assert got[name].dtype == (np.float32 if dtype == "float16" else array.dtype)
        assert np.array_equal(got[name], array)


def test_the_same_weights_give_the_same_file(tmp_path: Path) -> None:
    net = small()
    for name in ("a.npz", "b.npz"):
        sr.save(tmp_path / name, net, sr.initialise(net))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_saving_over_a_file_needs_overwrite(tmp_path: Path) -> None:
    net = small()
    path = tmp_path / "net.npz"
    sr.save(path, net, sr.initialise(net))
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match=r"net\.npz exists"):
        sr.save(path, net, sr.initialise(net, 1), overwrite=False)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["net.npz"]


def test_parameters_of_another_network_are_not_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"act1\.slope"):
        sr.save(tmp_path / "net.npz", small(), sr.initialise(sr.sesr(1, 3, expand=5)))
    assert not list(tmp_path.iterdir())


def test_an_unknown_name_is_rejected_with_the_shipped_ones() -> None:
    with pytest.raises(FileNotFoundError, match="sesr-m99-x2: no such file and no shipped"):
        sr.load("sesr-m99-x2")


def altered(tmp_path: Path, **members: bytes | None) -> Path:
    """A saved network with some members of its zip file replaced or removed."""
    source, target = tmp_path / "good.npz", tmp_path / "bad.npz"
    net = small()
    sr.save(source, net, sr.initialise(net))
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in {*old.namelist(), *members}:
            data = members[name] if name in members else old.read(name)
            if data is not None:
                new.writestr(name, data)
    return target


def npy(array: np.ndarray, tmp_path: Path) -> bytes:
    path = tmp_path / "one.npy"
    np.save(path, array, allow_pickle=True)
    return path.read_bytes()


def test_a_pickle_inside_is_rejected(tmp_path: Path) -> None:
    bad = npy(np.array([{"a": 1}], dtype=object), tmp_path)
    with pytest.raises(ValueError, match="pickle"):
        sr.load(altered(tmp_path, **{"head.expand.npy": bad}))


def test_numbers_that_are_not_finite_are_rejected(tmp_path: Path) -> None:
    slope = npy(np.array([0, np.inf, 0], np.float32), tmp_path)
    with pytest.raises(ValueError, match=r"bad\.npz: NaN or infinite values in act0\.slope"):
        sr.load(altered(tmp_path, **{"act0.slope.npy": slope}))


def test_a_wrong_shape_is_rejected_before_memory_is_taken(tmp_path: Path) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000000), }"
    header += b" " * (117 - len(header)) + b"\n"
    bad = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with pytest.raises(ValueError, match=r"its shape must be .*, got \(1000000000, 1000000\)"):
        sr.load(altered(tmp_path, **{"act0.slope.npy": bad}))


def test_truncated_data_is_rejected(tmp_path: Path) -> None:
    good = npy(np.zeros(3, np.float32), tmp_path)
    with pytest.raises(ValueError, match="truncated"):
        sr.load(altered(tmp_path, **{"act0.slope.npy": good[:-4]}))


def test_missing_and_unexpected_parameters_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'act0\.slope' is missing"):
        sr.load(altered(tmp_path, **{"act0.slope.npy": None}))
    extra = npy(np.zeros(3, np.float32), tmp_path)
    with pytest.raises(ValueError, match=r"'other' is not expected"):
        sr.load(altered(tmp_path, **{"other.npy": extra}))


def test_weights_of_another_architecture_are_rejected(tmp_path: Path) -> None:
    other = npy(np.frombuffer(sr.sesr(3, 3, expand=5).to_json().encode(), np.uint8), tmp_path)
    with pytest.raises(ValueError, match=r"act2\.slope"):
        sr.load(altered(tmp_path, **{"network.json.npy": other}))


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04" + b"\0" * 40])
def test_files_that_are_not_weights_are_rejected(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.npz: not an \.npz"):
        sr.load(path)


def test_a_truncated_file_is_rejected(tmp_path: Path) -> None:
    net = small()
    path = tmp_path / "net.npz"
    sr.save(path, net, sr.initialise(net))
    data = path.read_bytes()
    for size in range(0, len(data), 97):
        path.write_bytes(data[:size])
        with pytest.raises(ValueError, match=r"net\.npz"):
            sr.load(path)


def test_damaged_bytes_never_load_as_something_else(tmp_path: Path) -> None:
    net = small()
    path = tmp_path / "net.npz"
    params = sr.initialise(net)
    sr.save(path, net, params)
    data = bytearray(path.read_bytes())
    for at in np.random.default_rng(0).integers(0, len(data), 60):
        damaged = data.copy()
        damaged[at] ^= 0x55
        path.write_bytes(damaged)
        try:
            _, got = sr.load(path)
        except ValueError:
            continue
        assert all(np.array_equal(got[name], params[name]) for name in params)


def test_parameters_that_load_would_reject_are_not_saved(tmp_path: Path) -> None:
    net = small()
    params = sr.initialise(net)
    params["act0.slope"][1] = np.nan
    with pytest.raises(ValueError, match=r"NaN or infinite values in act0\.slope"):
        sr.save(tmp_path / "net.npz", net, params)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", [b"{'descr': (((", b"'''abc", b"(" * 3000])
def test_a_malformed_header_is_rejected(tmp_path: Path, text: bytes) -> None:
    bad = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
    with pytest.raises(ValueError, match=r"bad\.npz"):
        sr.load(altered(tmp_path, **{"act0.slope.npy": bad}))


def test_a_folder_and_another_format_have_their_own_errors(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder"):
        sr.load(tmp_path)
    (tmp_path / "m.onnx").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"use load_any to read \.onnx files"):
        sr.load(tmp_path / "m.onnx")
