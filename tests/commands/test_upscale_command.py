"""sesr-ref upscale: what is written where, what is rejected, and that nothing is lost."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sesr_ref as sr
from sesr_ref.cli import main
from sesr_ref.images import Pixels

pytest.importorskip("imageio")
Capture = pytest.CaptureFixture[str]
ROOT = Path(__file__).resolve().parents[2]


def _pixels(height: int = 7, width: int = 9, channels: int = 3) -> Pixels:
    rng = np.random.default_rng(height * 100 + width)
    pixels: Pixels = rng.integers(0, 256, (height, width, channels), np.uint8)
    return pixels


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with a small network in model.npz beside it."""
    net = sr.sesr(blocks=1, features=4, expand=4)
    sr.save(tmp_path / "model.npz", net, sr.initialise(net, seed=1))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def upscale(*arguments: str) -> int:
    return main(["upscale", *arguments, "-n", "../model.npz", "--engine", "reference"])


def tree(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def test_one_file_becomes_one_file(here: Path, capsys: Capture) -> None:
    sr.write_image("in.png", _pixels())
    assert upscale("in.png", "-o", "out.png") == 0
    net, params = sr.load("../model.npz")
    expected = sr.upscale_image(_pixels(), net, params)
    np.testing.assert_array_equal(sr.read_image("out.png").pixels, expected)
    output = capsys.readouterr()
    assert output.out.startswith("out.png  18 x 14  ")
    assert output.err == ""
    assert tree(here) == {"in.png", "out.png"}


@pytest.mark.parametrize("out", ["results", "results/", "old"])
def test_an_output_without_a_suffix_is_a_folder(here: Path, out: str) -> None:
    (here / "old").mkdir()
    sr.write_image("in.jpg", _pixels())
    assert upscale("in.jpg", "-o", out) == 0
    assert tree(here) == {"in.jpg", f"{Path(out).name}/in.jpg"}


def test_a_folder_keeps_its_tree(here: Path, capsys: Capture) -> None:
    for name in ("a.png", "sub/b.jpg", "sub/deep/c.TIF", ".hidden/d.png", "sub/.e.png"):
        (here / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        sr.write_image(here / "in" / name, _pixels())
    (here / "in/notes.txt").write_text("no image")
    assert upscale("in", "-o", "out") == 0
    assert tree(here / "out") == {"a.png", "sub/b.jpg", "sub/deep/c.TIF"}
    assert capsys.readouterr().out.splitlines()[-1] == "3 written"


def test_files_and_folders_go_to_one_folder_in_the_format_asked(here: Path) -> None:
    (here / "in").mkdir()
    sr.write_image("in/a.bmp", _pixels())
    sr.write_image("b.jpg", _pixels())
    assert upscale("in", "b.jpg", "-o", "out", "-f", "webp") == 0
    assert tree(here / "out") == {"a.webp", "b.webp"}
    assert sr.read_image("out/a.webp").format == "webp"


def test_an_output_folder_inside_the_input_is_not_read(here: Path) -> None:
    sr.write_image("a.png", _pixels())
    for _ in range(2):
        assert upscale(".", "-o", "big") == 0
    assert tree(here) == {"a.png", "big/a.png"}


def test_outputs_that_exist_are_skipped_in_a_folder_and_counted(
    here: Path, capsys: Capture
) -> None:
    (here / "out").mkdir()
    for name in ("a.png", "b.png"):
        sr.write_image(name, _pixels())
    (here / "out/a.png").write_bytes(b"precious")
    assert upscale("a.png", "b.png", "-o", "out") == 0
    assert (here / "out/a.png").read_bytes() == b"precious"
    expected = "1 written, 1 skipped (exist already; --overwrite replaces them)"
    assert capsys.readouterr().out.splitlines()[-1] == expected
    assert upscale("a.png", "b.png", "-o", "out", "--overwrite") == 0
    assert sr.read_image("out/a.png").pixels.shape == (14, 18, 3)


def test_a_single_output_that_exists_is_a_mistake(here: Path, capsys: Capture) -> None:
    sr.write_image("a.png", _pixels())
    (here / "b.png").write_bytes(b"precious")
    assert upscale("a.png", "-o", "b.png") == 2
    assert "b.png exists already (--overwrite replaces it)" in capsys.readouterr().err
    assert (here / "b.png").read_bytes() == b"precious"
    assert upscale("a.png", "-o", "b.png", "--overwrite") == 0


def test_a_bad_image_among_others_is_named_and_the_others_are_done(
    here: Path, capsys: Capture
) -> None:
    (here / "in").mkdir()
    sr.write_image("in/a.png", _pixels())
    (here / "in/b.png").write_bytes((here / "in/a.png").read_bytes()[:60])
    sr.write_image("in/c.png", _pixels())
    assert upscale("in", "-o", "out", "--json") == 2
    output = capsys.readouterr()
    assert len(output.err.splitlines()) == 1
    assert "in/b.png: damaged" in output.err
    answer = json.loads(output.out)
    assert [entry["output"] for entry in answer["written"]] == ["out/a.png", "out/c.png"]
    assert [entry["input"] for entry in answer["failed"]] == ["in/b.png"]
    assert tree(here / "out") == {"a.png", "c.png"}


def test_json_states_what_was_done(here: Path, capsys: Capture) -> None:
    sr.write_image("a.png", _pixels().astype(np.uint16) * 257)
    sr.write_image("b.png", _pixels(5, 4))
    (here / "out").mkdir()
    (here / "out/b.jpg").touch()
    assert upscale("a.png", "b.png", "-o", "out", "-f", "jpg", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["model"].startswith("sesr-m1")
    assert (answer["upscale"], answer["engine"]) == (2, "reference")
    (written,) = answer["written"]
    assert (written["width"], written["height"]) == (18, 14)
    assert written["notices"] == [
        "uint16 samples are stored as uint8, the deepest that jpeg supports"
    ]
    assert answer["skipped"] == ["out/b.jpg"]
    assert answer["failed"] == []


def test_sixteen_bit_transparency_and_profile_are_kept(here: Path) -> None:
    cms = pytest.importorskip("PIL.ImageCms")
    profile = bytes(cms.ImageCmsProfile(cms.createProfile("sRGB")).tobytes())
    pixels = _pixels(channels=4).astype(np.uint16) * 257
    sr.write_image("a.png", pixels, icc_profile=profile)
    assert upscale("a.png", "-o", "b.tif", "--tile", "4") == 0
    got = sr.read_image("b.tif")
    assert got.pixels.shape == (14, 18, 4)
    assert got.pixels.dtype == np.dtype(np.uint16)
    assert got.icc_profile == profile


def several(folder: Path, count: int = 5) -> None:
    folder.mkdir()
    for i in range(count):
        sr.write_image(folder / f"{i}.png", _pixels(20 + i, 31))
    (folder / "bad.png").write_text("no image")


def test_processes_write_what_one_does_in_the_same_order(
    here: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sesr_ref.workers.processes.START_SECONDS", 1e-9)  # one image
    several(here / "in")
    answers = []
    for jobs in ("1", "2"):
        assert upscale("in", "-o", jobs, "--jobs", jobs, "--json") == 2
        output = capsys.readouterr()
        assert output.err.startswith("sesr-ref upscale: in/bad.png: not an image")
        assert output.err.count("\n") == 1
        answer = json.loads(output.out)
        for entry in answer["written"]:
            entry.pop("seconds")
            entry["output"] = Path(entry["output"]).name
        answers.append(answer)
    assert answers[0] == answers[1]
    assert len(answers[0]["written"]) == 5
    for name in tree(here / "1"):
        assert (here / "1" / name).read_bytes() == (here / "2" / name).read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--jobs", "0"], "--jobs must be 1 to 1024, got 0"),
        (["--jobs", "2", "--cluster", "tcp://x:1"], "not both"),
    ],
)
def test_workers_that_make_no_sense_are_a_mistake(
    here: Path, capsys: Capture, options: list[str], message: str
) -> None:
    sr.write_image("a.png", _pixels())
    assert upscale("a.png", "-o", "out", *options) == 2
    assert message in capsys.readouterr().err
    assert tree(here) == {"a.png"}


MISTAKES = {
    "missing input": (["none.png", "-o", "x.png"], "none.png: no such file or folder"),
    "not an image": (["text.png", "-o", "x.png"], "text.png: not an image"),
    "too large": (["a.png", "-o", "x.png", "--max-pixels", "62"], "63 pixels, more than the limit"),
    "unknown suffix": (["a.png", "-o", "x.gif"], "the suffix must be one of .png"),
    "suffix against format": (
        ["a.png", "-o", "x.png", "-f", "jpg"],
        "the suffix must be that of jpeg (--format), got 'png'",
    ),
    "no folder": (["a.png", "-o", "none/x.png"], "none: the folder to write to does not exist"),
    "several into a file": (
        ["a.png", "b.png", "-o", "x.png"],
        "is the name of a file, but the output of",
    ),
    "folder into a file": (["sub", "-o", "x.png"], "is the name of a file, but the output of"),
    "into a file as a folder": (
        ["a.png", "b.png", "-o", "text.png"],
        "text.png is a file, but the output",
    ),
    "onto itself": (["a.png", "-o", "a.png", "--overwrite"], "a.png is also an input"),
    "folder onto itself": (["sub", "-o", "sub", "--overwrite"], "is also an input"),
    "two of one name": (["a.png", "sub/a.png", "-o", "x"], "would both become x/a.png"),
    "two of one stem": (["b.png", "b.jpg", "-o", "x", "-f", "png"], "would both become x/b.png"),
    "empty folder": (["empty", "-o", "x"], "empty contains no image"),
    "transparency in jpeg": (["rgba.png", "-o", "x.jpg"], "jpeg cannot hold transparency"),
    "tile": (["a.png", "-o", "x.png", "--tile", "0"], "--tile must be 1 or more, got 0"),
    "quality": (["a.png", "-o", "x.jpg", "--quality", "101"], "--quality must be 1 to 100"),
    "limit": (
        ["a.png", "-o", "x.jpg", "--max-pixels", "0"],
        "--max-pixels must be 1 or more, got 0",
    ),
    "other enlargement": (["a.png", "-o", "x.png", "-s", "4"], "must be 2, got 4"),
    "empty output": (["a.png", "-o", ""], "the name of an input or of the output is empty"),
    "empty input": (["", "-o", "x.png"], "the name of an input or of the output is empty"),
    "a suffix alone": (["a.png", "-o", ".png"], ".png is a suffix without a name before it"),
    "a pipe": (["pipe.png", "-o", "x.png"], "pipe.png is not a regular file"),
    "a link to itself": (["a.png", "-o", "loop.png"], "loop.png exists already"),
    "a link to itself as a folder": (["a.png", "b.png", "-o", "loop.png"], "is a file, but"),
    "a link to nothing": (["a.png", "-o", "dangling.png"], "dangling.png exists already"),
    "target is a folder": (["text", "a.png", "-o", "full"], "full/a.png is a folder"),
}


@pytest.mark.skipif(os.name != "posix", reason="makes pipes and links")
@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line_and_writes_nothing(here: Path, capsys: Capture, case: str) -> None:
    for folder in ("sub", "empty", "full/a.png"):
        (here / folder).mkdir(parents=True)
    for name in ("a.png", "b.png", "b.jpg", "sub/a.png", "text"):
        sr.write_image(here / f"{name}.png" if name == "text" else here / name, _pixels())
    (here / "text.png").rename(here / "text")
    sr.write_image("rgba.png", _pixels(channels=4))
    (here / "text.png").write_text("no image")
    os.mkfifo("pipe.png")
    Path("loop.png").symlink_to("loop.png")
    Path("dangling.png").symlink_to("nothing")
    before = {name: (here / name).read_bytes() for name in tree(here)}
    arguments, message = MISTAKES[case]
    assert upscale(*arguments) == 2
    output = capsys.readouterr()
    assert message in output.err
    assert output.err.startswith("sesr-ref upscale: ")
    assert len(output.err.splitlines()) == 1
    assert {name: (here / name).read_bytes() for name in tree(here)} == before


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, "NaN or infinite values"), (255.0, r"must be in [0, 1], got (255.0, 255.0)")],
)
def test_floats_outside_the_pixel_range_are_rejected_by_name(
    here: Path, capsys: Capture, value: float, message: str
) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite("a.tif", np.full((9, 8), value, np.float32))
    assert upscale("a.tif", "-o", "b.tif") == 2
    error = capsys.readouterr().err
    assert error.startswith("sesr-ref upscale: a.tif: ")
    assert message in error
    assert tree(here) == {"a.tif"}


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_file_whose_reading_fails_is_named(here: Path, capsys: Capture) -> None:
    assert upscale("/proc/self/mem", "-o", "x.png") == 2
    assert capsys.readouterr().err == "sesr-ref upscale: /proc/self/mem: Input/output error\n"


