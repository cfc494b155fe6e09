"""What is named where a candidate shows less than every tensor."""

from __future__ import annotations

import numpy as np
import pytest

import sesr_ref as sr
from mutants import run
from networks_for_verification import case


@pytest.mark.parametrize("layer", ["head", "block2"])
@pytest.mark.parametrize("shows_input", [False, True])
def test_one_wrong_weight_is_named_whether_or_not_the_input_is_shown(
    layer: str, shows_input: bool
) -> None:
    net, params, x = case()
    name, index = f"{layer}.weight", (2, 2, 0, 3)
    wrong = params | {name: params[name].copy()}
    wrong[name][index] *= np.float32(1.5)
    tensors = run(net, wrong, x, None)
    if not shows_input:
        del tensors["input"]
    result = sr.compare(net, params, x, tensors)
    assert result.first_wrong == layer
    assert f"{layer}: weights differ in 1 of " in str(result.fault)
    assert "most in [2, 2, 0, 3]: " in str(result.fault)
