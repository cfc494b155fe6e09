"""weights/state.py: a finished run's moments as float16, and going on from them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sesr_ref as sr
import state
from sesr_ref import shipped as shipped_module
from sesr_ref.files import sha256_of
from sesr_ref.shipped import shipped
from sesr_ref.train import train
from sesr_ref.train.data import Pairs
from sesr_ref.train.optimiser import Recipe

NET = sr.sesr(1, 3, expand=4)
RECIPE: dict[str, Any] = {
    "steps": 6,
    "batch": 2,
    "crop": 8,
    "lr": 1e-3,
    "amsgrad": True,
    "average": 0.9,
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run of six steps whose weights are shipped as mine."""
    train(NET, pairs(), tmp_path / "run", Recipe(**RECIPE))
    weights = tmp_path / "run" / "weights.npz"
    entry = {"file": weights.name, "sha256": sha256_of(weights), "scores": {}}
    (weights.parent / "manifest.json").write_text(json.dumps({"mine": entry}))
    monkeypatch.setattr(shipped_module, "weights_folder", lambda: weights.parent)
    monkeypatch.setattr(state, "STATES", tmp_path / "states")
    return weights.parent


def pairs() -> Pairs:
    rng = np.random.default_rng(0)
    low = [rng.integers(16, 236, (13, 15 + i), dtype=np.uint8) for i in range(2)]
    return Pairs(2, low, [np.kron(image, np.ones((2, 2), np.uint8)) for image in low])


@pytest.mark.parametrize("scale", [0.0, 1e-30, 3e-8, 1.0, 7e30])
def test_numbers_of_any_size_survive_float16(scale: float, rng: np.random.Generator) -> None:
    array = (scale * rng.lognormal(sigma=1.5, size=999)).astype(np.float32)
    half, shift = state.to_half(array)
    assert np.isfinite(half).all()
    np.testing.assert_allclose(state.from_half(half, shift), array, rtol=2**-11)


def test_the_moments_come_back_and_training_goes_on_from_them(run: Path, tmp_path: Path) -> None:
    state.write_state(run, "mine")
    _, moments = state.read_state("mine")
    with np.load(run / "checkpoint.npz") as file:
        assert moments.keys() == set(file.files) - {"meta", "weights", "average"}
        for key, values in moments.items():
            np.testing.assert_allclose(values, file[key], rtol=1e-3, atol=1e-6 * file[key].max())
    out = tmp_path / "on"
    state.write_checkpoint("mine", out, 9)
    recipe = Recipe(**RECIPE | {"steps": 9})
    params = train(NET, pairs(), out, recipe, resume=True)
    log = (out / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log] == [6, 9]
    before = sr.load("mine")[1]
    moved = max(float(np.abs(params[name] - before[name]).max()) for name in params)
    assert 1e-5 < moved < 1e-2


def test_a_state_is_refused_for_other_weights_used_up_steps_and_a_run_that_is_there(
    run: Path, tmp_path: Path
) -> None:
    path = state.write_state(run, "mine")
    with pytest.raises(ValueError, match="above the 6 that are done, got 6"):
        state.write_checkpoint("mine", tmp_path / "on", 6)
    with pytest.raises(FileExistsError, match="exists already"):
        state.write_checkpoint("mine", run, 9)
    manifest = run / "manifest.json"
    manifest.write_text(manifest.read_text().replace(shipped()["mine"]["sha256"], "0" * 64))
    with pytest.raises(ValueError, match=rf"{path.name}: is not of the weights"):
        state.read_state("mine")


def test_every_stored_state_is_of_the_shipped_weights_and_they_are_small() -> None:
    files = list(state.STATES.glob("*.npz"))
    for path in files:
        meta, _ = state.read_state(path.stem)
        net, _ = sr.load(path.stem)
        assert sr.Network.from_json(json.dumps(meta["network"])).layers == net.layers
        count = sum(math.prod(shape) for shape in net.param_shapes().values())
        assert path.stat().st_size < 3 * 2 * count  # three moments of two bytes each, compressed
    assert sum(path.stat().st_size for path in files) < 8e6
