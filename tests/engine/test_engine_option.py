"""--engine: the kernels where they are there and work, else NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checks import need_kernels
from sesr_ref.cli import main
from sesr_ref.commands import models
from sesr_ref.ops.table import REFERENCE, Ops

Capture = pytest.CaptureFixture[str]


def _wrong(net: Any, params: Any, x: Any) -> Any:
    return np.zeros((1, x.shape[1] * 2, x.shape[2] * 2, 1), x.dtype)


def _broken(net: Any, params: Any, x: Any) -> Any:
    raise RuntimeError("no\ncompiler")


def _absent() -> Ops:
    raise ImportError("pip install 'sesr-ref[fast]'")


def _kernels(network: Callable[..., Any]) -> Callable[[], Ops]:
    return lambda: replace(REFERENCE, name="fast", network=network)


def test_working_kernels_are_used(capsys: Capture) -> None:
    need_kernels()
    models.engine_named("auto")  # may compile, and says so
    capsys.readouterr()
    assert models.engine_named("auto").name == "fast"
    assert models.engine_named("fast").name == "fast"
    assert models.engine_named("reference") is REFERENCE
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("network", "trouble"),
    [(_wrong, "their results are wrong"), (_broken, "RuntimeError: no compiler")],
)
def test_broken_kernels_are_not_used_and_a_notice_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, network: Callable[..., Any], trouble: str
) -> None:
    monkeypatch.setattr(models, "fast", _kernels(network))
    assert models.engine_named("auto") is REFERENCE
    expected = f"using NumPy, because the fast kernels do not work here: {trouble}\n"
    assert capsys.readouterr() == ("", expected)
    assert models.engine_named("fast").name == "fast"  # as asked


def test_without_numba_auto_falls_back_with_a_notice_and_fast_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(models, "fast", _absent)
    assert models.engine_named("auto") is REFERENCE
    assert "Numba is not installed: using NumPy" in capsys.readouterr().err
    with pytest.raises(ImportError, match="pip install"):
        models.engine_named("fast")


def test_an_unreadable_cache_counts_as_empty(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, tmp_path: Path
) -> None:
    def forbidden(self: Path, pattern: str) -> list[Path]:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "glob", forbidden)
    ops = replace(REFERENCE, name="fast", cache_folder=lambda: tmp_path)
    monkeypatch.setattr(models, "fast", lambda threads=None: ops)
    assert models.engine_named("auto") is ops
    assert "compiling the kernels" in capsys.readouterr().err
    monkeypatch.setattr("sesr_ref.commands.warmup.fast", lambda threads=None: ops)
    assert main(["warmup", "--no-training"]) == 2
    assert f"not cached, since this folder cannot be written: {tmp_path}" in capsys.readouterr().out
