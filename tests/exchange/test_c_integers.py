"""Integer networks as C: every arithmetic, bit for bit that of `forward_int`, by a compiler."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import generate
import sesr_ref as sr
from c_compiler import Port, compile_c, ported, sanitizers
from networks_for_verification import every_kind, random_params
from sesr_ref import network as nw
from sesr_ref.exchange.c.fixed_point import APPLIED
from sesr_ref.exchange.c.shifts import HALVED as HALVED_IN_C
from sesr_ref.exchange.c.shifts import SHIFTED
from sesr_ref.exchange.c.term import FLOOR_SHIFT
from sesr_ref.exchange.c.text import block
from sesr_ref.exchange.c.write import drafted
from sesr_ref.integers import ARITHMETICS, Grid, Quantization, calibrate, forward_int, quantize
from sesr_ref.integers.rounding import HALVED
from small_networks import CASES, SLOW, case

Codes = np.ndarray[Any, np.dtype[Any]]
SHIFTS = [name for name in ARITHMETICS if name.startswith("shift")]
SIZES = ((9, 7), (1, 1), (2, 13))


def codes_of(net: nw.Network, grid: Grid, rng: np.random.Generator) -> list[Codes]:
    """Random codes of several sizes, the ends of the grid, and both in turn."""
    shapes = [(1, *size, net.channels) for size in SIZES]
    drawn = [rng.integers(grid.low, grid.high + 1, shape) for shape in shapes]
    ends = [np.full(shapes[0], end) for end in (grid.low, grid.high)]
    turns = np.where(np.indices(shapes[0]).sum(0) % 2, *ends)
    return [codes.astype(grid.dtype()) for codes in (*drawn, *ends, turns)]


def equal(port: Port, net: nw.Network, iparams: Any, q: Quantization, arithmetic: str) -> None:
    """Every tensor of several images is the reference's, bit for bit."""
    for codes in codes_of(net, q.tensors["input"], np.random.default_rng(5)):
        expected = forward_int(net, iparams, q, codes, arithmetic)
        for name, tensor in port.tensors(codes).items():
            assert tensor.dtype == expected[name].dtype
            np.testing.assert_array_equal(tensor, expected[name], err_msg=name)


def check(
    folder: Path, net: nw.Network, params: Any, q: Quantization, arithmetic: str, *options: str
) -> Port:
    iparams = quantize(net, params, q)
    port = ported(folder, drafted(net, iparams, q, arithmetic, max_width=16), *options)
    equal(port, sr.collapsed(net), iparams, q, arithmetic)
    return port


def small(rng: np.random.Generator) -> tuple[nw.Network, Any, list[Any]]:
    """A SESR with slopes of both signs, and images."""
    net = sr.sesr(2, 4, expand=8, block_bias="true")
    params = sr.initialise(net, 1)
    for name, value in params.items():
        if name.endswith(("slope", "bias")):
            params[name] = rng.uniform(-0.2, 0.5, value.shape).astype(np.float32)
    return net, params, images(rng, 1)


