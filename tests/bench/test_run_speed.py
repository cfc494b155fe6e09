"""bench/run_speed.py: a report that is measured in pieces, and what is made of it."""

from __future__ import annotations

import argparse
import importlib
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ROW = {"runs": {"sesr_ref fast": 2}, "fastest_ms": {}, "error": 0.0, "gflop": 10.0}
MS = {"sesr_ref fast": 50.0, "sesr_ref direct": 60.0, "LiteRT": 200.0, "OpenVINO": 100.0}


@pytest.fixture
def speed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, with every measurement replaced."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    module = importlib.import_module("run_speed")
    parts, peak = importlib.import_module("speed.parts"), importlib.import_module("speed.peak")
    measured = {
        "inference": lambda args, case: ROW | {"ms": MS},
        "training": lambda args, case: {"ms": {"sesr_ref fast": 10.0, "PyTorch": 20.0}},
        "memory": lambda args, case: {"megabytes": {"sesr_ref fast": 200}},
        "training_memory": lambda args, case: {"megabytes": {"sesr_ref fast": 300}},
        "scaling": lambda args, case: {
            "ms": {},
            "megapixels": 2.0,
            "ns_per_pixel": 150.0 + len(case.size),
            "ns_per_pixel_alone": 200.0,
        },
    }
    for name, measure in measured.items():
        monkeypatch.setitem(parts.PARTS, name, parts.PARTS[name]._replace(measure=measure))
    monkeypatch.setattr(peak, "peak_gflops", lambda threads: 200.0 * threads)
    monkeypatch.setattr(module, "draw", lambda report, path: [])
    return module


@pytest.fixture
def run(speed: Any, tmp_path: Path) -> Callable[..., int]:
    """Run it with one report."""
    return lambda *args: int(speed.main([*args, "--into", str(tmp_path / "speed.json")]))


def test_a_report_is_continued_and_nothing_is_measured_twice(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--networks", "m5-x2", "--sizes", "360p", "--parts", "inference", "--threads"]
    assert run(*small, "1") == run(*small, "1", "2") == run(*small, "1", "2") == 0
    report = json.loads((tmp_path / "speed.json").read_text())
    assert [row["threads"] for row in report["inference"]] == [1, 2]
    assert report["peak_gflops"] == {"1": 200.0, "2": 400.0}
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("inference")]
    assert len(lines) == 2
    assert lines[0].endswith("2.00 times OpenVINO, 100% of the peak")


