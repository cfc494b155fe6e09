"""Training: the arithmetic of a step, one seed one result, and being stopped anywhere."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sesr_ref as sr
from checks import need_kernels
from sesr_ref.ops.arrays import Params
from sesr_ref.train import Progress, train
from sesr_ref.train.data import Pairs
from sesr_ref.train.optimiser import Adam, Recipe

ROOT = Path(__file__).parents[2]
NET = sr.sesr(blocks=1, features=3, expand=4)


def pairs(size: int = 24) -> Pairs:
    rng = np.random.default_rng(0)
    low = [rng.integers(16, 236, (size, size + i), dtype=np.uint8) for i in range(3)]
    return Pairs(2, low, [np.kron(image, np.ones((2, 2), np.uint8)) for image in low])


def recipe(**changes: object) -> Recipe:
    values = {"steps": 12, "batch": 2, "crop": 8, "lr": 1e-3, "checkpoint_every": 5}
    return Recipe(**values | changes)  # type: ignore[arg-type]


def same(a: Params, b: Params) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def stop_at(step: int) -> Callable[[Progress], None]:
    def report(now: Progress) -> None:
        if now.step == step:
            raise RuntimeError("pulled the plug")

    return report


@contextmanager
def changed_meta(checkpoint: Path) -> Iterator[dict[str, Any]]:
    """What a checkpoint says of its run, to be changed."""
    with np.load(checkpoint) as file:
        arrays = {name: file[name] for name in file.files}
    meta = json.loads(arrays["meta"].tobytes())
    yield meta
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    np.savez(checkpoint, **arrays)


def test_adam_follows_its_algorithm() -> None:
    rng = np.random.default_rng(0)
    start = {"a.w": rng.normal(size=(2, 3)), "b.w": rng.normal(size=4)}
    adam = Adam({k: v.copy() for k, v in start.items()}, amsgrad=True, average=0.5)
    m = {k: 0 * v for k, v in start.items()}
    v, largest, average = dict(m), dict(m), dict(start)
    expected = dict(start)
    for t in range(1, 6):
        d: Params = {k: rng.normal(size=w.shape) * (t != 3) for k, w in start.items()}
        adam.update(d, 0.01, t - 1)
        for k in start:
            m[k] = 0.9 * m[k] + 0.1 * d[k]
            v[k] = 0.999 * v[k] + 0.001 * d[k] ** 2
            largest[k] = np.maximum(largest[k], v[k])
            rate = 0.01 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
            expected[k] = expected[k] - rate * m[k] / (np.sqrt(largest[k]) + 1e-7)
            decay = min(0.5, t / (9 + t))
            average[k] = decay * average[k] + (1 - decay) * expected[k]
    for k in start:
        assert np.allclose(adam.params[k], expected[k], rtol=1e-12)
        assert np.allclose(adam.averaged[k], average[k], rtol=1e-12)


@pytest.mark.parametrize("kernel", [None, "fast"])
def test_a_layers_factor_scales_its_learning_rate_alone(kernel: str | None) -> None:
    if kernel:
        need_kernels()
    adam_kernel = sr.fast().adam if kernel else None
    rng = np.random.default_rng(0)
    shapes = {"a.w": (5, 7), "b.w": (90,), "b.bias": (3,), "c.w": (41,)}
    start = {key: rng.normal(size=shape).astype(np.float32) for key, shape in shapes.items()}
    d: Params = {key: rng.normal(size=w.shape).astype(np.float32) for key, w in start.items()}

    def moved(rate: float, factors: dict[str, float]) -> Params:
        adam = Adam({k: w.copy() for k, w in start.items()}, True, 0.9, factors)
        length = adam.update(d, rate, 0, adam_kernel)
        assert length == pytest.approx(np.sqrt(sum(float((x**2).sum()) for x in d.values())))
        return adam.params

    usual, tenth = moved(0.1, {}), moved(0.01, {})
    mixed = moved(0.1, {"b": 0.1, "c": 0.0})
    np.testing.assert_array_equal(mixed["a.w"], usual["a.w"])
    for key in ("b.w", "b.bias"):
        np.testing.assert_allclose(mixed[key], tenth[key], rtol=1e-6)
    np.testing.assert_array_equal(mixed["c.w"], start["c.w"])


def test_a_factor_of_a_layer_without_parameters_is_refused(tmp_path: Path) -> None:
    how = recipe(lr_factors=(("features", 0.1),))
    with pytest.raises(ValueError, match="no layer features has parameters, only head, block0, ac"):
        train(NET, pairs(), tmp_path, how)


def test_learning_rates_start_and_end_where_they_should() -> None:
    warm = recipe(steps=100, warmup=10, schedule="cosine")
    assert warm.rate(0) == pytest.approx(1e-4)
    assert warm.rate(9) == pytest.approx(1e-3)
    assert warm.rate(55) == pytest.approx(5e-4)
    assert warm.rate(99) < 1e-6
    assert recipe(schedule="constant").rate(11) == 1e-3
    assert recipe(steps=10, schedule="linear").rate(5) == pytest.approx(5e-4)


def test_the_default_recipe_is_the_papers() -> None:
    paper = Recipe()
    assert (paper.steps, paper.batch, paper.crop, paper.lr) == (480_000, 32, 64, 5e-4)
    assert paper.schedule == "constant"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"lr": -1.0}, "lr must be positive, got -1"),
        ({"lr": float("nan")}, "lr must be positive"),
        ({"average": 1.0}, "average must be in"),
        ({"schedule": "step"}, "schedule must be one of .*cosine.*, got 'step'"),
        ({"warmup": -1}, "warmup must not be negative"),
        ({"loss": "l3"}, "loss must be one of .*charbonnier.*, got 'l3'"),
        ({"slope": float("nan")}, "slope must be finite, got nan"),
        ({"log_share": -1.0}, "log_share must be finite and not negative, got -1"),
        ({"low": "16bit"}, "low must be one of .*float.*, got '16bit'"),
        ({"lr_factors": (("tail", -0.1),)}, "lr_factors of tail must not be negative, got -0.1"),
        ({"init": "zero"}, "init must be one of .*glorot.*, got 'zero'"),
        ({"collapse_dtype": "float16"}, "collapse_dtype must be one of .*, got 'float16'"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        recipe(**change)


def test_training_lowers_the_loss_and_writes_what_it_learnt(tmp_path: Path) -> None:
    losses: list[Progress] = []
    got = train(NET, pairs(), tmp_path, recipe(steps=150, lr=5e-3), report=losses.append)
    assert np.mean([p.loss for p in losses[-10:]]) < 0.7 * np.mean([p.loss for p in losses[:5]])
    assert losses[-1].step == 150
    assert losses[-1].seconds_left == 0
    net, saved = sr.load(tmp_path / "weights.npz")
    assert net == NET
    assert same(saved, got)


def test_one_seed_gives_one_result_and_another_seed_another(tmp_path: Path) -> None:
    a = train(NET, pairs(), tmp_path / "a", recipe(seed=3))
    b = train(NET, pairs(), tmp_path / "b", recipe(seed=3))
    c = train(NET, pairs(), tmp_path / "c", recipe(seed=4))
    assert same(a, b)
    assert not same(a, c)


@pytest.mark.parametrize("every", [1, 5, 7])
def test_a_resumed_run_ends_with_the_bits_of_an_uninterrupted_one(
    tmp_path: Path, every: int
) -> None:
    how = recipe(average=0.9, amsgrad=True, checkpoint_every=every, schedule="cosine")
    whole = train(NET, pairs(), tmp_path / "whole", how)

    with pytest.raises(RuntimeError):
        train(NET, pairs(), tmp_path / "cut", how, report=stop_at(8))
    resumed = train(NET, pairs(), tmp_path / "cut", how, resume=True)
    assert same(whole, resumed)
    logs = [(tmp_path / run / "log.jsonl").read_text() for run in ("whole", "cut")]
    assert logs[0] == logs[1]


def test_a_finished_run_resumed_changes_nothing(tmp_path: Path) -> None:
    first = train(NET, pairs(), tmp_path, recipe())
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert same(first, train(NET, pairs(), tmp_path, recipe(), resume=True))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_a_checkpoint_is_the_model_that_its_run_would_have_written(
    tmp_path: Path, average: float
) -> None:
    train(NET, pairs(), tmp_path / "ended", recipe(steps=5, average=average))
    with pytest.raises(RuntimeError):
        train(NET, pairs(), tmp_path / "cut", recipe(average=average), report=stop_at(7))
    net, params = sr.load(tmp_path / "cut" / "checkpoint.npz")
    assert net == NET
    assert same(params, sr.load(tmp_path / "ended" / "weights.npz")[1])


def test_a_checkpoint_whose_parts_do_not_fit_is_no_model(tmp_path: Path) -> None:
    train(NET, pairs(), tmp_path, recipe(steps=1))
    checkpoint = tmp_path / "checkpoint.npz"
    with changed_meta(checkpoint) as meta:
        meta["network"] = json.loads(sr.sesr(2, 3, expand=4).to_json())
    with pytest.raises(ValueError, match=r"checkpoint\.npz: weights: its shape must be"):
        sr.load(checkpoint)
    with changed_meta(checkpoint) as meta:
        del meta["network"]
    with pytest.raises(ValueError, match=r"checkpoint\.npz: .*no network in this checkpoint"):
        sr.load(checkpoint)


@pytest.mark.parametrize("steps", [8, 20])
def test_a_run_at_a_constant_rate_may_become_longer_or_shorter(tmp_path: Path, steps: int) -> None:
    how = {"warmup": 9, "average": 0.9, "checkpoint_every": 7}
    whole = train(NET, pairs(), tmp_path / "whole", recipe(steps=steps, **how))
    with pytest.raises(RuntimeError):
        train(NET, pairs(), tmp_path / "cut", recipe(**how), report=stop_at(8))
    assert same(
        whole, train(NET, pairs(), tmp_path / "cut", recipe(steps=steps, **how), resume=True)
    )


def test_a_finished_run_may_be_prolonged(tmp_path: Path) -> None:
    whole = train(NET, pairs(), tmp_path / "whole", recipe(steps=20))
    train(NET, pairs(), tmp_path / "more", recipe())
    more = train(NET, pairs(), tmp_path / "more", recipe(steps=20), resume=True)
    assert same(whole, more)
    assert same(more, sr.load(tmp_path / "more" / "weights.npz")[1])


def test_a_decaying_rate_is_that_of_the_new_length_from_there_on(tmp_path: Path) -> None:
    how = {"schedule": "cosine", "validate_every": 1}
    with pytest.raises(RuntimeError):
        train(NET, pairs(), tmp_path, recipe(**how), report=stop_at(6))
    train(NET, pairs(), tmp_path, recipe(steps=30, **how), resume=True)
    rates = [json.loads(line)["rate"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    short, long = recipe(**how), recipe(steps=30, **how)
    assert rates == [*map(short.rate, range(5)), *map(long.rate, range(5, 30))]


def test_a_run_is_not_made_shorter_than_what_is_done(tmp_path: Path) -> None:
    train(NET, pairs(), tmp_path, recipe())
    with pytest.raises(ValueError, match="it is of step 12, not 0 to 11"):
        train(NET, pairs(), tmp_path, recipe(steps=11), resume=True)


def test_the_log_has_the_rate_and_the_mean_length_of_the_gradients(tmp_path: Path) -> None:
    how = {"validate_every": 4, "schedule": "linear"}
    train(NET, pairs(), tmp_path, recipe(**how))
    train(NET, pairs(), tmp_path / "one", recipe(steps=1))
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["rate"] for row in rows] == [recipe(**how).rate(step) for step in (3, 7, 11)]
    assert all(0.001 < row["grad_norm"] < 10 for row in rows)
    start = sr.initialise(NET)
    x, target = pairs().batch(np.random.default_rng([0, 0]), 2, 8)
    _, d = sr.loss_and_grads(NET, start, x, target)
    (row,) = map(json.loads, (tmp_path / "one" / "log.jsonl").read_text().splitlines())
    length = np.sqrt(sum(float((array.astype(float) ** 2).sum()) for array in d.values()))
    assert row["grad_norm"] == pytest.approx(length, rel=1e-5)


def test_a_run_is_not_overwritten_unless_resumed(tmp_path: Path) -> None:
    train(NET, pairs(), tmp_path, recipe())
    with pytest.raises(FileExistsError, match="holds a run already"):
        train(NET, pairs(), tmp_path, recipe())


def test_a_checkpoint_of_another_recipe_network_or_data_is_refused(tmp_path: Path) -> None:
    train(NET, pairs(), tmp_path, recipe())
    with pytest.raises(ValueError, match=r"another recipe: lr was 0\.001 and is 0\.002"):
        train(NET, pairs(), tmp_path, recipe(lr=2e-3), resume=True)
    with pytest.raises(ValueError, match="another network"):
        train(sr.sesr(2, 3, expand=4), pairs(), tmp_path, recipe(), resume=True)
    with pytest.raises(ValueError, match="another data: pixels was"):
        train(NET, pairs(20), tmp_path, recipe(), resume=True)
    altered = pairs()
    altered.low[1][0, 0] ^= 1
    with pytest.raises(ValueError, match="another data: sha256 was"):
        train(NET, altered, tmp_path, recipe(), resume=True)


def test_a_checkpoint_from_before_it_had_all_its_fields_is_gone_on_from(
    tmp_path: Path,
) -> None:
    whole = train(NET, pairs(), tmp_path / "whole", recipe())
    with pytest.raises(RuntimeError):
        train(NET, pairs(), tmp_path / "old", recipe(), report=stop_at(8))
    with changed_meta(tmp_path / "old" / "checkpoint.npz") as meta:
        for key in ("loss", "init", "slope", "collapse_dtype", "log_share", "low", "lr_factors"):
            del meta["recipe"][key]
        del meta["grad_norms"]
        del meta["data"]["sha256"]
    with pytest.raises(ValueError, match="another recipe: loss was l1 and is charbonnier"):
        train(NET, pairs(), tmp_path / "old", recipe(loss="charbonnier"), resume=True)
    assert same(whole, train(NET, pairs(), tmp_path / "old", recipe(), resume=True))


@pytest.mark.parametrize(
    ("change", "nearer"),
    [
        ({"loss": "charbonnier"}, 0.1),
        ({"loss": "l2"}, 0.1),
        ({"loss": "log-mse"}, 0.1),
        ({"log_share": 0.1}, 0.1),
        ({"lr_factors": (("tail", 0.1),)}, 0.1),
        ({"init": "he"}, 9),
        ({"slope": 0.25}, 9),
        ({"collapse_dtype": "float64"}, 1e-4),
    ],
)
def test_each_of_these_choices_changes_what_is_learnt(
    tmp_path: Path, change: dict[str, object], nearer: float
) -> None:
    usual = train(NET, pairs(), tmp_path / "usual", recipe())
    other = train(NET, pairs(), tmp_path / "other", recipe(**change))
    assert {array.dtype for array in other.values()} == {np.dtype(np.float32)}
    assert 0 < max(np.abs(usual[name] - other[name]).max() for name in usual) < nearer


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    train(NET, pairs(), tmp_path, recipe())
    checkpoint = tmp_path / "checkpoint.npz"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.raises(ValueError, match="cannot be gone on from"):
        train(NET, pairs(), tmp_path, recipe(), resume=True)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("step", -5),
        ("step", "a"),
        ("step", 10**9),
        ("losses", None),
        ("network", None),
        ("weights", np.zeros(3, np.float32)),
        ("mean", np.float32("nan")),
        ("meta", 0),
    ],
)
def test_a_checkpoint_with_a_wrong_field_is_refused_by_name(
    tmp_path: Path, key: str, value: Any
) -> None:
    train(NET, pairs(), tmp_path, recipe())
    checkpoint = tmp_path / "checkpoint.npz"
    with np.load(checkpoint) as file:
        arrays = {name: file[name] for name in file.files}
    if key in arrays:
        arrays[key] = value if np.ndim(value) else np.full_like(arrays[key], value)
    else:
        meta = json.loads(arrays["meta"].tobytes()) | {key: value}
        arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    np.savez(checkpoint, **arrays)
    with pytest.raises(ValueError, match=r"checkpoint\.npz cannot be gone on from"):
        train(NET, pairs(), tmp_path, recipe(), resume=True)


def test_two_runs_do_not_write_into_one_folder(tmp_path: Path) -> None:
    def second(now: Progress) -> None:
        train(NET, pairs(), tmp_path, recipe(), resume=True)

    with pytest.raises(FileExistsError, match="another run is writing there"):
        train(NET, pairs(), tmp_path, recipe(), report=second)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(
    tmp_path: Path,
) -> None:
    start = {name: array * np.float32(1e30) for name, array in sr.initialise(NET).items()}
    with pytest.raises(FloatingPointError, match=r"the loss is \w+ at step 0.*none is kept"):
        train(NET, pairs(), tmp_path, recipe(), start=start)
    assert not (tmp_path / "checkpoint.npz").exists()

    calls = 0

    def poison(net: sr.Network, params: Params) -> float:
        nonlocal calls
        calls += 1
        if calls == 8:
            params["head.expand"][:] = np.nan
        return 0.0

    with pytest.raises(FloatingPointError, match="at step 8"):
        train(NET, pairs(), tmp_path, recipe(validate_every=1), validate=poison)
    with np.load(tmp_path / "checkpoint.npz") as file:
        assert json.loads(file["meta"].tobytes())["step"] == 5
        assert np.isfinite(file["weights"]).all()


def test_the_best_weights_on_validation_are_kept(tmp_path: Path) -> None:
    scores = iter([10.0, 12.0, 11.0, 9.0])
    seen: list[Params] = []

    def validate(net: sr.Network, params: Params) -> float:
        seen.append({name: array.copy() for name, array in params.items()})
        return next(scores)

    train(NET, pairs(), tmp_path, recipe(validate_every=3), validate=validate)
    assert same(sr.load(tmp_path / "best.npz")[1], seen[1])
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["psnr_db"] for row in rows] == [10.0, 12.0, 11.0, 9.0]
    assert [row["step"] for row in rows] == [3, 6, 9, 12]


RUN = """
import sys
sys.path[:0] = {path!r}
from pathlib import Path
import test_train
from sesr_ref.train import train
print("up", flush=True)
train(test_train.NET, test_train.pairs(), Path({out!r}), test_train.recipe(
    steps=600, checkpoint_every=7, validate_every=50), resume=True)
