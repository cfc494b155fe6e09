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


def test_what_is_not_shown_ahead_of_the_first_wrong_tensor_may_be_wrong_instead() -> None:
    result = flipped("block2", ["head", "block1", "act1", "act3", "block4", "shuffle0"])
    assert result.first_wrong == "act3"
    assert result.unseen == ("block2", "act2", "block3")
    assert result.to_dict()["unseen"] == ["block2", "act2", "block3"]
    assert (
        "act3 is the first wrong tensor shown; the mistake is made there or in block2, act2, "
        "block3, which are not shown; at (0, "
    ) in str(result)


def test_with_everything_shown_ahead_of_it_the_first_wrong_tensor_is_the_mistake_s() -> None:
    result = flipped("block2", ["act1", "block2", "act3", "shuffle0"])
    assert (result.first_wrong, result.unseen) == ("block2", ())
    assert "block2 is the first wrong tensor, at" in str(result)


def test_many_tensors_that_are_not_shown_are_counted() -> None:
    result = flipped("block2", ["shuffle0"])
    assert result.unseen == result.missing
    assert f"or in one of {len(result.missing)} ahead of it, which are not" in str(result)


def test_a_skip_leads_past_the_tensors_shown() -> None:
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
        (np.zeros((1, 9, 11, 1), np.float32), "the input is 0 everywhere: mistakes in most"),
        (np.full((1, 9, 11, 1), 0.5, np.float32), "the input is constant: borders apart"),
        (picture() * 255 / picture().max(), "the input reaches 255; networks expect [0, 1]"),
        (picture() * 4 - 3 - picture().min() * 4, "the input reaches -3; networks expect [0, 1]"),
    ],
)
def test_inputs_that_show_little_are_noted(x: Array, note: str) -> None:
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


def test_a_candidate_in_float16_that_is_judged_as_float32_is_told_so() -> None:
    net = sr.sesr(1, 4, linear_blocks=False)
    params = random_params(net, np.random.default_rng(1))
    y = sr.run(net, params, picture())
    hint = "every value shown is one that float16 has: try --dtype float16"
    for half in (y.astype(np.float16), y.astype(np.float16).astype(np.float32)):
        assert stored(half, "float32").notes == (hint,)
        assert stored(half, "float16").notes == ()
    cut = (y.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    assert stored(cut, "float32").notes == (hint.replace("float16", "bfloat16"),)
    assert stored(y.astype(np.float32) * np.float32(1.01), "float32").notes == ()
    assert stored(np.rint(255 * y), "float32").notes == ()  # bytes
