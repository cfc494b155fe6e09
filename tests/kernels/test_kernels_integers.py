"""Integers on the kernels: the bits of NumPy's, in every arithmetic, whatever is cut how."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import plain_integers as plain
import sesr_ref as sr
from checks import need_kernels, python
from networks_for_kernels import many_jobs
from networks_of_integers import COLOUR, NETWORKS, TWO_SCALES, codes, random_integers
from sesr_ref import network as nw
from sesr_ref.integers import ARITHMETICS, Grid, Quantization, forward_int, run_int

need_kernels()

Rng = np.random.Generator
SIZES = [(2, 7, 11), (1, 1, 1), (1, 2, 53)]


def shifts(arithmetic: str) -> bool:
    return arithmetic.startswith("shift")


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize("net", NETWORKS, ids=lambda net: net.name)
def test_every_tensor_has_the_bits_of_numpys(net: nw.Network, arithmetic: str, rng: Rng) -> None:
    ops = sr.fast()
    for size in SIZES:
        iparams, q = random_integers(net, rng, shifts(arithmetic))
        x = codes(net, rng, *size)
        want = forward_int(net, iparams, q, x, arithmetic)
        got = forward_int(net, iparams, q, x, arithmetic, ops)
        assert got.keys() == want.keys()
        for name, tensor in want.items():
            assert got[name].dtype == tensor.dtype
            np.testing.assert_array_equal(got[name], tensor, err_msg=name)
        made = run_int(net, iparams, q, x, arithmetic, ops)  # with everything fused that may be
        np.testing.assert_array_equal(made, want[net.output])


@given(seed=st.integers(0, 2**32 - 1), arithmetic=st.sampled_from(list(ARITHMETICS)))
def test_any_grids_give_the_bits_of_numpys(seed: int, arithmetic: str) -> None:
    rng = np.random.default_rng(seed)
    net = NETWORKS[seed % len(NETWORKS)]
    iparams, q = random_integers(net, rng, shifts(arithmetic))
    x = codes(net, rng, 1, 5, 6)
    want = run_int(net, iparams, q, x, arithmetic)
    np.testing.assert_array_equal(run_int(net, iparams, q, x, arithmetic, sr.fast()), want)


@pytest.mark.parametrize("net", [NETWORKS[0], COLOUR, TWO_SCALES], ids=lambda net: net.name)
def test_threads_tiles_bands_and_strips_change_no_bit(
    net: nw.Network, rng: Rng, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sesr_kernels.integers import run as integers
    from sesr_ref.integers.operations import kept_operations

    iparams, q = random_integers(net, rng)
    x = codes(net, rng, 2, 47, 83)
    want = run_int(net, iparams, q, x)
    for tile in (9, (16, 83), (47, 22)):
        tiled = run_int(net, iparams, q, x, ops=sr.fast(threads=1), tile=tile)
        np.testing.assert_array_equal(tiled, want)
    network = kept_operations(net, iparams, q, ARITHMETICS["tflite"])
    plan = integers._plan(network, (net.output,))
    assert not isinstance(plan, str)
    monkeypatch.setattr(plan, "jobs", many_jobs(plan))
    for threads in (1, 2, 5):
        cut = run_int(net, iparams, q, x, ops=sr.fast(threads=threads))
        np.testing.assert_array_equal(cut, want)


@pytest.mark.parametrize("width", [*range(1, 71, 3), 70, 150])
def test_every_width_has_its_right_edge(width: int, rng: Rng) -> None:
    net = NETWORKS[0]
    iparams, q = random_integers(net, rng)
    x = codes(net, rng, 1, 1 + width % 5, width)
    want = run_int(net, iparams, q, x, "litert")
    np.testing.assert_array_equal(run_int(net, iparams, q, x, "litert", sr.fast()), want)


def scaled(sums: list[int], factors: list[float], arithmetic: str, zero: int = 0) -> list[int]:
    """What a convolution makes of sums: biases behind weights of 0, one channel each."""
    count = len(sums)
    net = nw.Network("sums", 1, 1, (nw.Conv("a", count, 1, bias=True), nw.Slice("b", 0, 1)))
    scales = tuple(float(np.float32(f)) for f in factors)
    q = Quantization(
        {"input": Grid(1.0), "a": Grid(1.0, zero), "b": Grid(1.0, zero)},
        {"a.weight": Grid(scales, 0, 8, 3), "a.bias": Grid(scales, 0, 32, 0)},
    )
    iparams: dict[str, Any] = {
        "a.weight": np.zeros((1, 1, 1, count), np.int8),
        "a.bias": np.array(sums, np.int32),
    }
    x = np.zeros((1, 1, 1, 1), np.int8)
    made = forward_int(net, iparams, q, x, arithmetic, sr.fast())["a"]
    return [int(v) for v in made[0, 0, 0]]


def saturated(value: int, zero: int = 0) -> int:
    return min(max(value + zero, -128), 127)


PAIRS = st.lists(
    st.tuples(st.integers(-(1 << 24), 1 << 24), st.floats(2.0**-20, 0.99)), min_size=9, max_size=9
)
DEFINITIONS: dict[str, Callable[[int, int, int], int]] = {
    "tflite": plain.twice_rounded,
    "tflite-single": plain.once_rounded,
}


@pytest.mark.parametrize("arithmetic", DEFINITIONS)
@given(pairs=PAIRS, near=st.booleans(), zero=st.sampled_from([-128, 0, 127]))
def test_sums_are_scaled_as_defined_in_plain_integers(
    arithmetic: str, pairs: list[tuple[int, float]], near: bool, zero: int
) -> None:
    factors = [float(np.float32(f)) for _, f in pairs]
    # sums whose results do not saturate, about the places where rounding changes
    sums = [
        int((s % 400 - 200) / 2 / f) if near else s
        for (s, _), f in zip(pairs, factors, strict=True)
    ]
    want = [
        saturated(DEFINITIONS[arithmetic](s, *plain.quantize_multiplier(f)), zero)
        for s, f in zip(sums, factors, strict=True)
    ]
    assert scaled(sums, factors, arithmetic, zero) == want


@pytest.mark.parametrize("power", [1, 2, 5, 11])
def test_ties_of_every_arithmetic_round_as_numpy_rounds_them(power: int) -> None:
    ties = [(2 * k + 1) << power - 1 for k in range(-20, 20)]
    sums = [t + d for t in ties for d in (-1, 0, 1)]
    factors = [2.0**-power] * len(sums)
    exact: dict[str, Callable[[int], int]] = {
        "tflite": lambda t: plain.twice_rounded(t, 1 << 30, 1 - power),
        "shift-floor": lambda t: plain.shifted(t, power, "floor"),
        "shift-half-up": lambda t: plain.shifted(t, power, "half-up"),
        "shift-half-even": lambda t: plain.shifted(t, power, "half-even"),
        "shift-toward-zero": lambda t: plain.shifted(t, power, "toward-zero"),
        "float": lambda t: round(Fraction(t, 1 << power)),
        "tflite-single": lambda t: plain.shifted(t, power, "half-up"),
    }
    for arithmetic, rounded in exact.items():
        assert scaled(sums, factors, arithmetic) == [rounded(s) for s in sums], arithmetic


def test_a_shift_by_nothing_keeps_sums() -> None:
    sums = [*range(-130, 131, 3)]
    for arithmetic in ARITHMETICS:
        want = [saturated(s) for s in sums]
        assert scaled(sums, [1.0] * len(sums), arithmetic) == want, arithmetic


def test_sums_and_weights_at_the_ends_of_their_ranges_are_exact(rng: Rng) -> None:
    net = nw.Network("ends", 1, 4, (nw.Conv("a", 8, 3, bias=True), nw.Conv("b", 4, 1)))
    _, q = random_integers(net, rng)
    for weight, zero, code in [(-127, 127, -128), (127, -128, 127), (-127, -128, 127)]:
        grids = q.with_tensors(input=Grid(1 / 255, zero))
        iparams: dict[str, Any] = {
            "a.weight": np.full((3, 3, 4, 8), weight, np.int8),
            "a.bias": rng.integers(-(1 << 30), 1 << 30, 8).astype(np.int32),
            "b.weight": rng.integers(-127, 128, (1, 1, 8, 4)).astype(np.int8),
        }
        x = np.full((1, 4, 5, 4), code, np.int8)
        want = forward_int(net, iparams, grids, x, "litert")
        got = forward_int(net, iparams, grids, x, "litert", sr.fast())
        for name in want:
            np.testing.assert_array_equal(got[name], want[name])


def _without_kernels(rng: Rng) -> list[tuple[str, nw.Network, Any, Quantization, str]]:
    """Networks that NumPy runs, and what the warning says."""
    simple = nw.Network("simple", 1, 1, (nw.Conv("a", 4, 3, bias=True), nw.Conv("b", 1, 3)))
    resized = nw.Network("resized", 2, 1, (nw.Resize("up", 2),))
    iparams, q = random_integers(simple, rng)
    wide = q.with_tensors(a=Grid(1e-4, 0, 16))
    large = iparams | {"a.bias": np.full(4, (1 << 31) - 1, np.int32)}
    offset = q.params["a.weight"]
    shifted = Quantization(dict(q.tensors), {**q.params, "a.weight": Grid(offset.scale, 100, 8, 3)})
    return [
        ("a has 16 bits", simple, iparams, wide, "tflite"),
        ("sums up to", simple, large, q, "tflite"),
        ("weights of", simple, iparams, shifted, "tflite"),
        ("up is a Resize", resized, *random_integers(resized, rng), "tflite"),
    ]


def test_numpy_runs_what_the_kernels_do_not_and_says_why(rng: Rng) -> None:
    for reason, net, iparams, q, arithmetic in _without_kernels(rng):
        x = codes(net, rng, 1, 5, 6)
        want = forward_int(net, iparams, q, x, arithmetic)
        with pytest.warns(RuntimeWarning, match=f"{net.name}: NumPy runs .*{reason}"):
            got = forward_int(net, iparams, q, x, arithmetic, sr.fast())
        for name in want:
            np.testing.assert_array_equal(got[name], want[name])
        with pytest.warns(RuntimeWarning, match=reason):
            made = run_int(net, iparams, q, x, arithmetic, sr.fast())
        np.testing.assert_array_equal(made, want[net.output])


def test_codes_of_any_layout_and_width_give_the_same_bits(rng: Rng) -> None:
    net = NETWORKS[0]
    iparams, q = random_integers(net, rng)
    big = rng.integers(-128, 128, (3, 40, 50, 2)).astype(np.int8)
    ops = sr.fast()
    for view in (
        big[1:, 3:20, 5:40, 1:],
        big[::-1, ::2, ::-3, :1],
        big.transpose(0, 2, 1, 3)[..., 1:],
        big[..., :1].astype(np.int32),
    ):
        want = run_int(net, iparams, q, np.ascontiguousarray(view))
        np.testing.assert_array_equal(run_int(net, iparams, q, view, ops=ops), want)


def test_what_a_call_keeps_changes_nothing_in_the_next(rng: Rng) -> None:
    net, ops = NETWORKS[0], sr.fast(threads=2)
    iparams, q = random_integers(net, rng)
    for size in [(1, 120, 70), (1, 30, 70), (2, 120, 41), (1, 120, 70)]:
        x = codes(net, rng, *size)
        want = run_int(net, iparams, q, x)
        np.testing.assert_array_equal(run_int(net, iparams, q, x, ops=ops), want)
        iparams["head.weight"][2, 2, 0, 0] ^= 5  # in place: the array is still the same
        changed = run_int(net, iparams, q, x, ops=ops)
        np.testing.assert_array_equal(changed, run_int(net, iparams, q, x))
    other = q.with_tensors(head=Grid(float(q.tensors["head"].scales) * 1.5, 3))
    want = run_int(net, iparams, other, x)
    np.testing.assert_array_equal(run_int(net, iparams, other, x, ops=ops), want)


def test_the_engines_operations_have_what_the_kernels_read(rng: Rng) -> None:
    from sesr_kernels.description import integers as read
    from sesr_kernels.description.layers import read_of
    from sesr_ref.integers import operations as made

    net: read.IntegerNetwork = made.operations(  # mypy checks it
        COLOUR, *random_integers(COLOUR, rng), ARITHMETICS["tflite"]
    )
    assert all(hasattr(net, name) for name in read_of(read.IntegerNetwork))
    found = {type(operation).__name__: operation for operation in net.operations}
    for kind in read.KINDS:
        assert all(hasattr(found[kind.__name__], name) for name in read_of(kind))
    grids = net.grids.values()
    assert all(hasattr(g, name) for g in grids for name in read_of(read.Grid))


FORCED = """
import numpy as np
from sesr_kernels.machine import host
if {choice!r}:
    host.HOST = host.HOSTS[{name!r}]._replace(**{choice!r})
