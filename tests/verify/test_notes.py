"""What the verdict of a comparison leaves open, and says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import sesr_ref as sr
from mutants import run
from networks_for_verification import case, random_params
from sesr_ref.verify.comparison.notes import unseen_between

Array = npt.NDArray[Any]


def flipped(layer: str, shown: list[str]) -> sr.Comparison:
    net, params, x = case()
    wrong = params | {f"{layer}.weight": params[f"{layer}.weight"][::-1].copy()}
    tensors = run(net, wrong, x, None)
    return sr.compare(net, params, x, {name: tensors[name] for name in shown})


def test_hidden_tensors_before_the_first_wrong_one_may_be_the_cause() -> None:
    result = flipped("block2", ["head", "block1", "act1", "act3", "block4", "shuffle0"])
    assert result.first_wrong == "act3"
    assert result.unseen == ("block2", "act2", "block3")
    assert result.to_dict()["unseen"] == ["block2", "act2", "block3"]
    assert (
        "act3 is the first wrong tensor shown; the mistake is there or in block2, act2, "
        "block3 (not shown); at (0, "
    ) in str(result)


def test_if_all_tensors_before_it_are_shown_the_first_wrong_one_is_the_cause() -> None:
    result = flipped("block2", ["act1", "block2", "act3", "shuffle0"])
    assert (result.first_wrong, result.unseen) == ("block2", ())
    assert "block2 is the first wrong tensor: at" in str(result)


def test_many_hidden_tensors_are_counted() -> None:
    result = flipped("block2", ["shuffle0"])
    assert result.unseen == result.missing
    assert f"or in one of {len(result.missing)} before it (not shown)" in str(result)


def test_a_skip_bypasses_the_tensors_shown() -> None:
    net = case()[0]
    shown = {"block4", "shuffle0"}
    unseen = unseen_between(net, "shuffle0", shown)
    assert unseen == ("head", "act4", "features", "tail", "subpixels")


def judged(x: Array) -> sr.Comparison:
    net = sr.sesr(1, 4, linear_blocks=False)
    params = random_params(net, np.random.default_rng(1))
    y = sr.run(net, params, x)
    return sr.compare(net, params, x, y)


def picture(**options: Any) -> Array:
    return np.random.default_rng(2).random((1, 9, 11, 1), **options)


@pytest.mark.parametrize(
    ("x", "note"),
    [
        (
            np.zeros((1, 9, 11, 1), np.float32),
            "the input is 0 everywhere, which hides",
        ),
        (np.full((1, 9, 11, 1), 0.5, np.float32), "the input is constant, which hides flipped"),
        (picture() * 255 / picture().max(), "the input reaches 255; networks expect [0, 1]"),
        (picture() * 4 - 3 - picture().min() * 4, "the input reaches -3; networks expect [0, 1]"),
    ],
)
def test_uninformative_inputs_are_noted(x: Array, note: str) -> None:
    result = judged(x)
    assert result.agrees
    assert [text.startswith(note) for text in result.notes] == [True]
    assert f"\nnote: {note}" in str(result)
    assert result.to_dict()["notes"] == list(result.notes)


def test_usual_inputs_are_not_noted() -> None:
    assert judged(picture(dtype=np.float32)).notes == ()
    assert judged(np.array([0.0, 1 + 1e-8, 0.5, 1]).reshape(1, 2, 2, 1)).notes == ()


def stored(y: Array, dtype: str) -> sr.Comparison:
    net = sr.sesr(1, 4, linear_blocks=False)
    params = random_params(net, np.random.default_rng(1))
    return sr.compare(net, params, picture(), y, dtype, name_fault=False)


def test_a_float16_candidate_judged_as_float32_is_noted() -> None:
    net = sr.sesr(1, 4, linear_blocks=False)
    params = random_params(net, np.random.default_rng(1))
    y = sr.run(net, params, picture())
    hint = "float16 can represent every value shown: try --dtype float16"
    for half in (y.astype(np.float16), y.astype(np.float16).astype(np.float32)):
        assert stored(half, "float32").notes == (hint,)
        assert stored(half, "float16").notes == ()
    cut = (y.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    assert stored(cut, "float32").notes == (hint.replace("float16", "bfloat16"),)
    assert stored(y.astype(np.float32) * np.float32(1.01), "float32").notes == ()
    assert stored(np.rint(255 * y), "float32").notes == ()  # bytes
