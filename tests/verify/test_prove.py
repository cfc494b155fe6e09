"""Proof of collapse: passes for what is right, fails for what is not."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import naive
import sesr_ref as sr
from networks_for_verification import random_params
from sesr_ref.cli import main
from sesr_ref.collapse import collapse_block
from sesr_ref.verify import assert_equivalent, prove
from sesr_ref.verify import proof as proof_module
from sesr_ref.verify.proof import algorithm1, algorithm2

Array = npt.NDArray[Any]
Rng = np.random.Generator
NETWORKS = {
    "paper": sr.sesr(2, 5, expand=7),
    "biased, arm": sr.sesr(1, 4, expand=6, dialect="arm", block_bias="true"),
    "without residuals, x4": sr.sesr(1, 3, 4, expand=5, short_residuals=False, activation="relu"),
}


@pytest.mark.slow
@pytest.mark.parametrize("net", NETWORKS.values(), ids=NETWORKS)
def test_a_right_collapse_is_proved(net: sr.Network, rng: Rng) -> None:
    checks = prove(net, random_params(net, rng))
    failed = [check for check in checks if not check.passed]
    assert not failed
    names = " ".join(check.name for check in checks)
    for part in (
        "in fractions",
        "weight, float32",
        "interior, float64",
        "border, float32",
        "gradient, float64",
    ):
        assert part in names
    for check in checks:
        assert check.worst == 0 or "fractions" not in check.name


def test_algorithms_1_and_2_are_those_of_the_definitions(rng: Rng) -> None:
    expand, project = rng.normal(size=(3, 3, 4, 5)), rng.normal(size=(1, 1, 5, 4))
    expected = naive.algorithm_1([expand, project], 3, 4)
    np.testing.assert_allclose(algorithm1(expand, project), expected, atol=1e-12)
    np.testing.assert_array_equal(algorithm2(expected), naive.algorithm_2(expected.shape))


BROKEN = {
    "residual forgotten": lambda net, params, small: {
        k: v - algorithm2(v) if k.startswith("block") else v for k, v in small.items()
    },
    "one weight 0.1 % off": lambda net, params, small: {
        k: v * (1 + 1e-3 * (np.arange(v.size) == 7).reshape(v.shape)).astype(v.dtype)
        for k, v in small.items()
    },
    "kernel flipped": lambda net, params, small: {
        k: v[::-1, ::-1] if v.ndim == 4 else v for k, v in small.items()
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("broken", BROKEN)
def test_a_wrong_collapse_is_not_proved(
    broken: str, rng: Rng, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = NETWORKS["paper"]
    monkeypatch.setattr(
        proof_module,
        "collapse_params",
        lambda net, params: BROKEN[broken](net, params, sr.collapse_params(net, params)),
    )
    failed = [check.name for check in prove(net, random_params(net, rng)) if not check.passed]
    for part in (
        "block0: weight, float64",
        "block0: interior, float32",
        "shuffle0: border, float64",
    ):
        assert part in failed


@pytest.mark.slow
def test_wrong_gradients_are_not_proved(rng: Rng, monkeypatch: pytest.MonkeyPatch) -> None:
    net = NETWORKS["paper"]
    monkeypatch.setattr(
        proof_module,
        "collapse_params_vjp",
        lambda *a: {k: v * 1.001 for k, v in sr.collapse_params_vjp(*a).items()},
    )
    failed = [check.name for check in prove(net, random_params(net, rng)) if not check.passed]
    assert failed
    assert all("gradient" in name for name in failed)


@pytest.mark.slow
def test_fractions_catch_what_floats_cannot(rng: Rng, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of 1e-30 in the closed form."""
    net = NETWORKS["paper"]
    right = collapse_block

    def wrong(*args: Any) -> dict[str, Any]:
        from fractions import Fraction

        made: dict[str, Any] = right(*args)
        made["weight"][0, 0, 0, 0] += Fraction(1, 10**30)
        return made

    monkeypatch.setattr(proof_module, "collapse_block", wrong)
    failed = [check.name for check in prove(net, random_params(net, rng)) if not check.passed]
    assert failed
    assert all("fractions" in name for name in failed)


def test_networks_without_a_proof_are_rejected(rng: Rng) -> None:
    plain = sr.sesr(1, 4, linear_blocks=False)
    with pytest.raises(ValueError, match="has no linear blocks"):
        prove(plain, random_params(plain, rng))
    leaky = sr.sesr(1, 4, dialect="arm", block_bias="leaky")
    with pytest.raises(ValueError, match="has no expanded form"):
        prove(leaky, random_params(leaky, rng))


