"""The cost model: properties that must hold for any network and hardware, and bad input."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sesr_ref as sr
from sesr_ref import network as nw
from sesr_ref.npu import MODELS, PRESETS, npu_from_toml, npu_named
from sesr_ref.npu.lowering import lower

NPU = sr.ETHOS_N78_4TOPS
M5 = sr.sesr(5, activation="relu", input_residual=False)
NETWORKS = (M5, sr.sesr(3, upscale=4), sr.fsrcnn(2), sr.carn_m(2, features=16), sr.lapsrn(2, 2, 16))

networks = st.sampled_from(NETWORKS)
models = st.sampled_from(MODELS)
sides = st.integers(8, 400)
sram = st.integers(20, 80).map(lambda steps: steps * 65536)
property_test = settings(deadline=None, max_examples=40)


def with_(**changes: object) -> sr.Npu:
    return dataclasses.replace(NPU, **changes)  # type: ignore[arg-type]


@property_test
@given(networks, sides, sides, models, sram, st.floats(1.0, 8.0))
def test_more_bandwidth_never_makes_it_slower(
    net: nw.Network, height: int, width: int, model: str, size: int, times: float
) -> None:
    slow = with_(sram_bytes=size)
    fast = dataclasses.replace(
        slow,
        dram_bytes_per_second=slow.dram_bytes_per_second * times,
        fitted_bytes_per_second=slow.fitted_bytes_per_second * times,
    )
    before, after = (sr.estimate(net, height, width, npu, model=model) for npu in (slow, fast))
    assert after.latency_ms <= before.latency_ms
    assert after.dram_bytes == before.dram_bytes


@property_test
@given(networks, sides, sides, st.sampled_from(("physical", "ideal")), sram, sram)
def test_more_sram_never_makes_it_slower_under_physical_and_ideal(
    net: nw.Network, height: int, width: int, model: str, first: int, second: int
) -> None:
    small, large = (
        sr.estimate(net, height, width, with_(sram_bytes=size), model=model)
        for size in sorted((first, second))
    )
    assert large.latency_ms <= small.latency_ms
    assert large.dram_bytes <= small.dram_bytes


def test_more_sram_makes_it_slower_under_the_cascade_estimate_here() -> None:
    """At 400 x 300, 4 MB keep most tensors on chip; with 3 MB Arm's estimate drops their bytes."""
    small, large = (
        sr.estimate(M5, 300, 400, with_(sram_bytes=size)) for size in (3 << 20, 4 << 20)
    )
    assert large.dram_bytes > small.dram_bytes
    assert large.latency_ms > small.latency_ms


@property_test
@given(networks, sides, sides, sram)
def test_ideal_is_below_physical_is_below_uncompressed(
    net: nw.Network, height: int, width: int, size: int
) -> None:
    npu = with_(sram_bytes=size)
    plain = dataclasses.replace(npu, activation_saving=0.0)
    ideal = sr.estimate(net, height, width, npu, model="ideal")
    physical = sr.estimate(net, height, width, npu, model="physical")
    uncompressed = sr.estimate(net, height, width, plain, model="physical")
    for key in ("dram_bytes", "latency_ms"):
        values = [getattr(e, key) for e in (ideal, physical, uncompressed)]
        assert values == sorted(values)


@property_test
@given(networks, models, st.integers(2, 4))
def test_time_grows_with_the_area_of_large_images(net: nw.Network, model: str, times: int) -> None:
    npu = with_(cascade_estimate=False, sram_bytes=64 << 20, stripe_slots=1000)
    one, more = (
        sr.estimate(net, 1024 * factor, 1024, npu, model=model) for factor in (8, 8 * times)
    )
    assert more.latency_ms / one.latency_ms == pytest.approx(times, rel=0.05)


@property_test
@given(networks, sides, sides, models)
def test_passes_add_up_and_no_multiplier_does_more_than_winograd_allows(
    net: nw.Network, height: int, width: int, model: str
) -> None:
    result = sr.estimate(net, height, width, NPU, model=model)
    assert result.dram_bytes == sum(p.dram_bytes for p in result.passes)
    assert result.latency_ms == pytest.approx(sum(p.latency_ms for p in result.passes))
    for p in result.passes:
        assert p.bound in {"dram", "compute", "ple"}
        assert 0 <= p.utilisation <= 2.25 + 1e-9
    layers = [name for p in result.passes for name in p.layers]
    assert set(layers) <= {layer.name for layer in sr.collapsed(net).layers}


