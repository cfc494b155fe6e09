"""`sesr-ref cost`: what it prints, what it writes, what it rejects."""

import json
from pathlib import Path
from typing import Any

import pytest

from sesr_ref.architectures.carn import carn_m
from sesr_ref.cli import main
from sesr_ref.collapse import collapsed
from sesr_ref.commands.cost import bottlenecks
from sesr_ref.commands.models import network_named
from sesr_ref.npu import ETHOS_N78_4TOPS, estimate
from sesr_ref.npu.figures import nominal_frame_rates
from sesr_ref.npu.variant import hardware_variant

SIZE = ("--height", "60", "--width", "80")
FULL_HD = ("--height", "1080", "--width", "1920")
NPU = ("--npu", "ethos-n78-4tops")


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["cost", *arguments]) == 0
    return capsys.readouterr().out


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    return json.loads(printed(capsys, *arguments, "--json"))


def test_counts_are_printed_for_people_and_programs(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "sesr-m5-x2", "--height", "360", "--width", "640")
    assert "13520 weights" in text
    assert "3.115 G MACs" in text
    facts = as_json(capsys, "sesr-m5-x2", "--height", "360", "--width", "640")
    assert (facts["parameters"], facts["macs"]) == (13520, 3115008000)
    assert facts["rows"][0]["name"] == "head"


def test_both_conventions_for_transposed_convolutions_are_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    size = ("fsrcnn-x2", "--height", "360", "--width", "640")
    assert "6.007 G" in printed(capsys, *size)
    assert "2.872 G" in printed(capsys, *size, "--transposed", "input")


def test_the_estimate_is_that_of_table_3(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("sesr-m5-x2", *FULL_HD, *NPU, "--hardware-variant", "--model", "calibrated")
    text = printed(capsys, *arguments)
    assert "282.04 MB, 27.22 ms, 36.73 FPS" in text
    assert "inferred" in text
    facts = as_json(capsys, *arguments)
    assert facts["dram_bytes"] == 282035195
    assert sum(p["dram_bytes"] for p in facts["passes"]) == 282035195
    assert set(facts["bottlenecks"]) <= {p["name"] for p in facts["passes"]}


def test_x4_is_composed_as_in_the_paper(capsys: pytest.CaptureFixture[str]) -> None:
    facts = as_json(
        capsys, "sesr-m5-x4", *FULL_HD, *NPU, "--hardware-variant", "--compose-shuffles"
    )
    assert round(facts["dram_bytes"] / 1e6, 2) == 389.86


def test_tiles_are_searched_or_given(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "sesr-m3-x2", *SIZE, *NPU, "--tile", "auto")
    assert "halo 7" in text
    assert "depth-first: 1 strip(s)" in text
    facts = as_json(capsys, "sesr-m3-x2", *SIZE, *NPU, "--tile", "40x30")
    assert facts["candidates"][0]["tile"] == {"height": 30, "width": 40}
    assert facts["candidates"][0]["count"] == 4
    assert set(facts["whole"]["models"]) == {"roofline", "calibrated", "physical", "ideal"}


@pytest.mark.slow
def test_a_plot_is_written_whole_and_not_over_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "cost.png"
    command = ["cost", "sesr-m1-x2", *SIZE, *NPU, "--plot", str(path)]
    assert main(command) == 0
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir()] == ["cost.png"]
    capsys.readouterr()
    assert main(command) == 2
    rejected = capsys.readouterr()
    assert "exists" in rejected.err
    assert rejected.out == ""
    assert main([*command, "--overwrite"]) == 0
    assert path.read_bytes() == content