def test_a_run_stops_when_asked_and_says_so(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--quick", "--stop-after", "-1") == 0
    assert "run the same command to resume" in capsys.readouterr().out
    assert run("--quick") == 0
    report = json.loads((tmp_path / "speed.json").read_text())
    assert {"inference", "training", "memory", "training_memory"} <= report.keys()
    assert "scaling" not in report


def test_figures_of_another_machine_are_not_added(
    run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--quick") == 0
    path = tmp_path / "speed.json"
    report = json.loads(path.read_text())
    report["machine"]["instructions"] = "abacus"
    path.write_text(json.dumps(report))
    assert run("--quick") == 2
    assert "measured with instructions abacus" in capsys.readouterr().err


def test_the_table_has_every_part_and_the_plots_are_drawn(
    run: Callable[..., int], speed: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "speed.json"
    assert run("--threads", "1", "2") == run("--scaling", "--threads", "2") == 0
    capsys.readouterr()
    assert speed.main(["--table", str(path)]) == 0
    text = capsys.readouterr().out
    for line in (
        "| M5 x2, 640 x 360, 2 | 50.0 | 60.0 | 200 | 100 | 2.00 x | 50% | 42% |",
        "| 50.0, 2.00 x OpenVINO (2 runs) | 50.0, 2.00 x OpenVINO (2 runs) |",
        "| ms | 10.0 | 20.0 |",
        "| MB, whole process | 300 |  |",
        "| ns a pixel, 2 threads, call after call | 159.0 | 159.0 | 159.0 | 161.0 | 161.0 |",
        "| one call after a pause | 200.0 | 200.0 |",
        "| 161.0 | 1.01 |",
    ):
        assert line in text
    draw = importlib.import_module("speed.plots").draw
    drawn = draw(json.loads(path.read_text()), tmp_path / "speed.png")
    assert [p.name for p in drawn] == ["speed.png", "scaling.png"]
    assert all(p.stat().st_size > 5000 for p in drawn)


def test_a_file_that_is_not_a_report_is_rejected(speed: Any, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[]")
    assert speed.main(["--table", str(tmp_path / "x.json")]) == 2
    assert speed.main(["--table", str(tmp_path / "absent.json")]) == 2


def test_turns_alternate_and_slow_candidates_take_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    measure = importlib.import_module("speed.measure")
    monkeypatch.setattr(measure, "PAUSE", 0.0)
    called = list[str]()

    def run(name: str, seconds: float) -> Callable[[], float]:
        def once() -> float:
            called.append(name)
            return seconds

        return once

    times = measure.alternate({"a": run("a", 1.0), "b": run("b", 9.0), "c": run("c", 2.0)}, 4, 2)
    assert "".join(called) == "abcabcacac"
    assert times == {"a": [1.0] * 4, "b": [9.0] * 2, "c": [2.0] * 4}


@pytest.mark.slow
def test_it_measures(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    pytest.importorskip("threadpoolctl")
    pytest.importorskip("matplotlib")
    done = subprocess.run(
        [
            sys.executable,
            "bench/run_speed.py",
            "--networks",
            "m3-x2",
            "--sizes",
            "360p",
            "--threads",
            "1",
            "--parts",
            "inference",
            "memory",
            "--peers",
            "ncnn",
            "--repeats",
            "1",
            "--without",
            "sesr_ref direct",
            "--least",
            "1",
            "--out",
            str(tmp_path),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "speed.json").read_text())
    (row,) = report["inference"]
    assert all(math.isfinite(t) and t > 0 for t in row["ms"].values())
    assert 0 < row["error"] < 1e-5
    assert report["memory"][0]["megabytes"]["sesr_ref fast"] > 20


def test_a_runtime_that_rejects_a_case_is_skipped_and_named_except_this_engine(
    speed: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parts, cases = importlib.import_module("speed.parts"), importlib.import_module("speed.cases")
    monkeypatch.setattr(parts, "written", lambda name, case: None)

    class Refusing:
        def hold(self, *args: Any) -> None:
            raise RuntimeError("failed to reshape")

    names = ("LiteRT", "sesr_ref fast")
    args = argparse.Namespace(workers=dict.fromkeys(names, Refusing()))
    case = cases.Case("m5-x2", "360p", 1)
    assert not parts._takes(args, "LiteRT", case)
    assert "m5-x2 360p: LiteRT rejects it: failed to reshape" in capsys.readouterr().err
    with pytest.raises(RuntimeError):
        parts._takes(args, "sesr_ref fast", case)


def test_all_sizes_are_timed_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    parts, cases = importlib.import_module("speed.parts"), importlib.import_module("speed.cases")
    monkeypatch.setattr("speed.measure.PAUSE", 0)
    monkeypatch.setattr(parts, "written", lambda name, case: None)
    timed: list[str] = []

    class Fake:
        def __init__(self, size: str) -> None:
            self.size = size

        def hold(self, *args: Any) -> None:
            pass

        def seconds_in_a_row(self, calls: int) -> float:
            timed.append(self.size)
            return float(math.prod(cases.SCALES[self.size]) * 50e-9)

        def seconds(self) -> float:
            return float(math.prod(cases.SCALES[self.size]) * 60e-9)

    class Workers(dict[str, Fake]):
        def __missing__(self, size: str) -> Fake:
            return self.setdefault(size, Fake(size))

    args = argparse.Namespace(workers=Workers(), scaled={}, repeats=3, least=3, seconds=9)
    rows = [parts.scaling(args, cases.Case("m5-x2", size, 2)) for size in cases.SCALES]
    assert timed == 4 * list(cases.SCALES)  # once to warm up, then in turns, and never again
    assert {row["ns_per_pixel"] for row in rows} == {50.0}
    assert {row["ns_per_pixel_alone"] for row in rows} == {60.0}
