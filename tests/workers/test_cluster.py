"""A Dask cluster (extra ``cluster``) does what one process does, whatever befalls its workers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sesr_ref as sr
import work_for_workers as work
from sesr_ref.cli import main
from sesr_ref.commands.train_work import Training
from sesr_ref.workers import Cluster, WorkerLost, results
from sesr_ref.workers import cluster as module

distributed = pytest.importorskip("distributed")
pytest.importorskip("imageio")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="kills by signals"),
    pytest.mark.filterwarnings("default"),  # Dask's own
]
Capture = pytest.CaptureFixture[str]
ROOT = Path(__file__).resolve().parents[2]
PATHS = [str(ROOT / part) for part in (".", "kernels", "weights", "tests")]


class Scheduler:
    """A scheduler and two workers of one thread, each a process of this machine."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        self.folder = folder
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", str(port))
        options = ("--nworkers", "2", "--nthreads", "1", "--memory-limit", "0")
        self.worker = self._start(
            "worker", self.address, *options, "--local-directory", str(folder)
        )
        self.wait()

    def wait(self) -> None:
        """Until both workers are there, perhaps again."""
        with self.client() as client:
            client.wait_for_workers(2, timeout=60)

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *words, "--no-dashboard"],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(PATHS)},
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def client(self) -> Any:
        return distributed.Client(self.address, timeout=60, set_as_default=False)

    def processes(self) -> list[int]:
        with self.client() as client:
            return list(client.run(os.getpid).values())

    def end(self) -> None:
        for process in (self.worker, self.scheduler):
            process.terminate()
        for process in (self.worker, self.scheduler):
            process.wait(timeout=60)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scheduler]:
    found = Scheduler(tmp_path_factory.mktemp("cluster"))
    yield found
    found.end()


