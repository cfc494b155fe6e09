"""A new kind of layer needs a rule in every tool: none is forgotten."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import naive
import sesr_ref
from sesr_ref.network import KINDS, PRIMITIVES, Layer, LinearBlock

Table = dict[type[Layer], object]

PARTIAL = {
    "CONSTANTS": "kinds whose description holds numbers; the others have none",
    "REPLACED": "kinds that the hardware variant has another for; the others stay",
    "ESTIMATORS": "kinds with parameters that a fault may be fitted to",
}
"""Names of tables in which a kind may be missing, and what its absence means."""


def tables() -> dict[str, Table]:
    """Every table of the engine that is keyed by kinds of layers, wherever it is."""
    found: dict[str, Table] = {"naive.RULES": naive.RULES}
    for module_info in pkgutil.walk_packages(sesr_ref.__path__, "sesr_ref."):
        if module_info.name.endswith("__main__"):
            continue
        module = importlib.import_module(module_info.name)
        for name, value in vars(module).items():
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
    kinds = set(TABLES[name])
    needed = () if name.rpartition(".")[2] in PARTIAL else PRIMITIVES
    missing = [kind.__name__ for kind in needed if kind not in kinds]
    assert not missing, f"{name} has no rule for {missing}"
    assert kinds <= {*PRIMITIVES, LinearBlock}


def test_every_kind_of_layer_is_a_primitive_or_the_linear_block() -> None:
    assert set(Layer.__subclasses__()) == {*PRIMITIVES, LinearBlock} == set(KINDS.values())
    assert [kind.__name__ for kind in KINDS.values()] == list(KINDS)
