"""The command line's frame: help, exit codes, one line for a user's mistake."""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sesr_ref as sr
from sesr_ref import cli
from sesr_ref.commands import console

Capture = pytest.CaptureFixture[str]


def saved(path: Path) -> Path:
    net = sr.sesr(blocks=1, features=3, expand=4)
    sr.save(path, net, sr.initialise(net))
    return path


def test_no_command_prints_the_help_and_is_a_mistake(capsys: Capture) -> None:
    assert cli.main([]) == 2
    assert "COMMAND" in capsys.readouterr().out


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_a_help_of_its_own(name: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([name, "--help"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: sesr-ref {name}")


def test_the_help_lists_every_command(capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    text = capsys.readouterr().out
    assert all(f"\n    {name}" in text for name in cli.COMMANDS)


@pytest.mark.parametrize(
    "argv", [["frobnicate"], ["info", "--nonsense"], ["collapse"], ["train", "--steps", "many"]]
)
def test_arguments_that_argparse_rejects_exit_with_2(argv: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(argv)
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    command = f"sesr-ref {argv[0]}" if argv[0] in cli.COMMANDS else "sesr-ref"
    assert out == ""
    assert err.startswith(f"{command}: ")
    assert err.endswith(f" (see {command} --help)\n")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["info", "nothing-like-it"], "no such file and no shipped network"),
        (["info", "sesr-m0-x2"], "blocks must be an integer from 1 to 1000, got 0"),
        (["info", "sesr-m5-x3"], "upscale must be a power of two"),
        (["collapse", "none.npz", "-o", "x.npz"], "none.npz: no such file"),
        (["collapse", "none.npz", "-o", "x.onnx"], "x.onnx: the suffix must be .npz"),
        (["train", "--data", "none", "--out", "out", "--lr", "0"], "lr must be positive, got 0.0"),
        (
            ["train", "--data", "none", "--out", "out", "--blocks", "0"],
            "blocks must be an integer from 1 to 1000",
        ),
        (["train", "--data", "none", "--out", "out"], "none: no such folder"),
        (["train", "--data", "images", "--val", "none", "--out", "out"], "none: no such folder"),
        (["evaluate", "--data", "none"], "none: no such folder"),
    ],
)
def test_a_users_mistake_is_one_line_on_stderr_and_2(
    argv: list[str], message: str, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SESR_CACHE_DIR", str(tmp_path / "cold"))  # and nothing was compiled for it
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "one.png").touch()
    assert cli.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_a_broken_file_of_weights_is_one_line_too(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "w.npz"
    path.write_bytes(b"nonsense")
    assert cli.main(["info", str(path)]) == 2
    assert "w.npz: not an .npz file" in capsys.readouterr().err


def test_a_traceback_is_printed_on_request(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SESR_REF_TRACEBACK", "1")
    assert cli.main(["info", "nothing"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_info_describes_files_architectures_and_json(tmp_path: Path, capsys: Capture) -> None:
    described = tmp_path / "net.json"
    described.write_text(sr.fsrcnn(3).to_json())
    for model, expected in (
        (str(saved(tmp_path / "a.npz")), "sesr-m1-f3-x2: x2"),
        ("sesr-xl-x4", "halo 15 pixels"),
        ("sesr-m3-x4-npu", "sesr-m3-x4-npu: x4"),
        (str(described), "fsrcnn-x3: x3, 12"),
    ):
        assert cli.main(["info", model]) == 0
        assert expected in capsys.readouterr().out


def test_collapse_writes_the_small_network(tmp_path: Path, capsys: Capture) -> None:
    source, target = saved(tmp_path / "a.npz"), tmp_path / "b.npz"
    assert cli.main(["collapse", str(source), "-o", str(target)]) == 0
    net, params = sr.load(source)
    small, weights = sr.load(target)
    assert small == sr.collapsed(net)
    expected = sr.collapse_params(net, params)
    assert all(abs(weights[name] - expected[name]).max() < 1e-7 for name in expected)
    capsys.readouterr()
    assert cli.main(["collapse", str(source), "-o", str(target)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert cli.main(["collapse", str(source), "-o", str(target), "--overwrite"]) == 0


def test_a_reader_that_stops_reading_causes_no_error() -> None:
    command = f"{sys.executable} -m sesr_ref info sesr-m100-x2 | head -n 1"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": "kernels:weights", "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.startswith("sesr-m100-x2")


@pytest.mark.skipif(sys.platform == "win32", reason="pipes without readers are an error there")
def test_output_without_a_reader_exits_with_141() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as stream:
        done = subprocess.run(
            [sys.executable, "-m", "sesr_ref", "info", "sesr-m3-x2"],
            stdout=stream,
            stderr=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (141, b"")


def test_an_interrupt_exits_with_130(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def interrupted(args: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("sesr_ref.commands.info.run", interrupted)
    assert cli.main(["info", "x"]) == 130
    assert "interrupted" in capsys.readouterr().err


INTERRUPTED = """
import os, signal, sys
class CtrlC:
    def find_spec(self, name, *_):
        if name == {!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.modules.pop("datetime", None)
sys.meta_path.insert(0, CtrlC())
import sesr_ref_main
raise SystemExit(sesr_ref_main.main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends the signal of Ctrl-C")
@pytest.mark.parametrize("module", ["numpy", "datetime", "sesr_ref.commands.upscale"])
def test_an_interrupt_while_anything_is_imported_exits_with_130_and_one_line(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED.format(module)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PYTHONPATH": "."},
    )
    assert (done.returncode, done.stderr) == (130, "sesr-ref: interrupted\n")


def test_an_interrupt_while_commands_are_imported_exits_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sesr_ref.cli._module", interrupted)
    assert cli.main(["info", "x"]) == 130
    assert capsys.readouterr().err == "sesr-ref: interrupted\n"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell that closes streams")
@pytest.mark.parametrize(
    ("arguments", "code", "out", "err"),
    [
        ("info sesr-m3-x2 >&-", 0, "", ""),
        ("info sesr-m3-x2 2>&-", 0, "sesr-m3-x2: x2", ""),
        ("info nothing >&-", 2, "", "sesr-ref info: nothing"),
        ("info nothing 2>&-", 2, "", ""),
        ("info --nonsense >&- 2>&-", 2, "", ""),
    ],
)
def test_closed_streams_change_no_exit_code(arguments: str, code: int, out: str, err: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m sesr_ref {arguments}"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PYTHONPATH": "kernels:weights", "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == code
    for stream, expected in ((done.stdout, out), (done.stderr, err)):
        assert stream.startswith(expected)
        assert stream if expected else not stream


def test_tables_are_aligned_and_progress_is_silent_without_a_terminal(capsys: Capture) -> None:
    console.print_table("title", ("a", "value"), [("x", 1), ("long", 12)])
    assert capsys.readouterr().out == "title\na     value\n----  -----\nx         1\nlong     12\n"
    with console.progress(3, "work") as update:
        update(1, "one")
    assert capsys.readouterr().err == ""


def test_json_has_no_numbers_that_json_cannot_represent(capsys: Capture) -> None:
    console.print_json({"a": float("nan"), "b": [float("inf"), 1.5], "c": Path("x")})
    assert (
        capsys.readouterr().out
        == '{\n  "a": null,\n  "b": [\n    null,\n    1.5\n  ],\n  "c": "x"\n}\n'
    )


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (75.2, "1:15"), (7322, "2:02:02")])
def test_durations_are_printed_in_minutes_and_hours(seconds: float, text: str) -> None:
    assert console.duration(seconds) == text


def test_info_without_a_model_lists_networks_with_weights_and_without(capsys: Capture) -> None:
    assert cli.main(["info"]) == 0
    listed, _, known = capsys.readouterr().out.partition("Known by name")
    assert "sesr-m5-x2-npu" in listed
    names = {"sesr-m11-x{2,4}", "btsrn-code-x{2,4}", "ecbsr-m16c64-x{2,4}", "span-x{2,4}"}
    assert names <= set(" ".join(known.split()).partition("): ")[2].split(", "))


def test_info_counts_every_architecture(capsys: Capture) -> None:
    assert cli.main(["info", "--architectures"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("for an output of 1280 x 720")
    (row,) = (line for line in lines if line.startswith("etds-t-x{2,4} "))
    assert " ".join(row.split()[1:]) == "RGB 13.82 / 3.185 21.17 / 1.219 Chao et al. 2023"
    assert cli.main(["info", "--architectures", "--json"]) == 0
    found = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert set(found) == set(sr.architectures())
    assert (found["xlsr-x4"]["parameters"], found["xlsr-x4"]["channels"]) == (27664, 3)
    assert cli.main(["info", "xlsr-x4", "--architectures"]) == 2
    assert "leave the other arguments out" in capsys.readouterr().err


def test_info_counts_the_parameters_inside_a_block(capsys: Capture) -> None:
    assert cli.main(["info", "ecbsr-m4c8-x2", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row["parameters"] for row in facts["layers"]}
    shapes = sr.architecture("ecbsr-m4c8-x2").param_shapes().items()
    assert rows["block0"] == sum(math.prod(s) for k, s in shapes if k.startswith("block0."))
    assert facts["parameters"] == sum(rows.values())
