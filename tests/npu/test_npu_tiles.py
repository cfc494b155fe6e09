"""Tile plans: the search, its executable result, depth-first line buffers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sesr_ref as sr
from checks import need_kernels
from sesr_ref import network as nw
from sesr_ref.npu.depth_first import HOLDS_ROWS, depth_first, line_buffers
from sesr_ref.npu.sweep import SweepPoint, factor_to_reach, sweep
from sesr_ref.ops.arrays import Params
from sesr_ref.receptive import WINDOWS, halo

M5 = sr.sesr(5, activation="relu", input_residual=False)
SMALL = {
    "sesr": sr.sesr(2, 4, expand=8),
    "sesr-x4": sr.sesr(1, 3, 4, expand=8),
    "fsrcnn": sr.fsrcnn(3, features=4, shrink=2, maps=1),
    "carn-m": sr.carn_m(2, features=4, groups=2),
}


def params_of(net: nw.Network) -> Params:
    generator = np.random.default_rng(2)
    shapes = net.param_shapes().items()
    return {name: generator.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize(("height", "width", "tile"), [(13, 17, (5, 6)), (11, 7, (11, 3))])
def test_a_plan_runs_and_gives_the_untiled_output(
    name: str, height: int, width: int, tile: tuple[int, int]
) -> None:
    net, params = SMALL[name], params_of(SMALL[name])
    plan = sr.plan_tiles(net, height, width, sr.ETHOS_N78_4TOPS, tile=tile)
    assert plan.tile == tile
    x = np.random.default_rng(0).random((1, height, width, net.channels), np.float32)
    np.testing.assert_allclose(
        sr.run(net, params, x, tile=plan), sr.run(net, params, x), rtol=2e-5, atol=2e-6
    )


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 23), st.integers(1, 23), st.integers(1, 30), st.integers(1, 30))
def test_the_fast_engine_gives_the_untiled_bits_even_for_images_smaller_than_a_tile(
    height: int, width: int, rows: int, columns: int
) -> None:
    need_kernels()
    net, ops = SMALL["sesr"], sr.fast()
    params = params_of(net)
    plan = sr.plan_tiles(net, height, width, sr.ETHOS_N78_4TOPS, tile=(rows, columns))
    x = np.random.default_rng(1).random((1, height, width, 1), np.float32)
    np.testing.assert_array_equal(
        sr.run(net, params, x, ops=ops, tile=plan), sr.run(net, params, x, ops=ops)
    )


def test_the_plan_is_the_fastest_of_its_candidates_and_no_slower_than_the_whole_image() -> None:
    plan = sr.plan_tiles(M5, 270, 480, sr.ETHOS_N78_4TOPS_1MB)
    times = [candidate.latency_ms("physical") for candidate in plan.candidates]
    assert plan.model == "physical"
    assert plan.latency_ms == times[0]
    assert times == sorted(times)
    assert plan.whole is not None
    assert times[0] <= plan.whole.latency_ms("physical")
    assert plan.frames_per_second == pytest.approx(1e3 / plan.latency_ms)


@pytest.mark.parametrize(
    ("tile", "count", "window", "roofline", "calibrated"),
    [
        ((300, 400), 20, (318, 418), 55, 43),
        ((270, 480), 16, (288, 498), 64, 50),
        ((270, 384), 20, (288, 402), 39, 41),
    ],
)
def test_whole_tiles_with_their_halo_reach_the_stated_frame_rates(
    tile: tuple[int, int],
    count: int,
    window: tuple[int, int],
    roofline: int,
    calibrated: int,
) -> None:
    plan = sr.plan_tiles(M5, 1080, 1920, sr.ETHOS_N78_4TOPS, tile=tile)
    assert plan.halo == 9
    assert (plan.best.count, plan.best.window) == (count, window)
    assert round(plan.best.frames_per_second("roofline")) == roofline
    assert round(plan.best.frames_per_second("calibrated")) == calibrated


def test_a_single_tile_has_no_halo_and_two_have_one_side_each() -> None:
    windows = {
        cuts: sr.plan_tiles(M5, 64, 96, sr.ETHOS_N78_4TOPS, tile=(64, 96 // cuts)).best.window
        for cuts in (1, 2, 3)
    }
    assert windows == {1: (64, 96), 2: (64, 57), 3: (64, 50)}


def test_line_buffers_of_m5_hold_a_kernel_each_and_the_skip_as_long_as_the_body() -> None:
    buffers = line_buffers(M5, 1920, sr.ETHOS_N78_4TOPS, step_rows=1)
    assert {b.tensor: b.rows for b in buffers} == {
        "input": 5,
        "head": 6,
        "block0": 3,
        "block1": 3,
        "block2": 3,
        "block3": 3,
        "block4": 1,
        "features": 5,
        "tail": 1,
    }


def rows_held(net: nw.Network, height: int) -> dict[str, int]:
    """Most rows of each tensor at once, found by letting rows in one by one.

    Every layer makes a row as soon as what it reads is there; a row is dropped once no reader has
    a row left to make that reads it.  A layer made in place lives in the rows that it reads.
    """
    shapes, steps = net.shapes(height, 8), list(net.steps())
    made = dict.fromkeys(shapes, 0)
    held = {name: set[int]() for name in shapes}
    most = dict.fromkeys(shapes, 0)
    owners = {"input": {"input"}}
    for layer, inputs in steps:
        read = set[str]().union(*(owners[name] for name in inputs))
        owners[layer.name] = {layer.name} if HOLDS_ROWS[type(layer)] else read

    def window(layer: nw.Layer, name: str, row: int) -> range:
        low, high = WINDOWS[type(layer)](layer, row)
        return range(max(low, 0), min(high, shapes[name][0] - 1) + 1)

    for arrived in range(height - 1):  # with the last row everything is flushed
        made["input"] += 1
        held["input"].add(arrived)
        for layer, inputs in steps:
            while made[layer.name] < shapes[layer.name][0] and all(
                window(layer, name, made[layer.name]).stop <= made[name] for name in inputs
            ):
                if HOLDS_ROWS[type(layer)]:
                    held[layer.name].add(made[layer.name])
                made[layer.name] += 1
        needed = {name: set[int]() for name in shapes}
        for layer, inputs in steps:
            for name in inputs if HOLDS_ROWS[type(layer)] else ():
                for later in range(made[layer.name], shapes[layer.name][0]):
                    for owner in owners[name]:
                        needed[owner].update(window(layer, name, later))
        for name, rows in held.items():
            most[name] = max(most[name], len(rows))
            rows &= needed[name]
    return most


@pytest.mark.parametrize("name", SMALL)
def test_line_buffers_suffice_for_rows_that_arrive_one_by_one(name: str) -> None:
    net = sr.collapsed(SMALL[name])
    most = rows_held(net, 2 * halo(net) + 6)
    stated = {b.tensor: b.rows for b in line_buffers(net, 8, sr.ETHOS_N78_4TOPS, step_rows=1)}
    spare = {"up2.0.shuffle": 1} if name == "carn-m" else {}  # 3 x 3 behind a shuffle: a row over
    assert {tensor: most[tensor] + spare.get(tensor, 0) for tensor in stated} == stated


def test_depth_first_moves_only_input_output_and_weights() -> None:
    result = depth_first(M5, 1080, 1920, sr.ETHOS_N78_4TOPS)
    weights = 1024 + 5 * 3072 + 8704 + 512
    assert (result.strips, result.strip_width) == (1, 1920)
    assert result.dram_bytes == 1080 * 1920 * 5 + weights
    assert result.sram_bytes <= sr.ETHOS_N78_4TOPS.sram_bytes
    assert result.latency_ms == pytest.approx(14.1, abs=0.05)


def test_less_sram_takes_more_strips_and_reads_their_overlap() -> None:
    small = depth_first(M5, 1080, 1920, sr.ETHOS_N78_4TOPS_1MB)
    large = depth_first(M5, 1080, 1920, sr.ETHOS_N78_4TOPS)
    assert small.strips == 4
    assert small.dram_bytes - large.dram_bytes == 1080 * 2 * 9 * 3
    assert small.latency_ms > large.latency_ms


@pytest.mark.parametrize(
    ("tile", "message"),
    [
        ((0, 5), r"at least 1 x 1, got \(0, 5\)"),
        ((3, -1), r"at least 1 x 1, got \(3, -1\)"),
    ],
)
def test_impossible_tiles_are_rejected(tile: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sr.plan_tiles(M5, 20, 20, sr.ETHOS_N78_4TOPS, tile=tile)


def test_a_tile_may_be_a_numpy_integer_and_must_be_integers() -> None:
    plan = sr.plan_tiles(M5, 20, 20, sr.ETHOS_N78_4TOPS, tile=np.int64(4))  # type: ignore[arg-type]
    assert plan.tile == (4, 4)
    for tile in ((1, 1, 1), (2.5, 2), 2.5, "3"):
        with pytest.raises(ValueError, match="a tile must be an integer or two, "):
            sr.plan_tiles(M5, 20, 20, sr.ETHOS_N78_4TOPS, tile=tile)  # type: ignore[arg-type]


def test_a_sweep_states_the_actual_amounts_and_what_does_not_fit() -> None:
    found = sweep(M5, 270, 480, sr.ETHOS_N78_4TOPS, "multipliers", (0.8, 1.0, 2.0), "depth-first")
    assert [p.factor for p in found] == [0.75, 1.0, 2.0]
    rates = [p.frames_per_second or 0.0 for p in found]
    assert rates == sorted(rates)
    (none,) = sweep(M5, 1080, 1920, sr.ETHOS_N78_4TOPS, "sram", (0.001,))
    assert none.frames_per_second is None


def test_the_factor_that_reaches_a_rate_holds_it_from_there_on() -> None:
    points = [SweepPoint(1, 50), SweepPoint(2, 70), SweepPoint(4, 55), SweepPoint(8, 80)]
    assert factor_to_reach(points, 60) == 8
    assert factor_to_reach(points, 90) is None
    assert factor_to_reach([SweepPoint(1, None), SweepPoint(2, 70)], 60) == 2


def test_impossible_sizes_strips_and_steps_are_named() -> None:
    for key, value in (("height", 0), ("width", -1), ("candidates", 0)):
        arguments: dict[str, int] = {"height": 9, "width": 9} | {key: value}
        with pytest.raises(
            ValueError, match=f"{key} must be an integer from 1 to [0-9]+, got {value}"
        ):
            sr.plan_tiles(M5, npu=sr.ETHOS_N78_4TOPS, **arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="strips must be an integer from 1 to 1048576, got 0"):
        depth_first(M5, 9, 9, sr.ETHOS_N78_4TOPS, strips=0)
    with pytest.raises(ValueError, match="step_rows must be an integer from 1 to 1048576, got 0"):
        depth_first(M5, 9, 9, sr.ETHOS_N78_4TOPS, step_rows=0)


@pytest.mark.slow
def test_an_sram_too_small_for_any_tile_is_rejected() -> None:
    tiny = sr.Npu(name="tiny", sram_bytes=66_000)
    with pytest.raises(ValueError, match="too small for one stripe"):
        sr.plan_tiles(M5, 100, 100, tiny)
    with pytest.raises(ValueError, match="depth-first execution of sesr-m5-x2 needs"):
        depth_first(M5, 1080, 1920, sr.Npu(name="small", sram_bytes=125_000))


@pytest.mark.parametrize(("resource", "execution"), [("luck", "best tiles"), ("sram", "fast")])
def test_unknown_sweeps_are_rejected(resource: str, execution: str) -> None:
    with pytest.raises(ValueError, match=r"must be one of .*, got '(luck|fast)'"):
        sweep(M5, 8, 8, sr.ETHOS_N78_4TOPS, resource, (1.0,), execution)
