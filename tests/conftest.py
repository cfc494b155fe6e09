"""What several test files share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one test process a core is enough

import numpy as np
import pytest
from hypothesis import settings

pytest_plugins = ["sesr_ref.testing"]

settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def pairs_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Trainings prepare their images here, not in the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SESR_PAIRS_DIR", str(tmp_path_factory.mktemp("pairs")))
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    """The same random numbers for every test."""
    return np.random.default_rng(20210317)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of test images and golden data, which is not part of the project."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs the folder of test images and golden data at {folder}")
    return folder
