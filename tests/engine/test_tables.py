"""A new kind of layer needs a rule in every tool: none is forgotten."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import naive
import sesr_ref
from sesr_ref.network import (
    COMPOSITES,
    KINDS,
    PRIMITIVES,
    Clip,
    Conv,
    Layer,
    Linear,
    LinearBlock,
    Pointwise,
    ReLU,
    Rules,
    Shift,
    Sigmoid,
    Stencil,
)

Table = dict[type[Layer], object]

PARTIAL = {
    "EXPRESSIONS": "kinds that change each value separately, as C writes them",
    "REPLACED": "kinds that the hardware variant has another for; the others stay",
    "ESTIMATORS": "kinds with parameters that a fault may be fitted to",
    "FACTS": "linear kinds, of which bodies are made",
    "NUMBERS": "linear kinds that compute",
    "JOINTS": "linear kinds that only join or cut",
    "JOINED": "the same, layer by layer",
    "KEEPS": "kinds that keep their input's grid",
    "tflite.write.RULES": "kinds that TFLite's integer kernels have",
}
"""Names of tables in which a kind may be missing, and what its absence means."""


def tables() -> dict[str, Table]:
    """Every table of the engine that is keyed by kinds of layers, wherever it is."""
    found: dict[str, Table] = {"naive.RULES": naive.RULES}
    for module_info in pkgutil.walk_packages(sesr_ref.__path__, "sesr_ref."):
        if module_info.name.endswith("__main__"):
            continue
        module = importlib.import_module(module_info.name)
        for name in getattr(module, "__annotations__", {}):  # where it is defined, not imported
            value = getattr(module, name, None)
            if isinstance(value, dict) and any(_is_kind(key) for key in value):
                found[f"{module_info.name.removeprefix('sesr_ref.')}.{name}"] = value
    return found


def _is_kind(key: object) -> bool:
    return isinstance(key, type) and issubclass(key, Layer)


TABLES = tables()


def test_the_tables_are_found() -> None:
    assert {"execute.RULES", "receptive.WINDOWS", "counting.MACS"} <= set(TABLES)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_has_a_rule_for_every_primitive_and_nothing_else(name: str) -> None:
    table, bases = TABLES[name], {Layer, Pointwise}
    assert set(table) <= {*PRIMITIVES, LinearBlock, *bases}
    if not any(name.endswith(partial) for partial in PARTIAL):
        for kind in PRIMITIVES:
            assert table[kind] is not None, f"{name} has no rule for {kind.__name__}"


def test_a_kind_without_a_row_has_that_of_its_nearest_base() -> None:
    rules = Rules({Layer: "any", Pointwise: "pointwise", ReLU: "own"})
    assert [rules[kind] for kind in (ReLU, Sigmoid, Conv)] == ["own", "pointwise", "any"]
    with pytest.raises(KeyError):
        Rules({Pointwise: "pointwise"})[Conv]


def test_every_kind_of_layer_is_a_primitive_or_a_composite() -> None:
    bases = (Layer, Pointwise, Linear)
    kinds = {kind for base in bases for kind in base.__subclasses__()} - set(bases)
    assert kinds == {*PRIMITIVES, *COMPOSITES} == set(KINDS.values())
    assert [kind.__name__ for kind in KINDS.values()] == list(KINDS)


def test_every_linear_kind_has_its_rules() -> None:
    linear = set(TABLES["layers.composite.FACTS"])
    computes, joins = (
        set(TABLES[f"linear.{name}"]) for name in ("numbers.NUMBERS", "joints.JOINTS")
    )
    assert computes | joins == linear
    assert not computes & joins
    assert set(TABLES["verify.proof.JOINED"]) == joins


def test_numbers_that_an_implementation_rounds_are_found_by_their_type() -> None:
    assert Clip.constants() == ("low", "high")
    assert Shift.constants() == ("offset",)
    assert Stencil.constants() == ("taps",)
    assert Conv.constants() == ReLU.constants() == ()
