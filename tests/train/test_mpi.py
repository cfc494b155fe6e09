"""mpiexec -n N sesr-ref train --mpi: the bits of one process, and an end that is told in a line."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sesr_ref.cli import main
from sesr_ref.images import write_image
from sesr_ref.train.checkpoint import described

pytest.importorskip("numba")
pytest.importorskip("imageio")
pytest.importorskip("mpi4py")
MPIEXEC = shutil.which(
    "mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(MPIEXEC is None or os.name != "posix", reason="needs mpiexec"),
]
ROOT = Path(__file__).resolve().parents[2]
PATHS = [str(ROOT / part) for part in (".", "kernels", "weights", "tests")]
NETWORK = ["--blocks", "1", "--features", "3", "--expand", "4", "--crop", "8", "--lr", "1e-3"]
FILES = ("checkpoint.npz", "weights.npz", "log.jsonl", "best.npz")
LINES_OF_MPIEXEC = "[mpiexec@"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for i in range(3):
        pixels = np.random.default_rng(i).integers(16, 236, (40 + i, 50), dtype=np.uint8)
        write_image(folder / f"{i}.png", pixels)
    return folder


def words(data: Path, out: Path, *options: str) -> list[str]:
    given = ["--data", str(data), "--val", str(data), "--out", str(out), "--engine", "fast"]
    return ["train", *given, *NETWORK, "--validate-every", "4", "--threads", "1", *options]


def start(count: int, arguments: list[str], code: str = "") -> subprocess.Popen[str]:
    """Start ranks, each of which first runs some code."""
    program = f"{code}\nfrom sesr_ref.cli import main\nraise SystemExit(main({arguments!r}))"
    assert MPIEXEC is not None
    return subprocess.Popen(
        [MPIEXEC, "-n", str(count), sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(PATHS), "OPENBLAS_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    """Exit code, and the lines on standard error that are not mpiexec's own."""
    _, errors = process.communicate(timeout=120)
    lines = errors.splitlines()
    return process.returncode, [line for line in lines if not line.startswith(LINES_OF_MPIEXEC)]


def contents(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in FILES}


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("batch", ["17", "256"])
def test_ranks_have_the_bits_of_one_process(
    data: Path, tmp_path: Path, count: int, batch: str
) -> None:
    options = ["--steps", "8", "--batch", batch, "--amsgrad", "--average", "0.9"]
    assert main(words(data, tmp_path / "one", *options)) == 0
    code, errors = ended(start(count, words(data, tmp_path / "many", *options, "--mpi")))
    assert (code, errors) == (0, [])
    assert contents(tmp_path / "one") == contents(tmp_path / "many")
    assert f'"ranks": {count}' in (tmp_path / "many" / "run.json").read_text()
    assert "--mpi" not in (tmp_path / "many" / "run.json").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_ranks_that_are_stopped_resume_in_another_number_to_the_same_bits(
    data: Path, tmp_path: Path, number: signal.Signals
) -> None:
    options = ["--steps", "120", "--batch", "16", "--checkpoint-every", "8"]
    assert main(words(data, tmp_path / "one", *options)) == 0
    note = f"import os; os.symlink(str(os.getpid()), '{tmp_path}/' + os.environ['PMI_RANK'])"
    run = start(2, words(data, tmp_path / "many", *options, "--mpi"), note)
    until(lambda: (tmp_path / "many" / "checkpoint.npz").exists())
    pids = [int((tmp_path / rank).readlink().name) for rank in "01"]
    if number == signal.SIGKILL:
        os.kill(pids[1], number)
    else:
        run.send_signal(number)
    begun = time.monotonic()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    assert time.monotonic() - begun < 10  # mpiexec ends them; docs/cluster.md states how soon
    code, errors = ended(run)
    if number != signal.SIGKILL:
        assert (code, errors) == (130, ["sesr-ref: interrupted"])
    assert code != 0
    assert not (tmp_path / "many" / "weights.npz").exists()
    again = start(3, [*words(data, tmp_path / "many", *options, "--mpi"), "--resume"])
    assert ended(again) == (0, [])
    assert contents(tmp_path / "one") == contents(tmp_path / "many")


def test_a_stopped_training_has_a_checkpoint_of_the_very_step(data: Path, tmp_path: Path) -> None:
    options = ["--batch", "16", "--checkpoint-every", "0", "--steps"]
    run = start(2, words(data, tmp_path / "many", *options, "100000", "--mpi"))
    until(lambda: (tmp_path / "many" / "log.jsonl").exists())
    run.send_signal(signal.SIGINT)
    assert ended(run) == (130, ["sesr-ref: interrupted"])
    step = described(tmp_path / "many" / "checkpoint.npz")["step"]
    assert step >= 4
    more = str(step + 3)
    again = start(2, words(data, tmp_path / "many", *options, more, "--mpi", "--resume"))
    code, errors = ended(again)
    assert code == 0
    assert errors == [f"{more} steps instead of 100000: at a constant rate as if it always were"]
    assert main(words(data, tmp_path / "one", *options, more)) == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "many")


SMALL_DISK = """
import os, resource
from sesr_ref.train.run import Run
write = Run.write_checkpoint
def limited(self):
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
    write(self)
Run.write_checkpoint = limited
"""
NUDGE = """
import os
from sesr_ref.train.run import Run
advance = Run.advance
def other(self, pairs):
    loss = advance(self, pairs)
    self.adam.state["weights"][7] += 1e-6
    return loss
if os.environ["PMI_RANK"] == "1":
    Run.advance = other
"""


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ([], "", "mpiexec has started 2 processes, which would all do the same: --mpi makes them"),
        (["--mpi", "--batch", "1"], "", "a batch of 1 images has parts for 1 ranks at most"),
        (["--mpi", "--engine", "reference"], "", "ranks need the kernels (--engine fast)"),
        (["--mpi", "--lr", "1e30"], "", "the loss is nan at step"),
        (["--mpi"], SMALL_DISK, "checkpoint.npz: File too large"),
        (["--mpi"], NUDGE, "rank 1 of 2 has other weights (its processor or libraries round"),
        (["--mpi", "--data", "/nowhere"], "", "sesr-ref train: /nowhere: no such folder"),
    ],
)
def test_what_goes_wrong_is_one_line_and_exit_code_2(
    data: Path, tmp_path: Path, options: list[str], code: str, said: str
) -> None:
    assert main(words(data, tmp_path / "first", "--steps", "1", "--batch", "2")) == 0
    arguments = words(data, tmp_path / "out", "--steps", "6", "--batch", "16", *options)
    returned, errors = ended(start(2, arguments, code))
    assert returned == 2, errors
    assert len(errors) == 1
    assert said in errors[0]


def test_what_is_wrong_on_one_rank_alone_names_it(data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write_image(other / "a.png", np.full((40, 50), 99, np.uint8))
    program = (
        "import os, sys\n"
        "from sesr_ref.cli import main\n"
        f"a = {words(data, tmp_path / 'out', '--steps', '6', '--batch', '16', '--mpi')!r}\n"
        "if os.environ['PMI_RANK'] == '1': a[a.index('--data') + 1] = {folder!r}\n"
        "raise SystemExit(main(a))"
    )
    returned, errors = ended(start(2, [], program.format(folder=str(other))))
    assert (returned, len(errors)) == (2, 1)
    assert "rank 1 of 2 has other data than rank 0" in errors[0]
    returned, errors = ended(start(2, [], program.format(folder="/nowhere")))
    assert (returned, errors) == (2, ["sesr-ref train: rank 1 of 2: /nowhere: no such folder"])
