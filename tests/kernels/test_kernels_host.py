"""Instruction sets, disk cache, processes and threads, and life without Numba."""

from __future__ import annotations

import _thread
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import sesr_ref as sr
from checks import need_kernels, python, python_program
from networks_for_kernels import images, random_params
from sesr_ref.ops.arrays import Array, Params

need_kernels()

ROOT = Path(__file__).resolve().parents[2]
FEW = """
import sys
import numpy as np
import sesr_ref as sr
net = sr.Network("few", 2, 1, (sr.network.Conv("a", 9, 3), sr.network.PReLU("p"),
                               sr.network.Conv("b", 9, 3), sr.network.Conv("c", 4, 5),
                               sr.network.DepthToSpace("d", 2)))
rng = np.random.default_rng(0)
params = {k: (rng.standard_normal(s) / max(3, np.prod(s[:-1]) ** 0.5)).astype("f4")
          for k, s in net.param_shapes().items()}
x = rng.random((2, 9, 30, 1), np.float32)
ops = sr.fast(threads=2)
"""
CHECK = """
want = sr.run(net, params, x.astype("f8"))
assert ops.network(net, params, x) is not None
assert abs(sr.run(net, params, x, ops) - want).max() < 1e-5
t = rng.random((2, 18, 60, 1), np.float32)
_, got = sr.loss_and_grads(net, params, x, t, ops)
_, want = sr.loss_and_grads(net, {k: v.astype("f8") for k, v in params.items()}, x.astype("f8"),
                            t.astype("f8"))
for k in params:
    assert abs(got[k] - want[k]).max() < 1e-5, k
from sesr_kernels.machine.host import HOST
print(HOST.name)
"""


@pytest.mark.parametrize(
    ("features", "name"),
    [
        ("+avx512f,+avx2,+fma", "avx512"),
        ("+avx2,+fma,-avx512f", "avx2"),
        ("+avx2,-fma", "sse2"),
        ("", "sse2"),
    ],
)
def test_the_instruction_set_follows_the_features(features: str, name: str) -> None:
    from sesr_kernels.machine.host import choose

    assert choose("x86_64-unknown-linux-gnu", features).name == name


def test_other_processors_have_their_path_too() -> None:
    from sesr_kernels.machine.host import HOSTS, choose

    assert choose("aarch64-unknown-linux-gnu", "+neon").name == "neon"
    assert choose("arm64-apple-darwin", "").name == "neon"
    assert choose("riscv64-unknown-linux-gnu", "").name == "scalar"
    for host in HOSTS.values():  # a tile is whole vectors, its rows fit the margins
        assert host.tile % host.lanes == 0
        assert host.outs % 4 == host.outs % host.thin == 0
        assert 1 <= host.narrow < host.vectors