@property_test
@given(networks, sides, sides)
def test_multiply_accumulates_are_those_of_cost(net: nw.Network, height: int, width: int) -> None:
    assert sr.estimate(net, height, width, NPU).macs == sr.cost(net, height, width).macs


@pytest.mark.parametrize(
    "net",
    [
        *NETWORKS,
        sr.vdsr(2, 4),
        sr.vdsr(4, 4),
        sr.sesr(1, dialect="arm", block_bias="true"),
        nw.Network.from_json(sr.fsrcnn(3).to_json()),
    ],
    ids=lambda net: net.name,
)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("npu", PRESETS.values(), ids=PRESETS.keys())
def test_every_network_has_an_estimate_on_every_preset(
    net: nw.Network, bits: int, npu: sr.Npu
) -> None:
    result = sr.estimate(net, 90, 123, npu, bits=bits)
    assert result.frames_per_second == pytest.approx(1e3 / result.latency_ms)
    assert result.dram_bytes > 0


def test_sixteen_bits_double_what_every_tensor_takes() -> None:
    plain = with_(cascade_estimate=False, sram_bytes=16 << 20)
    eight, sixteen = (sr.estimate(M5, 1080, 1920, plain, bits=bits) for bits in (8, 16))
    assert sixteen.mce_cycles == 4 * eight.mce_cycles
    activations = [sum(p.input.total + p.output.total for p in e.passes) for e in (eight, sixteen)]
    assert activations[1] == 2 * activations[0]


def test_energy_needs_both_figures() -> None:
    npu = with_(picojoules_per_mac=0.5, picojoules_per_dram_byte=100.0)
    result = sr.estimate(M5, 1080, 1920, npu)
    assert result.joules == pytest.approx((0.5 * result.macs + 100.0 * result.dram_bytes) * 1e-12)
    assert sr.estimate(M5, 20, 20, NPU).joules is None


def test_an_activation_whose_convolution_has_another_reader_is_a_pass_of_its_own() -> None:
    net = nw.Network(
        "branch",
        1,
        1,
        (nw.Conv("a", 1, 3), nw.ReLU("r"), nw.Add("s", inputs=("a", "r"))),
    )
    assert [op.layers for op in lower(net, 8, 8)] == [("a",), ("r",), ("s",)]


def test_parts_of_a_concatenation_are_written_side_by_side_without_a_pass() -> None:
    net = nw.Network(
        "cat",
        1,
        1,
        (
            nw.Conv("a", 16, 3),
            nw.Conv("b", 16, 3),
            nw.Concat("c", inputs=("a", "b")),
            nw.Conv("d", 1, 1),
        ),
    )
    passes = sr.estimate(net, 32, 32, with_(cascade_estimate=False)).passes
    assert [p.name for p in passes] == ["a", "b", "d"]
    assert passes[2].input.total == passes[0].output.total + passes[1].output.total > 0