@pytest.fixture
def cluster(whole: Scheduler) -> Scheduler:
    whole.wait()  # a test may have killed some
    return whole


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of images and a small network, of which no worker knows where it is."""
    net = sr.sesr(blocks=1, features=4, expand=4)
    sr.save(tmp_path / "model.npz", net, sr.initialise(net, seed=1))
    (tmp_path / "in").mkdir()
    for i in range(12):
        pixels = np.random.default_rng(i).integers(0, 256, (90 + i, 121, 3), np.uint8)
        sr.write_image(tmp_path / "in" / f"{i:02}.png", pixels)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def upscale(out: str, *options: str) -> int:
    words = ["upscale", "in", "-o", out, "-n", "model.npz", "--engine", "reference"]
    return main([*words, *options])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_jobs_are_shared_and_their_errors_are_results(cluster: Scheduler) -> None:
    place = Cluster(cluster.address)
    found = list(results(work.process_of, range(20), place))
    assert sorted(job for job, _ in found) == list(range(20))
    assert {process for _, (_, process) in found} == set(cluster.processes())
    ((_, error),) = results(work.raises, [OSError], place)
    assert (error.errno, error.filename) == (28, "a.png")
    with pytest.raises(KeyError, match="what went wrong"):
        list(results(work.raises, [KeyError], place))


def test_a_folder_is_enlarged_to_the_bytes_of_one_process(
    cluster: Scheduler, here: Path, capsys: Capture
) -> None:
    (here / "in/bad.png").write_text("no image")
    assert upscale("one", "--jobs", "1") == 2
    assert upscale("many", "--cluster", cluster.address) == 2
    output = capsys.readouterr()
    assert output.err.count("bad.png: not an image") == 2
    assert output.out.splitlines()[-1] == "12 written, 1 failed"
    assert contents(here / "one") == contents(here / "many")


def test_the_environment_names_the_cluster_unless_processes_are_asked_for(
    cluster: Scheduler, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:1")
    monkeypatch.setattr(module, "CONNECT_SECONDS", 1)
    assert upscale("none") == 2
    told = capsys.readouterr().err
    assert told == "sesr-ref upscale: no scheduler answers at tcp://127.0.0.1:1\n"
    assert upscale("one", "--jobs", "1") == 0
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", cluster.address)
    assert upscale("many") == 0
    assert contents(here / "one") == contents(here / "many")


def test_scores_are_those_of_one_process(cluster: Scheduler, here: Path, capsys: Capture) -> None:
    words = ["evaluate", "--data", "in", "-n", "model.npz", "--engine", "reference", "--json"]
    assert main([*words, "--jobs", "1"]) == 0
    one = capsys.readouterr().out
    assert main([*words, "--cluster", cluster.address]) == 0
    assert capsys.readouterr().out == one


def test_workers_that_are_killed_lose_nothing(cluster: Scheduler, here: Path) -> None:
    assert upscale("one", "--jobs", "1") == 0
    killed = []

    def kill() -> None:
        for written in (1, 5):
            while len(list((here / "many").glob("*.png"))) < written:
                time.sleep(0.01)
            killed.append(cluster.processes()[0])
            os.kill(killed[-1], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    (here / "many").mkdir()
    killer.start()
    assert upscale("many", "--cluster", cluster.address) == 0
    killer.join()
    assert len(set(killed)) == 2
    assert contents(here / "one") == contents(here / "many")


def test_a_training_resumes_on_another_worker_to_the_same_bits(
    cluster: Scheduler, here: Path
) -> None:
    options = "--blocks 1 --features 3 --expand 4 --batch 2 --crop 8 --checkpoint-every 10"

    def words(place: str, name: str, steps: int) -> tuple[str, ...]:
        rest = f"--steps {steps} --engine reference --data {here}/in --out {here}/{place}/{name}"
        return tuple(f"{options} {rest}".split())

    trainings = {"a": 400, "b": 300}
    for name, steps in trainings.items():
        assert main(["train", *words("one", name, steps)]) == 0
    jobs = [words("many", name, steps) for name, steps in trainings.items()]
    checkpoint = here / "many/a/checkpoint.npz"

    def kill() -> None:
        while not checkpoint.exists():
            time.sleep(0.01)
        for process in cluster.processes():
            os.kill(process, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    for _, result in results(Training(), jobs, Cluster(cluster.address)):
        assert result is None
    killer.join()
    for name in ("a", "b"):
        one, many = (here / place / name / "checkpoint.npz" for place in ("one", "many"))
        assert one.read_bytes() == many.read_bytes()
    parts = json.loads((here / "many/a/run.json").read_text())["runs"]
    assert len(parts) == 2


def test_a_job_that_ends_its_workers_is_given_up(cluster: Scheduler, tmp_path: Path) -> None:
    jobs = [tmp_path / "9.txt", tmp_path / "0.txt"]
    found = dict(results(work.kills, jobs, Cluster(cluster.address)))
    assert isinstance(found[jobs[0]], WorkerLost)
    assert str(found[jobs[0]]) == "given up: every worker that tried it was lost"
    assert found[jobs[1]] == "x\n"


def test_files_that_the_workers_do_not_see_are_said_to_be_here(
    cluster: Scheduler, here: Path, capsys: Capture
) -> None:
    seen_here = Path("/proc/self/cwd/in/00.png")  # the workers have another working folder
    if not seen_here.exists():
        pytest.skip("needs /proc")
    words = ["upscale", str(seen_here), "-o", "out", "-n", "model.npz", "--engine", "reference"]
    assert main([*words, "--cluster", cluster.address]) == 2
    told = capsys.readouterr().err
    assert f"the file is here, but {cluster.address}'s workers do not see it" in told
    assert told.count("\n") == 1


def test_a_worker_with_another_version_is_an_error(
    cluster: Scheduler, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(module, "version", lambda: "9.9")
    assert upscale("out", "--cluster", cluster.address) == 2
    told = capsys.readouterr().err
    assert f"workers of {cluster.address} need sesr-ref 9.9, as here: one has version" in told
    assert told.count("\n") == 1


def test_work_that_no_worker_can_import_is_an_error(cluster: Scheduler) -> None:
    invented = types.ModuleType("invented_for_a_test")
    exec("def task(job, show): pass", invented.__dict__)
    sys.modules["invented_for_a_test"] = invented
    try:
        with pytest.raises(ImportError, match="invented_for_a_test"):
            list(results(invented.task, [0], Cluster(cluster.address)))
    finally:
        del sys.modules["invented_for_a_test"]


@pytest.mark.parametrize("address", ["foo", "tcp://127.0.0.1", "http://x:1", "tls://127.0.0.1:1"])
def test_an_address_of_no_known_form_is_a_mistake(
    here: Path, capsys: Capture, address: str
) -> None:
    assert upscale("out", "--cluster", address) == 2
    told = capsys.readouterr().err
    assert f"'{address}' is not the address of a scheduler" in told
    assert told.count("\n") == 1


def test_a_scheduler_that_dies_is_one_line_and_the_rest_is_done_later(
    here: Path, tmp_path_factory: pytest.TempPathFactory, capsys: Capture
) -> None:
    own = Scheduler(tmp_path_factory.mktemp("own"))

    def kill() -> None:
        while not list((here / "many").glob("*.png")):
            time.sleep(0.01)
        own.scheduler.kill()

    (here / "many").mkdir()
    killer = threading.Thread(target=kill)
    killer.start()
    assert upscale("many", "--cluster", own.address) == 2
    killer.join()
    told = capsys.readouterr().err
    assert told.startswith(f"sesr-ref upscale: {own.address}: the connection to the scheduler is")
    assert told.count("\n") == 1
    own.end()
    assert upscale("many", "--jobs", "1") == 0
    assert upscale("one", "--jobs", "1") == 0
    assert contents(here / "one") == contents(here / "many")


def test_ctrl_c_lets_the_jobs_end_that_are_being_done(cluster: Scheduler, here: Path) -> None:
    for i in range(200):
        os.link(here / "in/00.png", here / f"in/more{i}.png")
    words = ["upscale", "in", "-o", "out", "-n", "model.npz", "--engine", "reference"]
    program = f"from sesr_ref.cli import main; raise SystemExit(main({words}))"
    command = subprocess.Popen(
        [sys.executable, "-c", program],
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join(PATHS), "DASK_SCHEDULER_ADDRESS": cluster.address},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    while not list((here / "out").glob("*.png")):
        assert command.poll() is None, command.communicate()
        time.sleep(0.01)
    command.send_signal(signal.SIGINT)
    _, told = command.communicate(timeout=60)
    assert (command.returncode, told) == (130, "sesr-ref: interrupted\n")
    time.sleep(1)
    count = len(list((here / "out").iterdir()))
    time.sleep(1)
    left = list((here / "out").iterdir())
    assert len(left) == count < 212
    assert all(path.suffix == ".png" for path in left)