def test_a_read_only_disk_stops_at_the_first_image(
    here: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "b.png"):
        sr.write_image(name, _pixels())

    def read_only(dir: Path) -> None:  # noqa: A002
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "temporary name")

    monkeypatch.setattr("tempfile.TemporaryFile", read_only)
    assert upscale("a.png", "b.png", "-o", "out") == 2
    assert capsys.readouterr().err == "sesr-ref upscale: out: Read-only file system\n"


def test_an_output_that_another_program_writes_meanwhile_is_skipped(
    here: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "b.png"):
        sr.write_image(name, _pixels())

    def slow(*arguments: Any) -> Pixels:
        Path("out/a.png").write_bytes(b"theirs")
        return _pixels()

    monkeypatch.setattr("sesr_ref.commands.upscale.enlarge_image", slow)
    assert upscale("a.png", "b.png", "-o", "out") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("1 written, 1 skipped")
    assert Path("out/a.png").read_bytes() == b"theirs"


def test_a_quality_without_effect_is_reported(here: Path, capsys: Capture) -> None:
    sr.write_image("a.png", _pixels())
    assert upscale("a.png", "-o", "b.png", "-q", "50") == 0
    assert capsys.readouterr().err == "--quality has no effect for png\n"
    assert upscale("a.png", "-o", "b.jpg", "-q", "50") == 0
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder_is_named(here: Path, capsys: Capture) -> None:
    sr.write_image("a.png", _pixels())
    (here / "out").mkdir(mode=0o555)
    assert upscale("a.png", "-o", "out/a.png") == 2
    assert "out: Permission denied" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text elsewhere")