def test_expanded_networks_are_estimated_as_they_are_unless_their_weights_do_not_fit() -> None:
    net = sr.expanded(sr.sesr(2))
    names = [p.name for p in sr.estimate(net, 60, 80, NPU).passes]
    assert "block0.expand" in names
    tiny = npu_named("ethos-n78-1tops")
    wide = sr.expanded(sr.sesr(1, 64, expand=1024))
    with pytest.raises(ValueError, match=r"for its weights \(collapse linear blocks first\)"):
        sr.estimate(wide, 16, 16, tiny)
    assert sr.estimate(sr.collapsed(sr.sesr(1, 64, expand=1024)), 16, 16, tiny).dram_bytes > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"height": 0}, "height must be an integer from 1 to 32768, got 0"),
        ({"width": -5}, "width must be an integer from 1 to 32768, got -5"),
        ({"height": True}, "height must be an integer from 1 to 32768, got True"),
        ({"model": "guess"}, "model must be one of"),
        ({"bits": 4}, "bits must be one of 8, 16, got 4"),
        ({"compose_shuffles": True, "net": sr.fsrcnn(2)}, "does not end in depth-to-space"),
    ],
)
def test_impossible_arguments_are_named(changes: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {"net": M5, "height": 16, "width": 16, "npu": NPU} | changes
    with pytest.raises(ValueError, match=message):
        sr.estimate(**arguments)  # type: ignore[arg-type]


def test_too_little_sram_says_how_much_is_needed_and_that_much_suffices() -> None:
    with pytest.raises(ValueError, match="too small for one stripe of pass 'head'") as caught:
        sr.estimate(M5, 64, 64, with_(sram_bytes=70_000))
    needed = int(str(caught.value).split("needs ")[1].split()[0])
    assert "head" not in _failure(needed)
    assert "head" in _failure(needed - 1)


def _failure(size: int) -> str:
    try:
        sr.estimate(M5, 64, 64, with_(sram_bytes=size))
    except ValueError as error:
        return str(error).split("pass ")[1].split(",")[0]
    return ""


def test_a_linear_block_is_named() -> None:
    with pytest.raises(ValueError, match="layer 'head' is a LinearBlock"):
        lower(sr.sesr(1), 8, 8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sram_bytes": 0}, "sram_bytes must be a positive integer, got 0"),
        ({"input_groups": 1.5}, "input_groups must be a positive integer, got 1.5"),
        ({"clock_hz": -1.0}, "clock_hz must be a positive number, got -1.0"),
        ({"clock_hz": float("nan")}, "clock_hz must be a positive number, got nan"),
        ({"activation_saving": 1.0}, "must be a number of at least 0 and below 1"),
        ({"winograd": 1}, "winograd must be true or false, got 1"),
        ({"brick": (8, 8, 16)}, "brick must be two positive integers"),
        ({"name": ""}, "name must be a non-empty text"),
        ({"picojoules_per_mac": 0}, "picojoules_per_mac must be a positive number, got 0"),
    ],
)
def test_impossible_hardware_is_rejected(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        with_(**changes)


def test_hardware_needs_a_name_and_an_sram() -> None:
    with pytest.raises(TypeError, match="sram_bytes"):
        sr.Npu(name="mine")  # type: ignore[call-arg]


def toml(folder: Path, text: str) -> Path:
    path = folder / "npu.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_hardware_from_toml_with_and_without_a_base(tmp_path: Path) -> None:
    path = toml(tmp_path, 'base = "ethos-n78-4tops"\nname = "mine"\nbrick = [4, 8]\n')
    assert npu_from_toml(path) == with_(name="mine", brick=(4, 8))
    path = toml(tmp_path, 'name = "own"\nsram_bytes = 65536\nclock_hz = 1e9\n')
    assert npu_from_toml(path) == sr.Npu(name="own", sram_bytes=65536, clock_hz=1e9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "not TOML"),
        ('name = "x"', "'sram_bytes' is missing"),
        ('name = "x"\nsram_bytes = 5\nsram = 4', "unknown key 'sram'"),
        ('base = "n78"', "an NPU's name must be one of .*, got 'n78'"),
        ('name = "x"\nsram_bytes = "4 MB"', "sram_bytes must be a positive integer"),
        ('name = "x"\nsram_bytes = 4\nbrick = [1]', "brick must be two positive integers"),
        ("[npu]\nname = 3", "unknown key 'npu'"),
    ],
)
def test_malformed_toml_is_rejected_with_its_file(tmp_path: Path, text: str, message: str) -> None:
    path = toml(tmp_path, text)
    with pytest.raises(ValueError, match=message) as caught:
        npu_from_toml(path)
    assert str(path) in str(caught.value)


def test_a_binary_or_missing_toml_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not TOML"):
        npu_from_toml(path)
    with pytest.raises(FileNotFoundError):
        npu_from_toml(tmp_path / "none.toml")
    path.write_bytes(b"#" * 65537)
    with pytest.raises(ValueError, match="at most 65536 bytes, got 65537"):
        npu_from_toml(path)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        npu_from_toml(tmp_path)


def test_sizes_may_be_numpy_integers_and_the_npu_must_be_an_npu() -> None:
    net = sr.sesr(1, 4)
    size: Any = (np.int64(8), np.int32(9))
    estimated = sr.estimate(net, size[0], size[1], sr.ETHOS_N78_4TOPS)
    assert estimated == sr.estimate(net, 8, 9, sr.npu_named("ethos-n78-4tops"))
    name: Any = "ethos-n78-4tops"
    for function in (sr.estimate, sr.plan_tiles):
        with pytest.raises(ValueError, match=r"must be an Npu, .* got 'ethos-n78-4tops'"):
            function(net, 8, 8, name)
    for height in (1 << 16, 10**30):
        with pytest.raises(ValueError, match="height must be an integer from 1 to 32768"):
            sr.estimate(net, height, 8, sr.ETHOS_N78_4TOPS)


def test_an_unknown_preset_is_rejected_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"must be one of ethos-n78-1tops, .*, got 'ethos-u55'"):
        npu_named("ethos-u55")
