"""Every network that is known by name through every tool, each reduced to a small one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import naive
import sesr_ref as sr
from sesr_ref.architectures import NAMES
from sesr_ref.cli import main
from sesr_ref.collapse import composites
from sesr_ref.commands.models import network_named
from sesr_ref.exchange.onnx.write import to_onnx
from sesr_ref.network import Network
from sesr_ref.npu import MODELS
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.receptive import halo
from sesr_ref.verify import compare, error_bounds, prove
from sesr_ref.verify.golden.read import read_pack
from sesr_ref.verify.golden.write import write_pack
from small_networks import CASES, SIZES, SLOW, case, small

Capture = pytest.CaptureFixture[str]


def every(cases: list[tuple[str, int]] = CASES, heavy: bool = False) -> pytest.MarkDecorator:
    """One test for each; `heavy` ones take seconds for those that cannot be reduced."""
    marked = [
        pytest.param(*c, marks=pytest.mark.slow if heavy and c[0] in SLOW else ()) for c in cases
    ]
    names = [p.replace("{upscale}", str(s)) for p, s in cases]
    return pytest.mark.parametrize(("pattern", "upscale"), marked, ids=names)


COLLAPSIBLE = [c for c in CASES if composites(small(*c))]


def collapsed(pattern: str, upscale: int, dtype: str) -> tuple[Network, Any, Any]:
    """What is run: primitives alone."""
    net, params, x = case(pattern, upscale, dtype)
    return sr.collapsed(net), sr.collapse_params(net, params), x


def test_every_name_builds_the_network_of_that_name() -> None:
    assert set(SIZES) <= set(NAMES)
    built = {sr.architecture(name).name for name in sr.architectures()}
    assert built == set(sr.architectures())


@every(heavy=True)
def test_it_computes_what_its_layers_define(pattern: str, upscale: int) -> None:
    net, params, x = collapsed(pattern, upscale, "float64")
    part = x[:1, :4, :3]
    tensors, expected = sr.forward(net, params, part), naive.forward(net, params, part)
    assert tensors[net.output].shape == (1, 4 * upscale, 3 * upscale, net.channels)
    for name, tensor in tensors.items():
        np.testing.assert_allclose(tensor, expected[name], rtol=1e-9, atol=1e-9, err_msg=name)


@every(heavy=True)
def test_its_gradient_is_the_derivative(pattern: str, upscale: int) -> None:
    net, params, x = case(pattern, upscale, "float64")
    rng = np.random.default_rng(2)
    dy: Array = rng.normal(size=(2, 9 * upscale, 7 * upscale, net.channels))
    direction = {k: rng.normal(size=p.shape) for k, p in params.items()}
    direction = {k: d * (not k.endswith((".mean", ".var"))) for k, d in direction.items()}
    step = 1e-9  # so short that hardly a value crosses a kink

    def value(sign: int) -> float:
        moved: Params = {k: p + sign * step * direction[k] for k, p in params.items()}
        return float(np.vdot(dy, sr.run(net, moved, x)))

    small_net, small_params = sr.collapsed(net), sr.collapse_params(net, params)
    tensors = sr.forward(small_net, small_params, x)
    down = sr.backward(small_net, small_params, tensors, dy)
    grads = sr.collapse_params_vjp(net, params, down)
    slope = sum(float(np.vdot(grads[k], direction[k])) for k in params)
    size = sum(float(np.linalg.norm(grads[k]) * np.linalg.norm(direction[k])) for k in params)
    assert slope == pytest.approx((value(1) - value(-1)) / (2 * step), rel=1e-4, abs=1e-6 * size)


@every()
def test_it_trains(pattern: str, upscale: int) -> None:
    net, params, x = case(pattern, upscale)
    target = np.zeros((2, 9 * upscale, 7 * upscale, net.channels), np.float32)
    loss, grads = sr.loss_and_grads(net, params, x, target)
    assert np.isfinite(loss)
    assert list(grads) == list(params)
    assert all(grads[k].shape == p.shape and grads[k].dtype == p.dtype for k, p in params.items())
    assert any(g.any() for g in grads.values())


@every()
def test_its_description_survives_json(pattern: str, upscale: int) -> None:
    net = small(pattern, upscale)
    assert Network.from_json(net.to_json()) == net
    assert Network.from_json(json.dumps(json.loads(net.to_json()), indent=1)) == net


@every()
def test_its_cost_is_that_of_its_convolutions(pattern: str, upscale: int) -> None:
    net = small(pattern, upscale)
    counted, twice = sr.cost(net, 9, 7), sr.cost(net, 18, 7)
    assert counted.parameters == sr.cost(sr.collapsed(net), 9, 7).parameters > 0
    assert 0 < counted.macs == twice.macs / 2
    weights = sr.collapsed(net).param_shapes()
    owned = sum(int(np.prod(s)) for k, s in weights.items() if k.endswith(".weight"))
    assert counted.parameters == owned


@every()
def test_tiles_with_its_halo_make_the_whole(pattern: str, upscale: int) -> None:
    net, params, x = case(pattern, upscale, "float64")
    whole = sr.run(net, params, x)
    np.testing.assert_allclose(sr.run(net, params, x, tile=(4, 3)), whole, rtol=0, atol=1e-10)


@every()
def test_a_pixel_sees_no_further_than_its_halo(pattern: str, upscale: int) -> None:
    net, params, x = collapsed(pattern, upscale, "float64")
    reach = halo(net)
    wide = np.concatenate([x[:1]] * (2 + 2 * reach // 9), axis=1)[:, : reach + 4]
    moved = wide.copy()
    moved[:, reach + 1 :] += 0.5  # further from the first row than it sees
    near, far = (sr.run(net, params, image)[:, :upscale] for image in (wide, moved))
    np.testing.assert_allclose(far, near, rtol=0, atol=1e-12)


@every(heavy=True)
def test_float32_stays_within_its_error_bounds(pattern: str, upscale: int) -> None:
    net, params, x = collapsed(pattern, upscale, "float32")
    bounds = error_bounds(net, params, x[:1], kind="statistical")
    wide = {name: array.astype(np.float64) for name, array in params.items()}
    exact = sr.forward(net, wide, x[:1].astype(np.float64))
    for name, tensor in sr.forward(net, params, x[:1]).items():
        assert (np.abs(tensor - exact[name]) <= bounds[name]).all(), name


@every(heavy=True)
def test_its_own_output_agrees_and_a_wrong_one_does_not(pattern: str, upscale: int) -> None:
    net, params, x = case(pattern, upscale)
    part = x[:1, :5, :4]
    y = sr.run(net, params, part)
    assert compare(net, params, part, y, tile=5).agrees
    wrong = y + np.float32(0.05)
    verdict = compare(net, params, part, wrong, tile=5, name_fault=False)
    assert verdict.first_wrong == sr.collapsed(net).output


@every(heavy=True)
def test_a_golden_pack_holds_every_tensor(pattern: str, upscale: int, tmp_path: Path) -> None:
    net, params, x = case(pattern, upscale)
    part = x[:1, :4, :3]
    write_pack(tmp_path / "pack", net, params, part)
    pack = read_pack(tmp_path / "pack")
    assert pack.net == sr.collapsed(net)
    expected = sr.forward(*collapsed(pattern, upscale, "float32")[:2], part)
    assert set(pack.tensors) == set(expected)
    np.testing.assert_allclose(pack.tensors[pack.net.output], expected[pack.net.output], atol=1e-4)


@every()
def test_it_is_written_as_onnx(pattern: str, upscale: int, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    net, params, _ = case(pattern, upscale)
    to_onnx(tmp_path / "net.onnx", net, params)
    graph = onnx.load(tmp_path / "net.onnx").graph
    assert [value.name for value in graph.output] == [net.output]
    to_onnx(tmp_path / "all.onnx", net, params, every_tensor=True)
    names = {value.name for value in onnx.load(tmp_path / "all.onnx").graph.output}
    assert names == {layer.name for layer in net.layers}


@every()
def test_an_npu_runs_it(pattern: str, upscale: int) -> None:
    net = small(pattern, upscale)
    for model in MODELS:
        result = sr.estimate(net, 24, 32, sr.ETHOS_N78_4TOPS, model=model)
        assert result.dram_bytes > 0
        assert result.latency_ms > 0
        covered = {name for each in result.passes for name in each.layers}
        assert covered <= {layer.name for layer in net.layers}


@every(COLLAPSIBLE)
def test_its_collapse_is_proved(pattern: str, upscale: int) -> None:
    net, params, _ = case(pattern, upscale)
    assert not [check for check in prove(net, params) if not check.passed]


@every(COLLAPSIBLE)
def test_expanded_it_is_the_same_network(pattern: str, upscale: int) -> None:
    net, params, x = case(pattern, upscale, "float64")
    wide = sr.forward(sr.expanded(net), sr.expand_params(net, params), x)
    narrow = sr.forward(*collapsed(pattern, upscale, "float64"))
    for layer in net.layers:
        np.testing.assert_allclose(wide[layer.name], narrow[layer.name], rtol=1e-9, atol=1e-9)


@every()
def test_a_file_of_weights_gives_it_back(pattern: str, upscale: int, tmp_path: Path) -> None:
    net = small(pattern, upscale)
    params = sr.initialise(net, 1)
    sr.save(tmp_path / "net.npz", net, params)
    other, arrays = sr.load(tmp_path / "net.npz")
    assert other == net
    for name, array in params.items():
        np.testing.assert_array_equal(arrays[name], array)


@pytest.mark.parametrize("name", sr.architectures())
def test_commands_describe_and_cost_it_by_name(name: str, capsys: Capture) -> None:
    assert main(["info", name, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    net = network_named(name)  # a shipped file comes with its own options
    assert facts["name"] == name
    assert facts["parameters"] == sum(row["parameters"] for row in facts["layers"])
    assert Network.from_json(json.dumps(facts["description"])) == net
    assert main(["cost", name, "--height", "90", "--width", "160"]) == 0
    counted = sr.cost(net, 90, 160)
    assert f"{counted.parameters} weights" in capsys.readouterr().out
