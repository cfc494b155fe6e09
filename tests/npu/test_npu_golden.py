"""The estimator against what Arm's own prints, pass by pass, and against the paper's Table 3."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

import sesr_ref as sr
from sesr_ref.npu.estimator import PassEstimate, estimate_operations
from sesr_ref.npu.lowering import lower

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT.parent / "shared" / "golden" / "ethos_n78.json"
CASES: list[dict[str, Any]] = json.loads(GOLDEN.read_text()) if GOLDEN.is_file() else []


def name_of(case: dict[str, Any]) -> str:
    body = "" if case["depth_to_space"] else "-body"
    plain = "" if case["cascade_estimate"] else "-plain"
    return f"{case['network']}{body}-{case['height']}x{case['width']}{plain}"


def passes_of(case: dict[str, Any]) -> tuple[PassEstimate, ...]:
    hardware = {key: case[key] for key in ("sram_bytes", "activation_saving", "cascade_estimate")}
    npu = dataclasses.replace(sr.ETHOS_N78_4TOPS, **hardware)
    if case["network"] == "fsrcnn":
        net = sr.fsrcnn(activation="relu")
    else:
        upscale = int(case["network"][-1])
        net = sr.collapsed(
            sr.sesr(
                case["blocks"], case["features"], upscale, activation="relu", input_residual=False
            )
        )
    operations = lower(net, case["height"], case["width"])
    if not case["depth_to_space"]:
        operations = tuple(op for op in operations if not op.name.startswith("shuffle"))
    return estimate_operations(operations, npu)


@pytest.mark.skipif(not CASES, reason=f"{GOLDEN.name} is not beside the project")
def test_the_golden_file_is_the_one_that_was_matched() -> None:
    assert len(CASES) == 16


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_every_pass_equals_arms_estimator_to_the_byte_and_cycle(case: dict[str, Any]) -> None:
    passes = passes_of(case)
    ours = [
        {
            "input_bytes": [p.input.parallel, p.input.serial],
            "output_bytes": [p.output.parallel, p.output.serial],
            "weight_bytes": [p.weights.parallel, p.weights.serial],
            "mce_cycles": p.mce_cycles,
            "ple_patches": p.ple_patches,
        }
        for p in passes
    ]
    theirs = [{key: row[key] for key in ours[0]} for row in case["passes"]]
    assert ours == theirs
    assert sum(p.dram_bytes for p in passes) == case["dram_bytes"]
    assert sum(p.mce_cycles for p in passes) == case["mce_cycles"]


HARDWARE = {"activation": "relu", "input_residual": False}
M5_X2 = sr.sesr(5, activation="relu", input_residual=False)
M5_X4 = sr.sesr(5, upscale=4, activation="relu", input_residual=False)
FULL_HD, TILE = (1080, 1920), (300, 400)
# network, input, composed, megabytes and milliseconds in the paper
TABLE_3 = {
    "fsrcnn": (sr.fsrcnn(activation="relu"), FULL_HD, False, 564.11, 167.38),
    "x2": (M5_X2, FULL_HD, False, 282.03, 27.22),
    "x2-tile": (M5_X2, TILE, False, 6.46, 1.26),
    "x4": (M5_X4, FULL_HD, True, 389.86, 45.09),
    "x4-tile": (M5_X4, TILE, False, 9.84, 2.12),
}


@pytest.mark.parametrize(
    ("model", "row", "bytes_percent", "time_percent"),
    [
        ("roofline", "fsrcnn", 2.2, 4.7),
        ("roofline", "x2", 0.0, -2.5),
        ("roofline", "x2-tile", 0.0, 4.3),
        ("roofline", "x4", 0.0, 3.9),
        ("roofline", "x4-tile", -0.2, -1.8),
        ("calibrated", "fsrcnn", 2.2, -0.8),
        ("calibrated", "x2", 0.0, 0.0),
        ("calibrated", "x2-tile", 0.0, 0.2),
        ("calibrated", "x4", 0.0, 0.0),
        ("calibrated", "x4-tile", -0.2, -0.1),
        ("physical", "fsrcnn", 50.4, -0.3),
        ("physical", "x2", 36.0, 5.1),
        ("physical", "x2-tile", 150.6, 11.3),
        ("physical", "x4", 36.7, 2.1),
        ("physical", "x4-tile", 98.7, 2.4),
        ("ideal", "fsrcnn", -98.1, -15.8),
        ("ideal", "x2", -96.3, -48.2),
        ("ideal", "x2-tile", -90.3, -35.2),
        ("ideal", "x4", -91.0, -39.3),
        ("ideal", "x4-tile", -79.0, -25.3),
    ],
)
def test_table_3_is_as_far_off_as_stated(
    model: str, row: str, bytes_percent: float, time_percent: float
) -> None:
    net, (height, width), composed, megabytes, milliseconds = TABLE_3[row]
    composed = composed and model in {"roofline", "calibrated"}
    result = sr.estimate(
        net, height, width, sr.ETHOS_N78_4TOPS, model=model, compose_shuffles=composed
    )
    assert round(100 * (result.dram_bytes / 1e6 / megabytes - 1), 1) == bytes_percent
    assert round(100 * (result.latency_ms / milliseconds - 1), 1) == time_percent


def test_composing_the_only_shuffle_changes_nothing() -> None:
    whole = sr.estimate(M5_X2, *FULL_HD, sr.ETHOS_N78_4TOPS)
    parts = sr.estimate(M5_X2, *FULL_HD, sr.ETHOS_N78_4TOPS, compose_shuffles=True)
    assert parts.dram_bytes == whole.dram_bytes
    assert parts.latency_ms == pytest.approx(whole.latency_ms)
    assert parts.passes[-1].engine == "composed"


def test_planes_of_the_cascade_estimate_and_of_the_physical_count() -> None:
    plane = 1920 * 1080
    counts = {
        model: sr.estimate(M5_X2, *FULL_HD, sr.ETHOS_N78_4TOPS, model=model).dram_bytes / plane
        for model in ("roofline", "physical")
    }
    plain = dataclasses.replace(sr.ETHOS_N78_4TOPS, activation_saving=0.0, cascade_estimate=False)
    counts["plain"] = sr.estimate(M5_X2, *FULL_HD, plain).dram_bytes / plane
    assert {key: int(value) for key, value in counts.items()} == {
        "roofline": 136,
        "physical": 185,
        "plain": 253,
    }