@pytest.mark.slow
@pytest.mark.parametrize("name", ["scalar", "neon", "avx512"])
def test_every_instruction_sets_blocks_give_the_same_results(name: str, tmp_path: Path) -> None:
    choice = f"from sesr_kernels.machine import host; host.HOST = host.HOSTS[{name!r}]\n"
    done = python(choice + FEW + CHECK, SESR_CACHE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [name]


def test_a_folder_that_cannot_be_written_costs_one_warning(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    code = "from sesr_kernels.blocks.prelu import prelu\nimport numpy as np\n" + (
        "print(prelu(np.full((1, 1, 1, 1), -2, 'f4'), np.full(1, .5, 'f4')).item())"
    )
    done = python(code, SESR_CACHE_DIR=str(blocked / "cache"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "-1.0"
    assert done.stderr.count("RuntimeWarning: compiled kernels are not kept") == 1


@pytest.mark.slow
def test_compiled_code_is_kept_and_found_again(tmp_path: Path) -> None:
    code = "from sesr_kernels.blocks import prelu as e\nimport numpy as np\n" + (
        "x = np.full((1, 1, 1, 1), -2, 'f4')\nprint(e.prelu(x, np.full(1, .5, 'f4')).item())\n"
        "print(sum(e._prelu.stats.cache_hits.values()))"
    )
    first = python(code, SESR_CACHE_DIR=str(tmp_path))
    assert first.stdout.split() == ["-1.0", "0"], first.stderr
    (folder,) = tmp_path.iterdir()
    assert any(path.suffix == ".nbi" for path in folder.iterdir())
    assert python(code, SESR_CACHE_DIR=str(tmp_path)).stdout.split() == ["-1.0", "1"]
    for path in folder.glob("*.nb*"):
        path.write_bytes(path.read_bytes()[:20])
    damaged = python(code, SESR_CACHE_DIR=str(tmp_path))
    assert damaged.stdout.split() == ["-1.0", "0"], damaged.stderr


def test_the_caches_name_changes_with_every_source_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sesr_kernels.machine import compiled

    before = compiled.stamp()
    copy = tmp_path / "sesr_kernels"
    shutil.copytree(compiled.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(compiled, "PACKAGE", copy)
    assert compiled.stamp.__wrapped__() == before
    (copy / "blocks" / "convolve.py").write_text("# changed\n")
    assert compiled.stamp.__wrapped__() != before


def test_a_forked_child_and_a_thread_run_the_same_kernels(rng: np.random.Generator) -> None:
    net = sr.sesr(1)
    params = random_params(net, rng)
    x, ops = images(net, rng, 2, 20, 30), sr.fast(threads=2)
    want = sr.run(net, params, x, ops=ops)
    results: list[bool] = []
    threads = [
        threading.Thread(
            target=lambda: results.append(bool((sr.run(net, params, x, ops=ops) == want).all()))
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 3


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_fork_after_use_works(tmp_path: Path) -> None:
    fork = (
        "import os\nwant = sr.run(net, params, x, ops)\nchild = os.fork()\n"
        "same = (sr.run(net, params, x, ops) == want).all()\n"
        "if child == 0: os._exit(0 if same else 3)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), same)\n"
    )
    done = python(FEW + fork)
    assert done.stdout.split() == ["0", "True"], done.stderr


CHILDREN = """
import multiprocessing

def work(_):
    return sr.run(net, params, x, ops).tobytes()

if __name__ == "__main__":
    want = work(0)
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        print(all(y == want for y in pool.map(work, range(4))), work(0) == want)
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children_of_multiprocessing_give_the_parents_bits(method: str, tmp_path: Path) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {method}")
    script = tmp_path / "children.py"
    script.write_text(FEW + CHILDREN)
    done = python_program(str(script), method)
    assert done.stdout.split() == ["True", "True"], done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_fork_waits_for_another_thread_that_compiles() -> None:
    code = """
import os, threading, time
import sesr_kernels.machine.compiled
from numba.core.compiler_lock import global_compiler_lock as lock
held = threading.Event()
def compile():
    with lock:
        held.set()
        time.sleep(0.3)
thread = threading.Thread(target=compile)
thread.start()
held.wait()
child = os.fork()
if child == 0:
    os._exit(0 if lock._lock.acquire(timeout=10) else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), lock._lock.acquire(timeout=10))
"""
    done = python(code)
    assert done.stdout.split() == ["0", "True"], done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's memory protection")
@pytest.mark.parametrize("side", ["behind", "before"])
def test_no_kernel_touches_memory_beyond_its_arrays(side: str) -> None:
    done = python_program(str(ROOT / "tests" / "guarded.py"), side, "0")
    assert done.returncode == 0, f"{done.returncode}: {done.stderr}"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's memory protection")
def test_arrays_that_are_too_small_are_noticed() -> None:
    done = python_program(str(ROOT / "tests" / "guarded.py"), "behind", "700")
    assert done.returncode == -signal.SIGSEGV


def test_without_the_compiler_the_fast_engine_says_so_in_one_line() -> None:
    code = "import sesr_ref as sr\ntry: sr.fast()\nexcept ImportError as error: print(error)\n" + (
        "from sesr_ref.commands.models import engine_named\nprint(engine_named('auto').name)"
    )
    done = python(code, NUMBA_DISABLE_JIT="1")
    assert done.returncode == 0, done.stderr
    message, name = done.stdout.splitlines()
    assert "NUMBA_DISABLE_JIT" in message
    assert name == "reference"


@pytest.mark.slow
def test_what_is_plain_python_gives_the_same_results_interpreted() -> None:
    file = str(ROOT / "tests" / "kernels" / "test_kernels_plain.py")
    done = python_program(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", file, NUMBA_DISABLE_JIT="1"
    )
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout
    assert "skipped" not in done.stdout


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", True])
def test_threads_must_be_positive_integers(threads: Any) -> None:
    with pytest.raises(ValueError, match=r"threads must be an integer from 1 on, got .*\w"):
        sr.fast(threads=threads)


def test_threads_may_be_numpys_integers(rng: np.random.Generator) -> None:
    net = sr.sesr(1)
    x, two = images(net, rng, 1, 5, 6), cast(int, np.int64(2))
    assert sr.run(net, random_params(net, rng), x, ops=sr.fast(threads=two)).size


def test_winograd_is_a_choice_of_three() -> None:
    with pytest.raises(ValueError, match="winograd must be True, False or None, got 'F43'"):
        sr.fast("F43")  # type: ignore[arg-type]


def test_calls_side_by_side_do_not_mix(rng: np.random.Generator) -> None:
    net, ops = sr.sesr(1), sr.fast(threads=2)
    jobs = [
        (random_params(net, rng), images(net, rng, n, 20, width))
        for n, width in ((1, 30), (3, 30), (2, 41), (1, 7))
    ]

    def work(params: Params, x: Array) -> list[Array]:
        target = np.repeat(np.repeat(x, 2, 1), 2, 2)
        loss, grads = sr.loss_and_grads(net, params, x, target, ops=ops)
        return [sr.run(net, params, x, ops=ops), np.array(loss), *grads.values()]

    want = [work(*job) for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for got, expected in zip(pool.map(work, *zip(*jobs, strict=True)), want, strict=True):
                for g, w in zip(got, expected, strict=True):
                    np.testing.assert_array_equal(g, w)


def test_a_failing_worker_stops_the_others_and_is_reported() -> None:
    from sesr_kernels.machine.threads import Threads, share

    def worker(following: object) -> None:
        raise MemoryError("no room")

    with pytest.raises(MemoryError, match="no room"):
        share(5, worker, Threads(2))


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals to threads")
def test_an_interrupt_ends_every_thread_before_it_is_raised() -> None:
    from sesr_kernels.machine.threads import Threads, share

    caller = threading.get_ident()
    taken: list[int] = []
    ended: list[bool] = []

    def worker(following: Callable[[], int]) -> None:
        if threading.get_ident() == caller:
            return
        while (job := following()) >= 0:
            taken.append(job)
            if job == 0:
                signal.pthread_kill(caller, signal.SIGINT)
            time.sleep(0.05)
        ended.append(True)

    with pytest.raises(KeyboardInterrupt):
        share(1000, worker, Threads(2))
    assert ended
    assert len(taken) < 1000


def test_without_more_threads_the_caller_does_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    from sesr_kernels.machine.threads import Threads, share

    def none_left(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    taken: list[int] = []

    def worker(following: Callable[[], int]) -> None:
        while (job := following()) >= 0:
            taken.append(job)

    monkeypatch.setattr(_thread, "start_new_thread", none_left)
    share(5, worker, Threads(3))
    assert taken == [0, 1, 2, 3, 4]


def test_without_numba_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(ImportError, match=r"pip install 'sesr-ref\[fast\]'"):
        sr.fast()
