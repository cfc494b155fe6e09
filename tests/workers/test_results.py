"""Jobs are done once and completely, wherever, and whatever becomes of those who do them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import work_for_workers as work
from sesr_ref.workers import Here, Place, Processes, WorkerLost, results
from sesr_ref.workers import processes as module

PLACES = [Here(), Processes(2), Processes(3, short=True)]
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_each_job_is_done_once(place: Place) -> None:
    found = list(results(work.process_of, range(11), place))
    assert sorted(job for job, _ in found) == list(range(11))
    assert all(job == result[0] for job, result in found)


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_no_job_is_nothing_to_do(place: Place) -> None:
    assert list(results(work.process_of, [], place)) == []


def test_jobs_here_are_done_in_their_order_when_they_are_asked_for() -> None:
    begun = []

    def jobs() -> Iterator[int]:
        for number in range(4):
            begun.append(number)
            yield number

    found = results(work.process_of, jobs(), Here())
    assert [next(found)[0], next(found)[0]] == [0, 1]
    assert begun == [0, 1]


def test_processes_share_the_jobs() -> None:
    used = set[int]()
    for _, (_, process) in results(work.process_of, range(3000), Processes(2)):
        used.add(process)
        if len(used) == 2:
            break
    assert len(used - {os.getpid()}) == 2


def test_short_work_is_done_without_a_process() -> None:
    place = Processes(2, short=True)
    used = {process for _, (_, process) in results(work.process_of, range(5), place)}
    assert used == {os.getpid()}


def test_short_jobs_that_are_many_are_begun_here_and_ended_by_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "START_SECONDS", 0.1)
    place = Processes(2, short=True)
    used = list[int]()
    for _, (_, process) in results(work.process_of, range(3000), place):
        used.append(process)
        if process != used[0]:
            break
    assert used[0] == os.getpid()
    assert len(set(used)) == 2


def test_processes_share_the_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "processors", lambda: 7)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    ((_, found),) = results(work.threads_of, [0], Processes(3))
    assert found == {"OMP_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "2"}
    assert os.environ["OMP_NUM_THREADS"] == "5"
    assert "NUMBA_NUM_THREADS" not in os.environ


@pytest.mark.parametrize("limit", ["1", "OMP_NUM_THREADS"])
def test_the_environment_limits_the_processors(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setenv("NUMBA_NUM_THREADS", limit)
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    assert module.processors() == (1 if limit == "1" else module.processors())
    assert module.processors() >= 1


@pytest.mark.parametrize("place", [Here(), Processes(2)], ids=str)
def test_an_error_of_a_job_is_its_result_and_the_others_are_done(place: Place) -> None:
    kinds = [ValueError, OSError, FloatingPointError, MemoryError]
    found = dict(results(work.raises, kinds, place))
    assert {kind: type(error) for kind, error in found.items()} == dict(
        zip(kinds, kinds, strict=True)
    )
    assert str(found[ValueError]) == "what went wrong"
    assert (found[OSError].errno, found[OSError].filename) == (28, "a.png")


@pytest.mark.parametrize("place", [Here(), Processes(2)], ids=str)
def test_an_error_that_nobody_expected_is_raised(place: Place) -> None:
    with pytest.raises(KeyError, match="what went wrong") as caught:
        list(results(work.raises, [KeyError], place))
    if place != Here():
        assert "in raises" in str(caught.value.__cause__)


def test_an_error_that_cannot_be_sent_is_told_in_words() -> None:
    ((_, error),) = results(work.raises_oddly, [0], Processes(1))
    assert type(error) is ValueError
    assert str(error) == "Odd: this and that"


@pytest.mark.skipif(os.name != "posix", reason="kills by a signal")
def test_a_job_whose_process_is_killed_is_done_again_and_given_up_after_three(
    tmp_path: Path,
) -> None:
    jobs = [tmp_path / f"{count}.txt" for count in (0, 1, 2, 3, 0)]
    jobs[4] = tmp_path / "00.txt"
    found = dict(results(work.kills, jobs, Processes(2)))
    assert [found[job] for job in (jobs[0], jobs[4])] == ["x\n", "x\n"]
    assert found[jobs[1]] == 2 * "x\n"
    assert found[jobs[2]] == 3 * "x\n"
    assert isinstance(found[jobs[3]], WorkerLost)
    assert "3 worker processes ended while they did it, the last by SIGKILL" in str(found[jobs[3]])
    assert jobs[3].read_text() == 3 * "x\n"


def test_a_job_may_wait_for_another_ones_result() -> None:
    known: set[int] = set()

    def jobs() -> Iterator[int | None]:
        for number in range(4):
            while number - 1 not in known and number > 0:
                yield None
            yield number

    for job, _ in results(work.process_of, jobs(), Processes(2)):
        assert known == set(range(job))
        known.add(job)
    assert len(known) == 4


def test_how_far_jobs_are_is_shown() -> None:
    seen = set[tuple[float, float]]()
    list(results(work.shows, [0.25, 0.5], Processes(2), lambda job, part: seen.add((job, part))))
    assert seen == {(0.25, 0.25), (0.5, 0.5)}


def test_work_that_no_worker_can_import_is_an_error() -> None:
    invented = types.ModuleType("invented_for_a_test")
    exec("def task(job, show): pass", invented.__dict__)
    sys.modules["invented_for_a_test"] = invented
    try:
        with pytest.raises(ModuleNotFoundError, match="invented_for_a_test"):
            list(results(invented.task, [0], Processes(1)))
    finally:
        del sys.modules["invented_for_a_test"]


def test_processes_that_cannot_begin_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "serve", sys.exit)
    with pytest.raises(ChildProcessError, match="ended before they began: exit code 1"):
        list(results(work.process_of, [0], Processes(2)))


def test_processes_end_when_nobody_asks_any_more(tmp_path: Path) -> None:
    found = results(work.process_of, range(1000), Processes(2))
    pids = {next(found)[1][1] for _ in range(8)}
    found.close()  # type: ignore[attr-defined]
    assert not any(_alive(pid) for pid in pids)


@pytest.mark.parametrize("count", [0, True, 2.0, 5000])
def test_the_number_of_processes_is_checked(count: Any) -> None:
    with pytest.raises(ValueError, match="number of processes must be an integer from 1"):
        Processes(count)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="sends signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("everywhere", [True, False])
def test_processes_end_with_the_command_however_it_ends(
    tmp_path: Path, number: signal.Signals, everywhere: bool
) -> None:
    paths = (ROOT, ROOT / "tests")
    command = subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "work_for_workers.py"), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    notes = [tmp_path / "a.pid", tmp_path / "b.pid"]
    _until(lambda: all(note.is_file() and note.read_text() for note in notes))
    pids = [int(note.read_text()) for note in notes]
    if everywhere and number == signal.SIGINT:  # as a terminal does
        os.killpg(command.pid, number)
    else:
        command.send_signal(number)
    assert command.stderr is not None
    told = command.stderr.read().decode()
    command.wait(timeout=30)
    command.stderr.close()
    _until(lambda: not any(_alive(pid) for pid in pids))
    assert all(note.with_suffix(".tidy").is_file() for note in notes)
    assert told.count("Traceback") == (1 if number == signal.SIGINT else 0), told
