"""--engine: the kernels where they are there and work, else NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from checks import need_kernels
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


def test_kernels_that_work_are_taken(capsys: Capture) -> None:
    need_kernels()
    models.engine_named("auto")  # may compile, and says so
    capsys.readouterr()
    assert models.engine_named("auto").name == "fast"
    assert models.engine_named("fast").name == "fast"
    assert models.engine_named("reference") is REFERENCE
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("network", "trouble"),
    [(_wrong, "they compute something else"), (_broken, "RuntimeError: no compiler")],
)
def test_kernels_that_do_not_work_are_left_with_a_notice(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, network: Callable[..., Any], trouble: str
) -> None:
    monkeypatch.setattr(models, "fast", _kernels(network))
    assert models.engine_named("auto") is REFERENCE
    expected = f"the fast kernels do not work here, NumPy is used: {trouble}\n"
    assert capsys.readouterr() == ("", expected)
    assert models.engine_named("fast").name == "fast"  # as asked


def test_without_numba_auto_is_the_reference_and_fast_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(models, "fast", _absent)
    assert models.engine_named("auto") is REFERENCE
    with pytest.raises(ImportError, match="pip install"):
        models.engine_named("fast")
