"""Ports in integers with planted faults: each is caught, in the right layer, and named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import sesr_ref as sr
from sesr_ref import network as nw
from sesr_ref.integers import ARITHMETICS, forward_int
from sesr_ref.integers.rules import codes_of, requantized, site_of, sums
from sesr_ref.verify.integers import PortVerdict, judge_port
from sesr_ref.verify.integers.faults import FAULTS, codes_with

Codes = dict[str, Any]


@pytest.fixture(scope="module")
def case() -> Any:
    """A network with slopes and biases on narrow grids, and an image that shows every fault.

    Grids of grey images make dark and bright parts saturate; eight channels fill accumulators.
    """
    rng = np.random.default_rng(3)
    net = sr.sesr(2, 8, expand=16, dialect="arm", block_bias="true")
    params = sr.initialise(net, 1)
    for name in params:
        if name.endswith("slope"):
            params[name] = rng.uniform(-0.2, 0.5, params[name].shape).astype(np.float32)
        if name.endswith("bias"):
            params[name] = rng.normal(0, 0.05, params[name].shape).astype(np.float32)
    images = [rng.uniform(0.2, 0.8, (1, 19 + i, 21, 1)).astype(np.float32) for i in range(3)]
    q = sr.calibrate(net, params, images, io="observed")
    codes = rng.integers(-128, 128, (2, 23, 27, 1)).astype(np.int8)
    codes[0, :9, :9], codes[0, -9:, :9] = -128, 127
    return net, sr.quantize(net, params, q), q, codes


def port(case: Any, arithmetic: str, where: str, wrong: Callable[[Any, Any], Any]) -> Codes:
    """Tensors of a port that is right but for one layer."""
    net, iparams, q, codes = case
    small, wide = sr.collapsed(net), {k: v.astype(np.int64) for k, v in iparams.items()}
    tensors: Codes = {"input": codes.astype(np.int64)}
    for layer, inputs in small.steps():
        read = [tensors[name] for name in inputs]
        site = site_of(layer, inputs, read, wide, q, ARITHMETICS[arithmetic])
        made = wrong(layer, site) if layer.name == where else codes_of(layer, site)
        tensors[layer.name] = np.clip(made, -128, 127)
    return tensors


def judged(case: Any, tensors: Codes) -> PortVerdict:
    net, iparams, q, _ = case
    return judge_port(net, iparams, q, tensors)


@pytest.mark.parametrize("arithmetic", [n for n in ARITHMETICS if "shift" not in n])
def test_a_port_is_equal_in_its_own_arithmetic(case: Any, arithmetic: str) -> None:
    net, iparams, q, codes = case
    found = judge_port(net, iparams, q, forward_int(net, iparams, q, codes, arithmetic))
    assert found.agrees
    assert arithmetic in found.arithmetics
    assert str(found).startswith("equal: ")
    assert arithmetic in str(found)
    assert not found.unseen
    assert found.first_wrong is None


def with_params(layer: Any, site: Any, **changes: Any) -> Any:
    return codes_of(layer, site._replace(params=site.params | changes))


def with_target(layer: Any, site: Any, factor: float) -> Any:
    target = replace(site.target, scale=float(site.target.scales) * factor)
    return np.clip(codes_of(layer, site._replace(target=target)), -128, 127)


def low_byte(x: Any, bits: int = 8) -> Any:
    """Two's complement of so many bits, digit by digit."""
    mask = (1 << bits) - 1
    return np.array(
        [
            (v & mask) - (1 << bits) if v & (1 << (bits - 1)) else v & mask
            for v in x.ravel().tolist()
        ]
    ).reshape(x.shape)


def bordered(layer: Any, site: Any, mode: Any, **more: Any) -> Any:
    wide = np.pad(site.x[0], ((0, 0), (2, 2), (2, 2), (0, 0)), mode, **more)
    return codes_of(layer, site._replace(x=[wide]))[:, 2:-2, 2:-2]


def rescaled(layer: Any, site: Any, change: Callable[[Any], Any]) -> Any:
    grid = site.param_grids["weight"]
    own = replace(grid, scale=tuple(float(s) for s in change(np.array(grid.scale))))
    return codes_of(layer, site._replace(param_grids=site.param_grids | {"weight": own}))


def unclipped(layer: Any, site: Any) -> Any:
    return requantized(sums(layer, site), site)


def other_than(site: Any) -> Any:
    """An arithmetic that is not the port's."""
    return ARITHMETICS[{"tflite": "litert", "litert": "tflite"}[site.arithmetic.name]]