"""


def start_run(out: Path) -> subprocess.Popen[bytes]:
    path = [
        str(ROOT),
        str(ROOT / "kernels"),
        str(ROOT / "weights"),
        str(ROOT / "tests"),
        str(ROOT / "tests" / "train"),
    ]
    code = RUN.format(path=path, out=str(out))
    one_thread = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, env=one_thread, stdout=subprocess.PIPE)


def stop_after(run: subprocess.Popen[bytes], number: int, seconds: float) -> int:
    assert run.stdout is not None
    assert run.stdout.readline() == b"up\n"
    time.sleep(seconds)
    run.send_signal(number)
    run.stdout.close()
    return run.wait(timeout=60)


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_with_the_bits_of_one_that_was_not(
    tmp_path: Path,
) -> None:
    whole = start_run(tmp_path / "whole")
    kills = 0
    for seconds in (0.15, 0.3, 0.22, 0.4):
        kills += stop_after(start_run(tmp_path / "cut"), signal.SIGKILL, seconds) == -signal.SIGKILL
    assert kills >= 2
    last = start_run(tmp_path / "cut")
    for run in (whole, last):
        run.communicate(timeout=120)
        assert run.returncode == 0
    for name in ("weights.npz", "log.jsonl", "checkpoint.npz"):
        a, b = ((tmp_path / folder / name).read_bytes() for folder in ("whole", "cut"))
        assert a == b, name


def test_ctrl_c_writes_a_checkpoint_of_the_step_it_reached(tmp_path: Path) -> None:
    code = stop_after(start_run(tmp_path), signal.SIGINT, 0.3)
    assert code != 0
    with np.load(tmp_path / "checkpoint.npz") as file:
        step = json.loads(file["meta"].tobytes())["step"]
    assert 0 < step < 600
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_request_to_stop_during_a_report_waits_for_the_next_checkpoint(tmp_path: Path) -> None:
    def report(now: Progress) -> None:
        if now.step == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(NET, pairs(), tmp_path, recipe(), report=report)
    with np.load(tmp_path / "checkpoint.npz") as file:
        assert json.loads(file["meta"].tobytes())["step"] == 3


EIGHT = {"what": "8 images of val8", "sha256": "8"}
NINE = {"what": "9 images of val9", "sha256": "9"}


def score(net: sr.Network, params: Params) -> float:
    return 30.0


@pytest.mark.parametrize(
    ("how", "now"),
    [
        ({"validate": score, "validated_on": NINE}, "9 images of val9"),
        ({"validate": score, "validated_on": EIGHT | {"sha256": "x"}}, "others of the same name"),
        ({"validate": score}, "a function"),
        ({}, "nothing"),
    ],
)
def test_a_run_is_not_gone_on_with_on_another_validation_set(
    tmp_path: Path, how: dict[str, Any], now: str
) -> None:
    train(NET, pairs(), tmp_path, recipe(), validate=score, validated_on=EIGHT)
    with pytest.raises(ValueError, match=f"validated on 8 images of val8 before, now on {now}"):
        train(NET, pairs(), tmp_path, recipe(), resume=True, **how)


def test_checkpoints_without_a_validation_set_take_any(tmp_path: Path) -> None:
    train(NET, pairs(), tmp_path / "none", recipe())
    how: dict[str, Any] = {"validate": score, "validated_on": EIGHT, "resume": True}
    train(NET, pairs(), tmp_path / "none", recipe(), **how)
    train(NET, pairs(), tmp_path / "old", recipe(), validate=score, validated_on=NINE)
    with changed_meta(tmp_path / "old" / "checkpoint.npz") as meta:
        del meta["validation"], meta["engine"]
    train(NET, pairs(), tmp_path / "old", recipe(), **how)


@pytest.mark.parametrize("name", ["log.jsonl", "best.npz", "weights.npz"])
def test_what_an_earlier_run_left_is_not_written_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("of an earlier run")
    with pytest.raises(FileExistsError, match=f"holds a run already .{name}.: resume it"):
        train(NET, pairs(), tmp_path, recipe())
    assert (tmp_path / name).read_text() == "of an earlier run"


def test_finished_weights_without_a_checkpoint_are_not_written_over_by_resuming(
    tmp_path: Path,
) -> None:
    (tmp_path / "weights.npz").write_text("of an earlier run")
    with pytest.raises(FileExistsError, match=r"and no checkpoint\.npz to go on from"):
        train(NET, pairs(), tmp_path, recipe(), resume=True)


def test_a_run_stopped_before_its_first_checkpoint_starts_again_when_resumed(
    tmp_path: Path,
) -> None:
    how = recipe(validate_every=2)
    with pytest.raises(RuntimeError):
        train(NET, pairs(), tmp_path, how, report=stop_at(3), validate=score)
    assert {path.name for path in tmp_path.iterdir()} >= {"best.npz", "log.jsonl"}
    train(NET, pairs(), tmp_path, how, resume=True, validate=score)
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 6


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(NotADirectoryError, match="out is a file, a folder is needed"):
        train(NET, pairs(), tmp_path / "out", recipe())


def test_the_loss_of_the_log_is_reported_with_its_line(tmp_path: Path) -> None:
    told: list[Progress] = []
    train(NET, pairs(), tmp_path, recipe(validate_every=5), report=told.append)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    logged = [(now.step, now.logged_loss) for now in told if now.logged_loss is not None]
    assert logged == [(row["step"], row["loss"]) for row in rows]
    assert logged[0][1] == pytest.approx(np.mean([now.loss for now in told[:5]]))


def test_a_run_that_diverges_before_a_validation_blames_its_rate(tmp_path: Path) -> None:
    def refuse(net: sr.Network, params: Params) -> float:
        large = params["head.expand"]
        if not np.isfinite(large * large * large).all():  # as a collapse overflows
            raise ValueError("the images hold values that are not finite")
        return 30.0

    how = recipe(lr=1e30, validate_every=1)
    with pytest.raises(FloatingPointError, match=r"the loss is \w+ at step 1: the learning rate"):
        train(NET, pairs(), tmp_path, how, validate=refuse)
    assert not (tmp_path / "log.jsonl").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_stops_the_run_before_it_is_logged(
    tmp_path: Path, value: float
) -> None:
    how = recipe(validate_every=3)
    with pytest.raises(FloatingPointError, match=f"validation gave {value} after step 2"):
        train(NET, pairs(), tmp_path, how, validate=lambda net, params: value)
    assert not (tmp_path / "log.jsonl").exists()


def test_what_a_validation_refuses_for_other_reasons_is_passed_on(tmp_path: Path) -> None:
    def refuse(net: sr.Network, params: Params) -> float:
        raise ValueError("no such image")

    with pytest.raises(ValueError, match="no such image"):
        train(NET, pairs(), tmp_path, recipe(validate_every=3), validate=refuse)


def foreign(path: Path, kind: str) -> None:
    """A file that is no checkpoint, under its name."""
    with path.open("wb") as stream:
        if kind == "pickled array":
            np.save(stream, np.array([{}], dtype=object), allow_pickle=True)
        elif kind == "pickled member":
            np.savez(stream, meta=np.array([{}], dtype=object))
        elif kind == "array":
            np.save(stream, np.zeros(3))
        elif kind == "no JSON":
            np.savez(stream, meta=np.zeros(3))
        elif kind == "other JSON":
            np.savez(stream, meta=np.frombuffer(b"[1]", np.uint8))
        elif kind == "other object":
            np.savez(stream, meta=np.frombuffer(b"{}", np.uint8))
        else:
            stream.write(pickle.dumps({}) if kind == "pickle" else b"")


@pytest.mark.parametrize(
    "kind",
    [
        "pickled array",
        "pickled member",
        "array",
        "no JSON",
        "other JSON",
        "other object",
        "pickle",
        "nothing",
    ],
)
def test_a_file_that_is_no_checkpoint_is_called_that(tmp_path: Path, kind: str) -> None:
    foreign(tmp_path / "checkpoint.npz", kind)
    with pytest.raises(ValueError, match=r"not a checkpoint of sesr-ref train$") as caught:
        train(NET, pairs(), tmp_path, recipe(), resume=True)
    assert "pickle" not in str(caught.value)


def test_weights_in_place_of_a_checkpoint_are_told_apart(tmp_path: Path) -> None:
    sr.save(tmp_path / "checkpoint.npz", NET, sr.initialise(NET))
    with pytest.raises(ValueError, match=r"not a checkpoint of sesr-ref train$"):
        train(NET, pairs(), tmp_path, recipe(), resume=True)
