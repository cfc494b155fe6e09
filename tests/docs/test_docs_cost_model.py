"""docs/cost-model.md: every table on the page is what the benchmark prints."""

import re
import runpy
from pathlib import Path

import pytest

from sesr_ref.npu import npu_from_toml

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "cost-model.md").read_text("utf-8")
BLOCKS = re.findall(r"^```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def missing(blocks: list[str], printed: str) -> list[str]:
    return [block.splitlines()[0] for block in blocks if block.strip() not in printed]


@pytest.mark.slow
def test_all_but_the_sweep_is_printed_as_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    bench = runpy.run_path(str(ROOT / "bench" / "run_npu.py"))
    times = {model: bench["print_table_3"](model)[1] for model in bench["MODELS"]}
    assert bench["print_improvements"](times)
    bench["print_worked_example"]()
    assert bench["print_figure_1b"]()
    bench["print_tiles"]()
    bench["print_depth_first"]()
    bench["print_all_networks"]()
    blocks = [block for block in BLOCKS if not block.startswith("What reaches 60 FPS")]
    assert len(BLOCKS) - len(blocks) == 1
    assert missing(blocks, capsys.readouterr().out) == []


@pytest.mark.slow
def test_the_benchmark_passes_and_prints_the_whole_page(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["run_npu.py"])
    assert runpy.run_path(str(ROOT / "bench" / "run_npu.py"))["main"]() == 0
    assert missing(BLOCKS, capsys.readouterr().out) == []


def test_the_counts_of_the_papers_tables_are_printed_and_right(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["run_macs.py"])
    assert runpy.run_path(str(ROOT / "bench" / "run_macs.py"))["main"]() == 0
    printed = capsys.readouterr().out
    for model in ("Bicubic", "FSRCNN, their set-up", "SESR-M7", "BTSRN", "LapSRN", "CARN-M"):
        assert printed.count(f"\n{model}") >= 2
    assert printed.count("cited") == 1  # MOREMNAS-B
    assert "all within 1 %" in printed


def test_the_hardware_on_the_page_can_be_read(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    path = tmp_path / "mine.toml"
    path.write_text(example, encoding="utf-8")
    npu = npu_from_toml(path)
    assert (npu.name, npu.macs_per_cycle, npu.cascade_estimate) == ("mine", 4096, False)
