"""`import sesr_ref` needs NumPy alone, and the public names are all there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sesr_ref as sr

ROOT = Path(__file__).resolve().parents[2]
IMPORTED = """
import json, sys
before = set(sys.modules)
import {}
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def imported_packages(module: str) -> set[str]:
    """Top-level packages, standard library apart, that importing the module brings in."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED.format(module)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    packages = {name.partition(".")[0] for name in json.loads(done.stdout)}
    return packages - set(sys.stdlib_module_names)


@pytest.mark.parametrize("module", ["sesr_ref", "sesr_ref.cli"])
def test_importing_needs_only_numpy(module: str) -> None:
    theirs = {p for p in imported_packages(module) if not p.startswith(("_", "cython_runtime"))}
    assert theirs == {"sesr_ref", "numpy"}


def test_the_engine_does_not_import_training_images_or_kernels() -> None:
    code = "import sys, sesr_ref; print(*(m for m in sys.modules if m.startswith('sesr_')))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    modules = set(done.stdout.split())
    assert not {m for m in modules if m.startswith(("sesr_kernels", "sesr_weights"))}
    assert "sesr_ref.cli" not in modules


def test_public_names_exist_and_functions_are_documented() -> None:
    assert len(set(sr.__all__)) == len(sr.__all__)
    for name in sr.__all__:
        assert getattr(sr, name).__doc__, name


def test_names_that_are_loaded_later_are_listed() -> None:
    assert set(sr.__all__) <= set(dir(sr))


def test_the_core_names_of_the_design_are_public() -> None:
    core = {
        "REFERENCE",
        "Network",
        "Ops",
        "backward",
        "collapse_params",
        "collapse_params_vjp",
        "collapsed",
        "expand_params",
        "expanded",
        "fast",
        "forward",
        "fsrcnn",
        "loss_and_grads",
        "run",
        "sesr",
    }
    assert core <= set(sr.__all__)


def test_the_reference_is_numpy_and_named_so() -> None:
    assert sr.REFERENCE.name == "reference"
    assert sr.REFERENCE.network is None
    assert sr.REFERENCE.gradients is None


def test_fast_without_numba_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(ImportError, match=r"pip install 'sesr-ref\[fast\]'"):
        sr.fast()