def images(rng: np.random.Generator, channels: int) -> list[Any]:
    return [rng.random((1, 9 + i, 11, channels), np.float32) for i in range(3)]


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_every_arithmetic_is_that_of_the_reference(
    arithmetic: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    net, params, seen = small(rng)
    q = calibrate(net, params, seen, power_of_two=arithmetic in SHIFTS)
    check(tmp_path, net, params, q, arithmetic)


def test_every_kind_of_layer_is_that_of_the_reference(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    net = every_kind()
    params = random_params(net, rng)
    q = calibrate(net, params, images(rng, 2), io="observed")
    check(tmp_path, net, params, q, "tflite", "-g", *sanitizers())


@pytest.mark.slow
@pytest.mark.parametrize("arithmetic", [name for name in ARITHMETICS if name not in SHIFTS])
@pytest.mark.parametrize("bits", [8, 16])
def test_every_kind_of_layer_in_every_arithmetic(
    arithmetic: str, bits: int, tmp_path: Path, rng: np.random.Generator
) -> None:
    net = every_kind()
    params = random_params(net, rng)
    q = calibrate(net, params, images(rng, 2), io="observed", bits=bits, method="minmax")
    check(tmp_path, net, params, q, arithmetic)


FUSED = [("activations",), ("additions",), ("activations", "additions")]


@pytest.mark.parametrize(
    ("arithmetic", "bits", "fused"),
    [
        ("tflite", 8, FUSED[2]),
        ("litert", 8, FUSED[0]),
        ("tflite", 16, ()),
        ("shift-half-even", 16, FUSED[2]),
        *(
            pytest.param(name, bits, fused, marks=pytest.mark.slow)
            for name in ARITHMETICS
            for bits in (8, 16)
            for fused in ((), *FUSED)
        ),
    ],
)
def test_wide_tensors_and_sums_that_are_read_before_they_are_rounded(
    arithmetic: str, bits: int, fused: tuple[str, ...], tmp_path: Path, rng: np.random.Generator
) -> None:
    net, params, seen = small(rng)
    q = calibrate(net, params, seen, bits=bits, power_of_two=arithmetic in SHIFTS, fused=fused)
    iparams, codes = quantize(net, params, q), codes_of(net, q.tensors["input"], rng)[0]
    try:
        forward_int(net, iparams, q, codes, arithmetic)
    except ValueError:  # the reference does not have it either
        with pytest.raises(ValueError, match=r"."):
            drafted(net, iparams, q, arithmetic)
        return
    check(tmp_path, net, params, q, arithmetic, *sanitizers())


def test_a_shuffle_of_sums_is_rescaled_by_channel(tmp_path: Path, rng: np.random.Generator) -> None:
    net = nw.Network(
        "n",
        2,
        1,
        (
            nw.Conv("a", 8, 3),
            nw.Conv("b", 8, 1),
            nw.Slice("c", 2, 6),
            nw.Concat("d", inputs=("c", "b")),
            nw.Slice("e", 1, 5),
            nw.DepthToSpace("f", 2, "CRD"),
        ),
    )
    params = random_params(net, rng)
    q = calibrate(net, params, images(rng, 1))
    for name, source in (("a", "input"), ("b", "a")):
        scales = q.tensors[source].scales * q.params[f"{name}.weight"].scales
        q = q.with_tensors(**{name: Grid(tuple(scales.tolist()), 0, 32, 3)})
    q = q.with_tensors(a=calibrate(net, params, images(rng, 1)).tensors["a"])
    check(tmp_path, net, params, q, "tflite", *sanitizers())


def test_real_layers_round_ties_as_the_reference_does(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    net = nw.Network(
        "n",
        2,
        1,
        (
            nw.Resize("up", 2, "bilinear"),
            nw.Scale("half", 0.5),
            nw.Shift("by", 0.375),
            nw.Add("sum", inputs=("up", "half", "by")),
            nw.Multiply("product", inputs=("sum", "half")),
            nw.Stencil("blur", ((0.5, 0.25, 0.25),)),
            nw.FakeQuantize("fake", 3),
        ),
    )
    grid = Grid(0.25, 0)
    q = Quantization(
        dict.fromkeys(("input", *(layer.name for layer in net.layers)), grid),
        {"fake.log_scale": Grid(2.0**-10, 0, 16)},
    )
    params = {"fake.log_scale": np.array([-0.7], np.float32)}
    check(tmp_path, net, params, q, "tflite")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pattern", "upscale"),
    [c for c in CASES if c[0] not in SLOW],
    ids=[p.replace("{upscale}", str(u)) for p, u in CASES if p not in SLOW],
)
def test_every_network_is_that_of_the_reference(
    pattern: str, upscale: int, tmp_path: Path, rng: np.random.Generator
) -> None:
    net, params, _ = case(pattern, upscale)
    q = calibrate(net, params, images(rng, net.channels), method="minmax")
    check(tmp_path, net, params, q, "tflite")


@pytest.mark.slow
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    generate.networks(6),
    generate.seeds(),
    st.sampled_from(sorted(ARITHMETICS)),
    st.sampled_from([8, 16]),
)
def test_random_networks_are_those_of_the_reference(
    tmp_path: Path, net: nw.Network, seed: int, arithmetic: str, bits: int
) -> None:
    rng = np.random.default_rng(seed)
    params = generate.parameters(net, seed, np.float32)
    q = calibrate(
        net,
        params,
        images(rng, net.channels),
        method="minmax",
        bits=bits,
        power_of_two=arithmetic in SHIFTS,
    )
    check(tmp_path, net, params, q, arithmetic, *sanitizers())


def test_sums_of_more_than_32_bits_have_64(tmp_path: Path, rng: np.random.Generator) -> None:
    net = nw.Network("n", 1, 1, (nw.Conv("wide", 9, 3), nw.Conv("back", 1, 17)))
    params = random_params(net, rng)
    q = calibrate(net, params, images(rng, 1), bits=16)
    port = check(tmp_path, net, params, q, "tflite", *sanitizers())
    text = (tmp_path / "net.c").read_text()
    assert "int64_t sums64[" in text
    assert re.search(r"sums of 3[34] bits", port.draft.sheet.notes["back"])


TABLE = """
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

FUNCTIONS

int main(void)
{
    int64_t in[3];
    while (fread(in, sizeof in, 1, stdin) == 1) {
        const int64_t made[] = {CALLS};
        fwrite(made, sizeof made, 1, stdout);
    }
    return 0;
}
"""


def test_every_rounding_is_the_references_at_ties_and_ends(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    functions, calls = [FLOOR_SHIFT], []
    for applied in APPLIED.values():
        functions.append(applied.body)
        calls.append(f"@_{applied.name}(in[0], (int32_t)in[1], (int)in[2])")
    for mode, body in HALVED_IN_C.items():
        name = f"@_{mode.replace('-', '_')}"
        functions.append(SHIFTED.replace("BODY", block(body)).replace("@_shifted", name))
    calls += [f"@_{mode.replace('-', '_')}(in[0], (int)(8 - in[2]))" for mode in HALVED_IN_C]
    source = TABLE.replace("FUNCTIONS", "\n".join(functions)).replace("CALLS", ", ".join(calls))
    (tmp_path / "table.c").write_text(source.replace("@_", "a_"))
    compile_c(tmp_path / "table.c", tmp_path / "table", *sanitizers())
    x = np.concatenate([rng.integers(-(1 << 20), 1 << 20, 4000), np.arange(-2000, 2000)])
    multiplier = rng.integers(1 << 15, 1 << 16, 8000) << 15
    multiplier[::3] = 1 << 30  # a power of two makes ties
    shift = rng.integers(-12, 9, 8000)
    triples = np.stack([x, multiplier, shift], axis=1)
    triples[::5, 1] = (1 << 31) - 1
    run = subprocess.run(
        [tmp_path / "table"], input=triples.tobytes(), capture_output=True, check=True
    )
    made = np.frombuffer(run.stdout, np.int64).reshape(8000, -1).T
    x, multiplier, shift = triples.T
    for got, apply in zip(made, APPLIED, strict=False):
        np.testing.assert_array_equal(got, apply(x, multiplier, shift), err_msg=apply.__name__)
    right = 8 - shift
    for got, mode in zip(made[len(APPLIED) :], HALVED, strict=True):
        wanted = HALVED[mode](x << np.maximum(-right, 0), np.maximum(right, 0))
        np.testing.assert_array_equal(got, wanted, err_msg=mode)


def test_what_is_not_defined_exactly_is_rejected_by_name(rng: np.random.Generator) -> None:
    net, params, seen = small(rng)
    q = calibrate(net, params, seen)
    iparams = quantize(net, params, q)
    with pytest.raises(ValueError, match="a power of two"):
        drafted(net, iparams, q, "shift-floor")
    with pytest.raises(ValueError, match="arithmetic must be one of"):
        drafted(net, iparams, q, "gpu")
    with pytest.raises(ValueError, match=r"head\.weight"):
        drafted(net, {k: v for k, v in iparams.items() if k != "head.weight"}, q)
    third = nw.Network("n", 3, 1, (nw.Resize("up", 3),))
    grids = calibrate(third, {}, seen)
    with pytest.raises(ValueError, match="up: upscale in integers must be a power of two, got 3"):
        drafted(third, {}, grids)
    soft = nw.Network("n", 1, 1, (nw.Conv("a", 1, 1), nw.Sigmoid("b")))
    own = random_params(soft, rng)
    grids = calibrate(soft, own, seen).with_tensors(a=Grid(1e-4, 0, 32))
    with pytest.raises(ValueError, match="b: grid of a Sigmoid in C must be of one scale and at"):
        drafted(soft, quantize(soft, own, grids), grids)