if host.HOST.products == "dot":  # NEON's sdot in instructions of any processor
    from sesr_kernels.machine.words import Words
    def add_products(e, sums, pixels, weight):
        for i in range(4):
            x, y = (e.b.ashr(e.b.shl(v, e.same(24 - 8 * i)), e.same(24)) for v in (pixels, weight))
            sums = e.b.add(sums, e.b.mul(x, y))
        return sums
    Words.add_products = add_products
import sesr_ref as sr
from networks_of_integers import COLOUR, NETWORKS, TWO_SCALES, codes, random_integers
rng = np.random.default_rng(1)
for i, arithmetic in enumerate(("tflite", "litert", "qdq", "tflite-single", "shift-half-even")):
    for net in (NETWORKS[i % 4], COLOUR, TWO_SCALES)[: 1 + 2 * (i < 2)]:
        iparams, q = random_integers(net, rng, arithmetic.startswith("shift"))
        x = codes(net, rng, 1, 6, 61)
        want = sr.forward_int(net, iparams, q, x, arithmetic)
        got = sr.forward_int(net, iparams, q, x, arithmetic, sr.fast(threads=1))
        for name in want:
            assert (got[name] == want[name]).all(), (net.name, name)
        assert (sr.run_int(net, iparams, q, x, arithmetic, sr.fast()) == want[net.output]).all()