def test_a_name_that_is_not_valid_text_is_printed_all_the_same(here: Path) -> None:
    folder = os.fsdecode(b"in\xff")
    Path(folder).mkdir()
    sr.write_image(here / folder / "a.png", _pixels())
    process = _start("upscale", folder, "-o", folder + "-out", "-n", "../model.npz")
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert (here / (folder + "-out") / "a.png").exists()


def _start(*arguments: str, code: str = "") -> subprocess.Popen[str]:
    program = f"{code}\nfrom sesr_ref.cli import main\nraise SystemExit(main({list(arguments)}))"
    paths = [str(ROOT), str(ROOT / "kernels"), str(ROOT / "weights")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONIOENCODING": "utf-8:strict",
    }
    return subprocess.Popen(
        [sys.executable, "-c", program], env=environment, text=True, stderr=subprocess.PIPE
    )


SMALL_DISK = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))"


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs a limit on file sizes")
def test_a_file_that_cannot_be_finished_is_not_left_behind(here: Path) -> None:
    sr.write_image("a.png", _pixels(200, 150))
    (here / "b.png").write_bytes(b"precious")
    process = _start(
        "upscale", "a.png", "-o", "b.png", "-n", "../model.npz", "--overwrite", code=SMALL_DISK
    )
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors.strip() == "sesr-ref upscale: b.png: File too large"
    assert (here / "b.png").read_bytes() == b"precious"
    assert tree(here) == {"a.png", "b.png"}


SLOW = """
import time, {module} as module
def wait(stream, *args, **options):
    if hasattr(stream, "write"):
        stream.write(b"half")
    open("started", "w").close()
    time.sleep(60)
module.{function} = wait
"""


@pytest.mark.skipif(os.name != "posix", reason="sends the signal of Ctrl-C")
@pytest.mark.parametrize(
    ("module", "function"),
    [("sesr_ref.commands.upscale", "enlarge_image"), ("sesr_ref.images.encode", "encode")],
)
def test_ctrl_c_leaves_no_half_file(here: Path, module: str, function: str) -> None:
    sr.write_image("a.png", _pixels())
    arguments = ["upscale", "a.png", "-o", "b.png", "-n", "../model.npz", "--engine", "reference"]
    process = _start(*arguments, code=SLOW.format(module=module, function=function))
    deadline = time.monotonic() + 60
    while not (here / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip() == "sesr-ref: interrupted"
    assert tree(here) == {"a.png", "started"}
