"""safetensors: ours back unchanged, other people's recognised, damaged ones rejected."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import sesr_ref as sr
from sesr_ref.exchange import load_safetensors, save_safetensors

pytest.importorskip("safetensors", reason="needs the extra onnx")

Array = npt.NDArray[Any]


def network(dtype: str = "float32") -> tuple[sr.Network, dict[str, Array]]:
    net = sr.sesr(2, 3, 2, expand=5, block_bias="true")
    rng = np.random.default_rng(7)
    shapes = net.param_shapes()
    return net, {k: rng.normal(0, 0.3, s).astype(dtype) for k, s in shapes.items()}


def raw(path: Path, header: object, data: bytes = b"") -> Path:
    """A file of the format's parts: length of the header, the header, the data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_network_comes_back_as_it_was(dtype: str, tmp_path: Path) -> None:
    net, params = network(dtype)
    save_safetensors(tmp_path / "m.safetensors", net, params)
    back, got = load_safetensors(tmp_path / "m.safetensors")
    assert back == net
    for name, array in params.items():
        assert got[name].dtype == dtype
        np.testing.assert_array_equal(got[name], array)


def test_any_network_comes_back_for_it_is_described(tmp_path: Path) -> None:
    net = sr.fsrcnn(3)
    params = sr.initialise(net)
    save_safetensors(tmp_path / "m.safetensors", net, params)
    assert sr.load_any(tmp_path / "m.safetensors")[0] == net


def test_other_programs_read_the_same_arrays(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    net, params = network()
    save_safetensors(tmp_path / "m.safetensors", net, params)
    got = load_file(tmp_path / "m.safetensors")
    assert got.keys() == params.keys()
    for name, array in params.items():
        np.testing.assert_array_equal(got[name], array)


def test_a_file_of_another_program_is_recognised_by_its_names(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    net, params = network()
    plain = {name: array for name, array in params.items() if not name.endswith("bias")}
    save_file(plain | {"act0.slope": np.ones(3, "f4")}, tmp_path / "m.safetensors")
    back, got = load_safetensors(tmp_path / "m.safetensors")
    assert [la.name for la in back.layers] == [la.name for la in net.layers]
    np.testing.assert_array_equal(got["head.expand"], params["head.expand"])


@pytest.mark.parametrize("kind", ["F16", "BF16"])
def test_half_precision_is_widened_exactly(kind: str, tmp_path: Path) -> None:
    values = np.array([1.5, -0.0078125, 3.0, -0.25, 0.0, 1.0, 2.0, -4.0, 0.5], np.float32)
    stored = values.astype("<f2") if kind == "F16" else (values.view("<u4") >> 16).astype("<u2")
    layers = (sr.network.Conv("c", 1, 3),)
    description = sr.Network("one", 1, 1, layers).to_json()
    header = {
        "__metadata__": {"network.json": description},
        "c.weight": {"dtype": kind, "shape": [3, 3, 1, 1], "data_offsets": [0, 18]},
    }
    path = raw(tmp_path / "m.safetensors", header, stored.tobytes())
    _, params = load_safetensors(path)
    assert params["c.weight"].dtype == np.float32
    np.testing.assert_array_equal(params["c.weight"].ravel(), values)


ONE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        (b"{", b"", "not a safetensors file, or damaged"),
        ({"a": ONE}, b"\0\0", "not a safetensors file, or damaged"),
        ({"a": {**ONE, "shape": [1 << 40]}}, b"\0" * 4, "not a safetensors file"),
        ({"a": {**ONE, "data_offsets": [4, 8]}}, b"\0" * 8, "not a safetensors file"),
        ({"a": {**ONE, "dtype": "I32"}}, b"\0" * 4, "a: the dtype must be one of F16, F32"),
        ({"a": ONE}, b"\0" * 4, r"a of shape \(1,\) is part of no convolution"),
        ({"__metadata__": {"network.json": "[]"}, "a": ONE}, b"\0" * 4, "network description"),
    ],
)
def test_a_damaged_file_is_rejected_in_one_line(
    header: object, data: bytes, message: str, tmp_path: Path
) -> None:
    path = raw(tmp_path / "m.safetensors", header, data)
    with pytest.raises(ValueError, match=message) as error:
        load_safetensors(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("data", [b"", b"\x10", struct.pack("<Q", 1 << 60) + b"{}"])
def test_a_truncated_file_is_rejected(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.safetensors").write_bytes(data)
    with pytest.raises(ValueError, match="not a safetensors file"):
        load_safetensors(tmp_path / "m.safetensors")


def test_parameters_that_do_not_fit_their_description_are_named(tmp_path: Path) -> None:
    description = sr.fsrcnn().to_json()
    header = {"__metadata__": {"network.json": description}, "a": ONE}
    path = raw(tmp_path / "m.safetensors", header, b"\0" * 4)
    with pytest.raises(ValueError, match=r"parameter 'deconv\.weight' is missing"):
        load_safetensors(path)


def test_an_existing_file_is_kept_and_nothing_is_half_written(tmp_path: Path) -> None:
    net, params = network()
    (tmp_path / "m.safetensors").write_text("mine")
    with pytest.raises(FileExistsError):
        save_safetensors(tmp_path / "m.safetensors", net, params, overwrite=False)
    with pytest.raises(ValueError, match="is not the network"):
        save_safetensors(tmp_path / "n.safetensors", net, params, "aimet")
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]
    assert (tmp_path / "m.safetensors").read_text() == "mine"


def test_without_safetensors_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, params = network()
    save_safetensors(tmp_path / "m.safetensors", net, params)
    for name in ("safetensors", "safetensors.numpy"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install 'sesr-ref\[onnx\]'"):
        save_safetensors(tmp_path / "n.safetensors", net, params)
    with pytest.raises(ImportError, match=r"pip install 'sesr-ref\[onnx\]'"):
        load_safetensors(tmp_path / "m.safetensors")