PLANTED: list[tuple[str, Callable[[Any, Any], Any], str]] = [
    ("head", lambda la, s: with_params(la, s, bias=s.params["bias"] * 0), "leaves out the bias"),
    ("block1", lambda la, s: with_params(la, s, bias=s.params["bias"] * 2), "the bias twice"),
    ("tail", lambda la, s: with_params(la, s, bias=np.roll(s.params["bias"], -1)), "next channel"),
    ("block0", lambda la, s: with_params(la, s, bias=np.roll(s.params["bias"], 1)), "previous ch"),
    ("block0", lambda la, s: with_target(la, s, 2.0), "one bit too many"),
    ("tail", lambda la, s: with_target(la, s, 0.5), "one bit too few"),
    ("act0", lambda la, s: with_target(la, s, 2.0), "one bit too many"),
    ("features", lambda la, s: with_target(la, s, 0.5), "one bit too few"),
    ("tail", lambda la, s: low_byte(unclipped(la, s) * 1), "the result wraps"),
    ("head", lambda la, s: np.maximum(codes_of(la, s), -127), "second smallest integer"),
    ("block0", lambda la, s: unclipped(la, s) - s.target.zero_point, "output's zero point"),
    (
        "block1",
        lambda la, s: codes_of(la, s._replace(grids=[replace(s.grids[0], zero_point=0)])),
        "input's zero point",
    ),
    ("head", lambda la, s: bordered(la, s, "constant", constant_values=0), "the code 0"),
    ("block0", lambda la, s: bordered(la, s, "edge"), "repeats the border"),
    ("block1", lambda la, s: bordered(la, s, "reflect"), "mirrors the image"),
    ("tail", lambda la, s: requantized(low_byte(sums(la, s), 16), s), "16-bit accumulator that wr"),
    (
        "head",
        lambda la, s: requantized(np.clip(sums(la, s), -32768, 32767), s),
        "16-bit accumulator that sat",
    ),
    ("block0", lambda la, s: rescaled(la, s, lambda v: 0 * v + v[0]), "first channel's mult"),
    ("tail", lambda la, s: rescaled(la, s, lambda v: np.roll(v, -1)), "next channel's mult"),
    ("block1", lambda la, s: rescaled(la, s, lambda v: np.roll(v, 1)), "previous channel's mult"),
    (
        "block1",
        lambda la, s: rescaled(la, s, lambda v: v * (1 + 0.1 * (np.arange(len(v)) == 2))),
        "only channel 2",
    ),
    ("act0", lambda la, s: with_params(la, s, slope=0 * s.params["slope"]), "is a ReLU"),
    ("act1", lambda la, s: with_params(la, s, slope=np.roll(s.params["slope"], -1)), "next ch"),
    ("act1", lambda la, s: with_params(la, s, slope=np.roll(s.params["slope"], 1)), "previous ch"),
    ("act0", lambda la, s: with_params(la, s, slope=-s.params["slope"]), "the other sign"),
    (
        "act0",
        lambda la, s: with_params(la, s, slope=0 * s.params["slope"] + s.params["slope"][0]),
        "first channel's slope",
    ),
    ("features", lambda la, s: codes_of(la, s._replace(grids=[s.grids[0]] * 2)), "first one's sc"),
    ("features", lambda la, s: codes_of(la, s._replace(grids=[s.grids[1]] * 2)), "second one's"),
    (
        "features",
        lambda la, s: codes_of(la, s._replace(x=[s.x[0], 0 * s.x[1] + s.grids[1].zero_point])),
        "leaves out the second operand",
    ),
    ("block0", lambda la, s: codes_of(la, s._replace(arithmetic=other_than(s))), "exact in"),
    ("tail", lambda la, s: codes_of(la, s._replace(arithmetic=other_than(s))), "exact in"),
    (
        "block1",
        lambda la, s: (
            np.floor(
                sums(la, s)
                * (
                    s.grids[0].scales.astype(float)
                    * s.param_grids["weight"].scales
                    / float(s.target.scales)
                )
            ).astype(np.int64)
            + s.target.zero_point
        ),
        "down",
    ),
]


@pytest.mark.parametrize("number", range(len(PLANTED)))
@pytest.mark.parametrize("arithmetic", ["tflite", "litert"])
def test_a_planted_fault_is_found_and_named(case: Any, number: int, arithmetic: str) -> None:
    where, wrong, named = PLANTED[number]
    tensors = port(case, arithmetic, where, wrong)
    right = port(case, arithmetic, "", wrong)[where]
    assert (tensors[where] != right).any(), "the image does not show the fault"
    found = judged(case, tensors)
    assert found.first_wrong is not None
    assert found.first_wrong.name == where
    assert named in found.first_wrong.cause
    assert str(found).startswith(f"{where} is the first layer that differs from ")


