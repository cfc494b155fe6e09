"""Values in error messages are short, and cheap to write however large they are."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest

from sesr_ref.limits import (
    MAX_MESSAGE,
    MAX_SHOWN,
    NetworkError,
    check,
    listed,
    naming,
    one_of,
    shown,
    tile_shape,
    whole_number,
)


@pytest.mark.parametrize(
    "value",
    ["text", b"text", 3, -2.5, True, None, (1, 2), [0.5], {"a": 1}, {3}, PurePosixPath("a/b")],
)
def test_small_values_are_shown_as_python_writes_them(value: object) -> None:
    assert shown(value) == repr(value)


@dataclass
class Endless:
    """Its own `repr` visits 2**60 objects."""

    left: object = None
    right: object = None


def doubled(kind: Any) -> object:
    value: object = kind()
    for _ in range(60):
        value = kind([value, value]) if kind is list else kind(value, value)
    return value


HUGE: dict[str, Callable[[], object]] = {
    "nested lists": lambda: doubled(list),
    "nested objects": lambda: doubled(Endless),
    "a dict of nested lists": lambda: {"layers": doubled(list)},
    "a long list": lambda: list(range(1_000_000)),
    "a long text": lambda: "x" * 10_000_000,
    "many bytes": lambda: b"x" * 10_000_000,
    "a large integer": lambda: 10**200_000,
    "a large negative integer": lambda: -(10**200_000),
    "a long fraction": lambda: Fraction(10**20_000, 7),
    "a large array": lambda: np.zeros((1000, 1000)),
    "an array of nested lists": lambda: np.frompyfunc(lambda _: doubled(list), 1, 1)(np.zeros(3)),
    "a dtype of many fields": lambda: np.dtype([(f"field{i}", "<f4") for i in range(10_000)]),
}


@pytest.mark.parametrize("name", HUGE)
def test_huge_values_are_shown_shortly_and_at_once(name: str) -> None:
    value = HUGE[name]()
    begun = time.perf_counter()
    text = shown(value)
    assert 0 < len(text) <= MAX_SHOWN
    assert "\n" not in text
    assert time.perf_counter() - begun < 1


def test_arrays_and_types_are_shown_by_what_matters() -> None:
    assert shown(np.zeros((2, 3), np.float16)) == "float16 array of shape (2, 3)"
    assert shown(np.float32(1.5)) == "1.5"
    assert shown(np.dtype(np.int8)) == "int8"
    assert shown(list) == "list"
    assert shown(Endless()) == "Endless object"


def test_checks_state_what_was_got_and_what_was_needed() -> None:
    check(True, "a size", "odd", 3)
    with pytest.raises(ValueError, match=r"^a size must be odd, got 4$"):
        check(False, "a size", "odd", 4)
    one_of("mode", "b", ("a", "b"))
    with pytest.raises(ValueError, match=r"^mode must be one of a, b, got 'c'$"):
        one_of("mode", "c", ("a", "b"))
    with pytest.raises(ValueError, match=r"^upscale must be one of 1, 2, got True$"):
        one_of("upscale", True, (1, 2))
    assert whole_number("steps", np.int16(3)) == 3
    for wrong in (0, 4, 2.0, "2", True, None, 10**5000):
        with pytest.raises(ValueError, match=r"^steps must be an integer from 1 to 3, got "):
            whole_number("steps", wrong, high=3)
    assert tile_shape([2, np.int8(3)]) == (2, 3)


def test_errors_are_named_once_in_one_line_and_keep_their_kind() -> None:
    with pytest.raises(ValueError, match=r"^a\.npz: two lines$"), naming("a.npz"):
        raise ValueError("two\n lines")
    with pytest.raises(ValueError, match=r"^a\.npz: damaged$"), naming("a.npz"), naming("a.npz"):
        raise ValueError("damaged")
    with pytest.raises(NetworkError, match=r"^block: wrong$"), naming("block"):
        raise NetworkError("wrong")
    with pytest.raises(ValueError, match=r"^a: KeyError$"), naming("a", (KeyError,)):
        raise KeyError
    with pytest.raises(ValueError, match=r"^a: x") as caught, naming("a"):
        raise ValueError("x" * 1_000_000)
    assert len(str(caught.value)) <= MAX_MESSAGE + 3
    with pytest.raises(TypeError, match="other"), naming("a"):
        raise TypeError("other")


def test_long_lists_of_names_are_cut_and_counted() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert listed(["a", "b", "c", "d"], 2) == "a, b and 2 more"
    assert len(listed(["x" * 1_000_000] * 30)) < 5000
