"""A package of weights that is empty, and folders of images for training and shipping."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import sesr_ref as sr
import ship
import state
from runbook import PLAN
from sesr_ref import shipped as shipped_module
from sesr_ref.images import write_image


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders as run.py takes them, of one small image each."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for name in ("train/T1", "Kodak24", "Set5", "Set14", "BSD100"):
        (folder / name).mkdir(parents=True)
        smooth = sr.imresize(rng.random((16, 18)), 4).clip(0, 1)
        write_image(folder / name / "a.png", np.round(255 * smooth).astype(np.uint8))
    return folder


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "package"
    folder.mkdir()
    for module in (shipped_module, ship):
        monkeypatch.setattr(module, "weights_folder", lambda: folder)
    monkeypatch.setattr(state, "STATES", tmp_path / "states")
    return folder


@pytest.fixture
def plan_file(tmp_path: Path) -> Path:
    path = tmp_path / "plan.toml"
    path.write_text(PLAN)
    return path