print(host.HOST.name, host.HOST.products, host.HOST.bytes)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "choice"),
    [
        ("scalar", {"products": "plain"}),
        ("neon", {"products": "plain"}),
        ("neon", {"products": "dot"}),
        ("avx512", {"products": "plain", "bytes": "plain"}),
    ],
)
def test_other_processors_products_of_bytes_give_the_same_bits(
    name: str, choice: dict[str, str], tmp_path: Any
) -> None:
    done = python(FORCED.format(name=name, choice=choice), SESR_CACHE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [name, choice["products"], "plain"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cpu", "expected"),
    [
        ("x86-64", "sse2 pairs pack"),
        ("nehalem", "sse2 pairs shuffle"),
        ("haswell", "avx2 pairs shuffle"),
        ("alderlake", "avx2 vnni shuffle"),
        ("skylake-avx512", "avx512 pairs shuffle"),
        ("cascadelake", "avx512 vnni shuffle"),
    ],
)
def test_every_x86_has_the_same_bits(cpu: str, expected: str, tmp_path: Any) -> None:
    from llvmlite import binding

    has = binding.get_host_cpu_features()
    needs = {"avx2": "avx2", "avx512": "avx512bw"}.get(expected.split()[0])
    vnni = "avxvnni" if "avx2 vnni" in expected else "avx512vnni"
    if (needs and not has.get(needs)) or ("vnni" in expected and not has.get(vnni)):
        pytest.skip(f"this processor is no {cpu}")
    done = python(
        FORCED.format(name="", choice={}),
        SESR_CACHE_DIR=str(tmp_path),
        NUMBA_CPU_NAME=cpu,
        NUMBA_CPU_FEATURES=",".join(_features(cpu)),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == expected


def _features(cpu: str) -> list[str]:
    """What LLVM knows of a processor, in Numba's form."""
    sets = {
        "x86-64": "sse2",
        "nehalem": "sse2,ssse3,sse4.1,sse4.2",
        "haswell": "sse2,ssse3,sse4.1,avx,avx2,fma,bmi,bmi2",
        "alderlake": "sse2,ssse3,sse4.1,avx,avx2,fma,bmi,bmi2,avxvnni",
        "skylake-avx512": "avx,avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512cd",
        "cascadelake": "avx,avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx512vnni",
    }
    return [f"+{feature}" for feature in sets[cpu].split(",")]
