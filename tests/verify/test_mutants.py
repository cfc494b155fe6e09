"""Sixty faults: every one caught, the first wrong layer right, most of them named."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import pytest

import sesr_ref as sr
from mutants import SESR, Mutant, run
from networks_for_verification import case
from sesr_ref.verify.comparison.compare import Comparison

Array = npt.NDArray[np.float32]


@functools.cache
def judged(mutant: Mutant) -> Comparison:
    net, params, x = case()
    return sr.compare(net, params, x, run(net, params, x, mutant))


def test_the_unchanged_implementation_agrees() -> None:
    net, params, x = case()
    result = sr.compare(net, params, x, run(net, params, x, None))
    assert result.agrees, result
    assert result.first_wrong is None
    assert result.fault is None


@pytest.mark.parametrize("mutant", SESR, ids=lambda mutant: mutant.name)
def test_a_fault_is_caught_and_its_layer_named(mutant: Mutant) -> None:
    result = judged(mutant)
    assert not result.agrees
    assert result.first_wrong == mutant.layer
    assert result.tensors[mutant.layer].verdict == "differs"
    if mutant.named:
        assert result.fault is not None
        assert result.fault.layer == mutant.layer
        assert mutant.named in result.fault.name


@pytest.mark.slow
def test_a_fault_is_caught_in_the_output_alone() -> None:
    net, params, x = case()
    for mutant in SESR:
        y = run(net, params, x, mutant)[net.output]
        result = sr.compare(net, params, x, y, name_fault=False)
        assert not result.agrees, mutant.name


def test_slopes_without_negative_values_are_not_blamed() -> None:
    mutant = next(mutant for mutant in SESR if mutant.name == "slopes 2 % off")
    fault = judged(mutant).fault
    assert fault is not None
    wrong, right = fault.name.split(": ")[1].split(" instead of ")
    assert float(wrong) / float(right) == pytest.approx(1.02, rel=1e-3)


ONLY_OUTPUT = ("kernel flipped", "border repeated", "short residual missing", "Y full range")


@pytest.mark.parametrize("name", ONLY_OUTPUT)
def test_some_faults_are_named_from_the_output_alone(name: str) -> None:
    net, params, x = case()
    mutant = next(mutant for mutant in SESR if mutant.name == name)
    result = sr.compare(net, params, x, run(net, params, x, mutant)[net.output])
    assert result.fault is not None
    assert result.fault.layer == mutant.layer
    assert mutant.named in result.fault.name


@pytest.mark.slow
def test_table_of_mutants() -> None:
    """Printed with ``pytest -s tests/verify/test_mutants.py``."""
    from sesr_ref.commands.console import print_table

    rows = []
    for mutant in SESR:
        result = judged(mutant)
        report = result.tensors[mutant.layer]
        named = result.fault.name if result.fault else "-"
        error = f"{result.tensors[case()[0].output].error:.1e}"
        used = f"{report.used:.0f}"
        rows.append((mutant.name, mutant.layer, result.first_wrong, used, error, named))
    columns = ("fault", "injected into", "first wrong", "times its bound", "output off by", "named")
    print_table(f"{len(rows)} mutants", columns, rows)
    assert len(rows) >= 40
    assert len({mutant.name for mutant in SESR}) == len(rows)
    assert sum(row[5] != "-" for row in rows) > 0.7 * len(rows)
