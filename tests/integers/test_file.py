"""Files of quantised networks: what is written is read back; what is damaged is rejected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sesr_ref as sr
from sesr_ref.integers import load_quantized, save_quantized


@pytest.fixture(scope="module")
def case() -> Any:
    rng = np.random.default_rng(3)
    net = sr.sesr(1, 3, expand=8)
    params = sr.initialise(net, 1)
    q = sr.calibrate(net, params, [rng.random((1, 9, 11, 1), np.float32)], fused=("additions",))
    return net, sr.quantize(net, params, q), q


def test_what_is_saved_is_loaded(case: Any, tmp_path: Path) -> None:
    net, iparams, q = case
    save_quantized(tmp_path / "a.npz", net, iparams, q)
    small, loaded, grids = load_quantized(tmp_path / "a.npz")
    assert (small, grids) == (sr.collapsed(net), q)
    for name, value in iparams.items():
        np.testing.assert_array_equal(loaded[name], value)
        assert loaded[name].dtype == value.dtype
    with pytest.raises(FileExistsError):
        save_quantized(tmp_path / "a.npz", net, iparams, q, overwrite=False)
    with pytest.raises(ValueError, match="holds a network in integers"):
        sr.load(tmp_path / "a.npz")


def changed(path: Path, **changes: Any) -> Path:
    """The file with other members; None leaves one out."""
    with np.load(path) as archive:
        members = {name: archive[name] for name in archive.files}
    members |= changes
    with path.open("wb") as stream:
        np.savez(stream, **{name: array for name, array in members.items() if array is not None})
    return path


def text(data: Any) -> Any:
    return np.frombuffer(json.dumps(data).encode(), np.uint8)


def test_damaged_files_are_rejected_in_one_line(case: Any, tmp_path: Path) -> None:
    net, iparams, q = case
    wide = iparams["head.weight"].astype(np.int16)
    grids = json.loads(q.to_json())
    missing = {**grids, "tensors": {k: v for k, v in grids["tensors"].items() if k != "head"}}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"quantization.json": None}, "no quantization.json inside"),
        ({"quantization.json": text([1])}, "quantization.json: a quantization is an object"),
        ({"quantization.json": text(missing)}, "tensor 'head' has no grid"),
        ({"network.json": text({"name": 1})}, "network.json: "),
        ({"head.weight": None}, "parameter 'head.weight' is missing"),
        ({"more": wide}, "parameter 'more' is not expected"),
        ({"head.weight": wide}, "head.weight: its dtype must be int8"),
        ({"head.weight": np.full_like(iparams["head.weight"], -128)}, "lie in -127..127"),
        ({"head.weight": iparams["head.weight"][1:]}, "head.weight"),
    ]
    for changes, message in cases:
        save_quantized(tmp_path / "a.npz", net, iparams, q)
        with pytest.raises(ValueError, match=message) as error:
            load_quantized(changed(tmp_path / "a.npz", **changes))
        assert "\n" not in str(error.value)
        assert str(error.value).startswith(str(tmp_path))


def test_other_files_are_named(tmp_path: Path) -> None:
    net = sr.sesr(1, 3, expand=8)
    sr.save(tmp_path / "real.npz", net, sr.initialise(net))
    with pytest.raises(ValueError, match=r"no quantization\.json inside"):
        load_quantized(tmp_path / "real.npz")
    with pytest.raises(FileNotFoundError, match="no such file and no shipped network"):
        load_quantized("sesr-m9-x2-int8")