def test_the_order_of_sub_pixels_is_named_where_there_are_two(rng: np.random.Generator) -> None:
    net = sr.sesr(1, 3, expand=8, upscale=4)  # with one channel behind it a shuffle has one order
    params = sr.initialise(net, 1)
    q = sr.calibrate(net, params, [rng.random((1, 9, 11, 1), np.float32)])
    codes = rng.integers(-128, 128, (1, 6, 7, 1)).astype(np.int8)
    case = net, sr.quantize(net, params, q), q, codes
    wrong = port(case, "tflite", "shuffle0", lambda la, s: codes_of(replace(la, mode="CRD"), s))
    found = judged(case, wrong).first_wrong
    assert found is not None
    assert (found.name, found.cause) == ("shuffle0", "it has the other order of sub-pixels")


def test_what_is_not_shown_is_not_judged(case: Any) -> None:
    net, iparams, q, codes = case
    tensors = forward_int(net, iparams, q, codes)
    some = {name: tensors[name] for name in ("input", "shift", "head", "block1", "act1")}
    found = judge_port(net, iparams, q, some)
    assert [layer.name for layer in found.layers] == ["shift", "head", "act1"]
    assert "block0" in found.unseen
    assert "features" in found.unseen


def test_accumulators_need_not_be_shown() -> None:
    rng = np.random.default_rng(4)
    net = sr.sesr(1, 3, expand=8)
    params = sr.initialise(net, 1)
    fused = ("activations", "additions")
    q = sr.calibrate(net, params, [rng.random((1, 9, 11, 1), np.float32)], fused=fused)
    iparams = sr.quantize(net, params, q)
    tensors = forward_int(net, iparams, q, rng.integers(-128, 128, (2, 6, 7, 1)).astype(np.int8))
    codes = {name: codes for name, codes in tensors.items() if q.tensors[name].bits == 8}
    found = judge_port(net, iparams, q, codes)
    assert found.agrees
    assert not found.unseen
    assert [la.name for la in found.layers] == ["head", "act0", "features", "subpixels", "shuffle0"]


def test_what_does_not_fit_is_rejected(case: Any) -> None:
    net, iparams, q, codes = case
    tensors = forward_int(net, iparams, q, codes)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"head": tensors["head"]}, "given with 'input' among them"),
        ({**tensors, "neck": codes}, "has no tensor 'neck'"),
        ({**tensors, "head": tensors["head"].astype(np.float32)}, "head must be integers"),
        ({**tensors, "head": tensors["head"][:, 1:]}, "head: the shape must be"),
        ({**tensors, "head": tensors["head"].astype(np.int16) + 300}, "head must be within -128"),
        ({"input": codes}, "a layer's output and its inputs"),
    ]
    for given, message in cases:
        with pytest.raises(ValueError, match=message):
            judge_port(net, iparams, q, given)


def test_the_report_is_json(case: Any) -> None:
    import json

    found = judged(case, port(case, "tflite", *PLANTED[0][:2]))
    data = json.loads(json.dumps(found.to_dict()))
    assert data["agrees"] is False
    assert data["layers"][0]["name"] == "shift"
    assert "leaves out the bias" in data["verdict"]


def test_every_kind_of_layer_has_its_faults() -> None:
    for kind in nw.PRIMITIVES:
        assert len(FAULTS[kind]) >= 9
    assert sum(len(set(FAULTS[kind])) for kind in (nw.Conv, nw.PReLU, nw.Add)) >= 40


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (9, 7)])
@pytest.mark.parametrize("fused", [(), ("activations", "additions")])
def test_every_fault_that_applies_can_be_computed(
    size: tuple[int, int], fused: tuple[str, ...], rng: np.random.Generator
) -> None:
    net = sr.sesr(1, 3, expand=8)
    params = sr.initialise(net, 1)
    q = sr.calibrate(net, params, [rng.random((1, 9, 11, 1), np.float32)], fused=fused)
    wide = {k: v.astype(np.int64) for k, v in sr.quantize(net, params, q).items()}
    codes = rng.integers(-128, 128, (1, *size, 1)).astype(np.int8)
    tensors: Codes = forward_int(net, sr.quantize(net, params, q), q, codes)
    for layer, inputs in sr.collapsed(net).steps():
        read = [tensors[name].astype(np.int64) for name in inputs]
        site = site_of(layer, inputs, read, wide, q, ARITHMETICS["tflite"])
        tried = [
            fault
            for fault, made in codes_with(layer, site)
            if made.shape == tensors[layer.name].shape
        ]
        assert tried == [fault for fault in FAULTS[type(layer)] if fault.applies(layer, site)]