def test_marks_and_shares_above_one_hundred_percent_are_explained(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = printed(capsys, "sesr-m5-x2", *SIZE, *NPU)
    assert "*: the longest passes, which together take at least half of the time" in text
    assert "above 100 % with it" in text


def test_a_network_is_read_from_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "net.json"
    path.write_text(carn_m(2, features=16).to_json())
    facts = as_json(capsys, str(path), *SIZE, *NPU, "--bits", "16")
    assert (facts["network"], facts["bits"]) == ("carn-m-x2", 16)
    assert facts["latency_ms"] > 0


def test_an_npu_is_described_in_toml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'base = "ethos-n78-4tops"\nname = "mine"\nunits = 16\n'
        "picojoules_per_mac = 0.5\npicojoules_per_dram_byte = 100.0\n"
    )
    text = printed(capsys, "sesr-m1-x2", *SIZE, "--npu-file", str(path))
    assert "mine" in text
    assert " mJ" in text
    assert "inferred" not in text
    assert "The presets' settings are inferred" in printed(capsys, "sesr-m1-x2", *SIZE, *NPU)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sesr-m1-x2", "--height", "0", "--width", "8"), "height must be an integer from 1"),
        (("sesr-m1-x2", "--height", "0", "--width", "8", *NPU), "height must be an integer from 1"),
        (
            ("sesr-m1-x2", "--height", "8", "--width", "9" * 26),
            "width must be an integer from 1 to 1048576, got",
        ),
        (
            ("sesr-m1-x2", "--height", "8", "--width", "9" * 26, *NPU),
            "must be an integer from 1 to 32768, got",
        ),
        (("sesr-m1-x2", *SIZE, "--npu-file", "/dev/zero"), "/dev/zero is not a regular file"),
        (("sesr-m1-x2", *SIZE, "--npu", "tpu"), "an NPU's name must be one of ethos-n78-1tops"),
        (("sesr-m1-x2", *SIZE, "--npu-file", "none.toml"), "none.toml"),
        (("sesr-m1-x2", *SIZE, *NPU, "--tile", "4by4"), "WIDTHxHEIGHT such as 400x300, got '4by4'"),
        (("sesr-m1-x2", *SIZE, *NPU, "--tile", "0x4"), "at least 1 x 1, got (4, 0)"),
        (("sesr-m1-x2", *SIZE, "--tile", "auto"), "--tile has no effect without --npu"),
        (("sesr-m1-x2", *SIZE, "--model", "ideal"), "--model has no effect without --npu"),
        (
            ("sesr-m1-x2", *SIZE, *NPU, "--tile", "auto", "--plot", "p.png"),
            "--plot has no effect with --tile",
        ),
        (
            ("sesr-m1-x4", *SIZE, *NPU, "--tile", "auto", "--compose-shuffles"),
            "--compose-shuffles has no effect with --tile",
        ),
        (("fsrcnn-x2", *SIZE, *NPU, "--transposed", "input"), "--transposed has no effect"),
        (("sesr-m1-x2", *SIZE, *NPU, "--overwrite"), "--overwrite has no effect without --plot"),
        (("no-such-net", *SIZE), "no-such-net"),
        (("vdsr-x2", *SIZE, *NPU, "--compose-shuffles"), "does not end in depth-to-space"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cost", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_the_hardware_variant_has_relu_and_no_input_residual() -> None:
    net = hardware_variant(collapsed(network_named("sesr-m5-x2")))
    kinds = [type(layer).__name__ for layer in net.layers]
    assert "PReLU" not in kinds
    assert kinds.count("Add") == 1
    assert hardware_variant(net) == net


def test_bottlenecks_are_the_longest_passes_that_make_up_half_of_the_time() -> None:
    result = estimate(network_named("fsrcnn-x2"), 90, 120, ETHOS_N78_4TOPS)
    marked = bottlenecks(result.passes)
    times = sorted((p.latency_ms for p in result.passes), reverse=True)
    inside = [p.latency_ms for p in result.passes if p.name in marked]
    assert sorted(inside, reverse=True) == times[: len(inside)]
    assert sum(inside) >= result.latency_ms / 2
    assert sum(inside) - min(inside) < result.latency_ms / 2


def test_figure_1b_at_the_nominal_rate() -> None:
    assert {name: int(rate) for name, rate in nominal_frame_rates().items()} == {
        "FSRCNN": 36,
        "M3": 108,
        "M5": 71,
        "M7": 53,
        "M11": 35,
        "XL": 9,
    }
