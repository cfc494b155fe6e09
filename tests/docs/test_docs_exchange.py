"""docs/exchange.md states what the tables hold."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

import sesr_ref as sr
from aimet import aimet_state, weights
from sesr_ref.exchange.dialects import DIALECTS
from sesr_ref.exchange.formats import LOADERS
from sesr_ref.exchange.onnx.operators import RULES
from sesr_ref.exchange.onnx.write import OPSET, OPSETS
from sesr_ref.exchange.state import PREFIXES, from_state
from sesr_ref.exchange.torch.tensors import WRAPPERS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "exchange.md").read_text("utf-8")


def test_the_operators_are_those_of_the_table() -> None:
    section = PAGE.split("## ONNX in")[1].split("* Convolutions")[0]
    assert re.findall(r"`(\w+)`", section) == list(RULES)


def test_the_formats_are_those_that_are_read() -> None:
    assert set(re.findall(r"`(\.[\w.]+)`", PAGE.split("A file with another")[0])) == set(LOADERS)


def test_the_prefixes_and_wrappers_are_those_of_the_tables() -> None:
    section = PAGE.split("Wrappers do not matter")[1].split("Where several")[0]
    assert re.findall(r"`([\w.]+)`", section) == [*PREFIXES, *WRAPPERS]


def test_the_dialects_and_their_names_are_those_of_the_table() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| .* \| `([\w.]+)` \| (\w+) \|$", PAGE, re.MULTILINE)
    first = {
        key: (d.prefix + d.names[0].theirs, "OIHW" if d.names[0].layout == "OIHW" else "HWIO")
        for key, d in DIALECTS.items()
    }
    assert {key: (name, layout) for key, name, layout in rows} == first


def test_the_opset_and_the_weights_before_and_after_are_those_stated(
    rng: np.random.Generator,
) -> None:
    assert f"Opset {OPSET}, or another from {OPSETS[0]} to {OPSETS[-1]}" in PAGE
    net, _ = from_state(aimet_state(rng))
    for count in (weights(net), weights(sr.collapsed(net))):
        assert f"{count:,}".replace(",", " ") in " ".join(PAGE.split())