def test_equivalent_networks_pass_and_others_are_named(rng: Rng, assert_equivalent: Any) -> None:
    net = NETWORKS["paper"]
    params = random_params(net, rng)
    wide, wide_params = sr.expanded(net), sr.expand_params(net, params)
    small, small_params = sr.collapsed(net), sr.collapse_params(net, params)
    for dtype in ("float64", "float32"):
        assert_equivalent(wide, wide_params, net, params, dtype=dtype)
    wrong = small_params | {"block1.weight": small_params["block1.weight"] * np.float32(1.001)}
    with pytest.raises(AssertionError, match=r"block1, float64: differs by .* times the allowed"):
        assert_equivalent(wide, wide_params, small, wrong)
    other = sr.sesr(2, 5, 4, linear_blocks=False)
    with pytest.raises(AssertionError, match=r"head, float64: differs"):
        assert_equivalent(small, small_params, other, random_params(other, rng))
    thin = sr.sesr(2, 4, linear_blocks=False)
    with pytest.raises(AssertionError, match=r"head: shapes .*, 5\), .*, 4\)"):
        assert_equivalent(small, small_params, thin, random_params(thin, rng))


def summed_in_turn(net: sr.Network, params: dict[str, Array]) -> dict[str, Array]:
    """Collapsed in float32, one product after another: the order that errs most."""
    small = sr.collapse_params(net, params)
    for name in (layer.name for layer in net.layers if f"{layer.name}.expand" in params):
        products = params[f"{name}.expand"][..., None] * params[f"{name}.project"][0, 0]
        weight = np.cumsum(products, axis=3, dtype=np.float32)[..., -1, :]
        small[f"{name}.weight"] = weight + np.rint(small[f"{name}.weight"] - weight)  # the residual
    return small


def test_a_block_scaled_by_a_hundred_thousandth_is_detected() -> None:
    net = sr.sesr(3, 16)
    params = sr.initialise(net, 3)
    small, right = sr.collapsed(net), summed_in_turn(net, params)
    wrong = right | {"block2.weight": right["block2.weight"] * np.float32(1 + 1e-5)}
    for other in (
        (sr.expanded(net), sr.expand_params(net, params)),
        (net, params),
        (small, sr.collapse_params(net, params)),
    ):
        assert_equivalent(*other, small, right)
        with pytest.raises(AssertionError, match="block2, float64: differs"):
            assert_equivalent(*other, small, wrong)


def test_equivalence_needs_no_common_names(rng: Rng) -> None:
    net = sr.collapsed(NETWORKS["paper"])
    params = random_params(net, rng)
    renamed = sr.Network(
        net.name,
        net.upscale,
        net.channels,
        tuple(
            dataclasses.replace(
                la,
                name=f"my_{la.name}",
                inputs=tuple(i if i == "input" else f"my_{i}" for i in inputs),
            )
            for la, inputs in net.steps()
        ),
    )
    assert_equivalent(net, params, renamed, {f"my_{k}": v for k, v in params.items()})


@pytest.mark.slow
def test_the_collapse_fixture_fails_for_a_wrong_collapse(
    rng: Rng, assert_collapses: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = NETWORKS["paper"]
    params = random_params(net, rng)
    assert_collapses(net, params)
    monkeypatch.setattr(proof_module, "algorithm2", np.zeros_like)
    with pytest.raises(AssertionError, match="checks fail, first block0: Algorithms 1 and 2"):
        assert_collapses(net, params)


@pytest.mark.slow
def test_the_plugin_s_own_tests_run() -> None:
    root = Path(__file__).parents[2]
    some = "initialised or m5-x2"  # the larger ones take seconds each
    command = [sys.executable, "-m", "pytest", "-q", "--pyargs", "sesr_ref.testing", "-k", some]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    assert "passed" in run.stdout


@pytest.mark.slow
def test_the_command_proves_and_sets_its_exit_code(
    rng: Rng, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    net = NETWORKS["paper"]
    monkeypatch.chdir(tmp_path)
    sr.save("m.npz", net, random_params(net, rng))
    assert main(["prove", "m.npz"]) == 0
    assert capsys.readouterr().out.endswith("proved\n")
    assert main(["prove", "m.npz", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["proved"]
    monkeypatch.setattr(proof_module, "algorithm2", np.zeros_like)
    assert main(["prove", "m.npz", "--all"]) == 1
    assert "FAIL" in capsys.readouterr().out
    sr.save("plain.npz", sr.collapsed(net), sr.collapse_params(net, sr.load("m.npz")[1]))
    assert main(["prove", "plain.npz"]) == 2


@pytest.mark.parametrize("seed", ["-1", "1.5", "one"])
def test_an_invalid_seed_is_rejected_with_option_and_value(
    seed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["prove", "m.npz", f"--seed={seed}"])
    message = f"--seed: must be an integer of at least 0, got {seed!r}"
    assert message in capsys.readouterr().err
    net = NETWORKS["paper"]
    with pytest.raises(ValueError, match="seed must be 0 or more, got -1"):
        prove(net, sr.initialise(net), -1)
