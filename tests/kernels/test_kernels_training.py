"""A training step on the kernels is the reference's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sesr_ref as sr
from checks import need_kernels
from networks_for_kernels import TRAINABLE, images, random_params, targets
from sesr_ref.collapse import collapse_params, collapsed
from sesr_ref.network import Add, Conv, DepthToSpace, Network, PReLU, ReLU, Resize
from sesr_ref.ops.arrays import Params
from sesr_ref.train.optimiser import Adam

need_kernels()


MIXED = Network(
    "mixed",
    2,
    1,
    (
        Conv("a", 9, 3, bias=True),
        PReLU("p"),
        Conv("b", 5, 5, bias=True),
        PReLU("q"),
        Conv("c", 4, 3),
        DepthToSpace("d", 2),
    ),
)
"""An activation behind a direct convolution and ahead of Winograd's, biases in both."""


@pytest.mark.parametrize("net", [*TRAINABLE, MIXED], ids=lambda net: net.name)
@pytest.mark.parametrize("size", [(3, 13, 17), (2, 1, 1), (1, 3, 41), (1, 22, 15)])
@pytest.mark.parametrize("winograd", [True, False])
def test_gradients_are_those_of_the_float64_reference(
    net: Network, size: tuple[int, int, int], winograd: bool, rng: np.random.Generator
) -> None:
    params = random_params(net, rng)
    x = images(net, rng, *size)
    target = targets(net, rng, x)
    ops = sr.fast(winograd=winograd)
    assert ops.gradients is not None
    small, small_params = collapsed(net), collapse_params(net, params)
    assert ops.gradients(small, small_params, x, target) is not None
    loss, grads = sr.loss_and_grads(net, params, x, target, ops=ops)
    exact: Params = {name: value.astype(np.float64) for name, value in params.items()}
    want_loss, want = sr.loss_and_grads(net, exact, x.astype(np.float64), target.astype(np.float64))
    assert loss == pytest.approx(want_loss, rel=1e-5)
    assert list(grads) == list(params)
    for name in params:
        assert grads[name].dtype == np.float32
        np.testing.assert_allclose(
            grads[name], want[name], rtol=0, atol=1e-5 * max(abs(want[name]).max(), 1e-3)
        )


@pytest.mark.parametrize(
    ("name", "share"),
    [("charbonnier", 0.0), ("l2", 0.0), ("log-mse", 0.0), ("charbonnier", 0.02), ("l2", 0.02)],
)
def test_gradients_of_smooth_losses_are_those_of_the_float64_reference(
    name: str, share: float, rng: np.random.Generator
) -> None:
    net = sr.sesr(2)
    params, x = sr.initialise(net), images(net, rng, 2, 13, 17)  # values of an image's size
    near = sr.run(net, params, x)
    target = near + np.float32(2e-3) * rng.standard_normal(near.shape).astype(np.float32)
    target[0, :3] = near[0, :3]  # errors of about nothing
    loss, grads = sr.loss_and_grads(net, params, x, target, sr.fast(), name, share)
    exact: Params = {name: value.astype(np.float64) for name, value in params.items()}
    want_loss, want = sr.loss_and_grads(
        net, exact, x.astype(np.float64), target.astype(np.float64), loss=name, log_share=share
    )
    assert loss == pytest.approx(want_loss, rel=1e-4)
    for name in params:
        np.testing.assert_allclose(
            grads[name], want[name], rtol=0, atol=1e-3 * abs(want[name]).max()
        )


def test_winograds_gradients_are_about_as_exact_as_the_direct_ones(
    rng: np.random.Generator,
) -> None:
    net = sr.sesr(3)
    params = random_params(net, rng)
    x = images(net, rng, 2, 32, 32)
    target = targets(net, rng, x)
    exact: Params = {name: value.astype(np.float64) for name, value in params.items()}
    _, want = sr.loss_and_grads(net, exact, x.astype(np.float64), target.astype(np.float64))

    def errors(winograd: bool) -> list[float]:
        _, grads = sr.loss_and_grads(net, params, x, target, ops=sr.fast(winograd=winograd))
        return [float(abs(grads[k] - want[k]).max() / abs(want[k]).max()) for k in want]

    direct, winograd = errors(winograd=False), errors(winograd=True)
    assert direct != winograd  # they are different algorithms
    assert max(winograd) < 2e-6


@pytest.mark.parametrize("count", [5, 33])  # each image's sums by themselves, and those of two
def test_gradients_have_the_same_bits_with_any_number_of_threads(
    count: int, rng: np.random.Generator
) -> None:
    net = sr.sesr(2)
    params = random_params(net, rng)
    x = images(net, rng, count, 20, 23)
    target = targets(net, rng, x)
    first = sr.loss_and_grads(net, params, x, target, ops=sr.fast(threads=1))
    for threads in (2, 3):
        again = sr.loss_and_grads(net, params, x, target, ops=sr.fast(threads=threads))
        assert first[0] == again[0]
        for name in params:
            np.testing.assert_array_equal(first[1][name], again[1][name])


def test_the_sums_of_several_images_are_those_of_each(rng: np.random.Generator) -> None:
    net = sr.sesr(1)
    params, x = random_params(net, rng), images(net, rng, 35, 9, 8)  # the last part is shorter
    target = targets(net, rng, x)
    loss, grads = sr.loss_and_grads(net, params, x, target, ops=sr.fast())
    exact: Params = {name: value.astype(np.float64) for name, value in params.items()}
    want_loss, want = sr.loss_and_grads(net, exact, x.astype(float), target.astype(float))
    assert loss == pytest.approx(want_loss, rel=1e-6)
    for name in params:
        np.testing.assert_allclose(grads[name], want[name], rtol=0, atol=2e-6)


def test_what_the_training_kernels_cannot_take_goes_through_the_reference(
    rng: np.random.Generator,
) -> None:
    layers = (Conv("a", 3, 3), Resize("b", 2), Conv("c", 1, 7))
    net = Network("late", 2, 1, layers)
    params = random_params(net, rng)
    x = images(net, rng, 1, 6, 7)
    target = targets(net, rng, x)
    ops = sr.fast()
    assert ops.gradients is not None
    assert ops.gradients(net, params, x, target) is None
    loss, grads = sr.loss_and_grads(net, params, x, target, ops=ops)
    want_loss, want = sr.loss_and_grads(net, params, x, target)
    assert loss == pytest.approx(want_loss, rel=1e-6)
    for name in params:
        np.testing.assert_allclose(grads[name], want[name], rtol=0, atol=1e-6)


def test_a_layer_that_nobody_reads_has_no_gradient(rng: np.random.Generator) -> None:
    layers = (
        Conv("a", 8, 3),
        Conv("lost", 8, 3),
        PReLU("lost_act"),
        Conv("b", 4, 3, inputs=("a",)),
        DepthToSpace("c", 2),
    )
    net = Network("loose", 2, 1, layers)
    params, x = random_params(net, rng), images(net, rng, 1, 9, 11)
    target = targets(net, rng, x)
    ops = sr.fast()
    np.testing.assert_allclose(
        sr.run(net, params, x, ops=ops), sr.run(net, params, x), rtol=0, atol=1e-5
    )
    assert ops.gradients is not None
    found = ops.gradients(net, params, x, target)
    assert found is not None
    _, want = sr.loss_and_grads(net, params, x, target)
    for name in params:
        np.testing.assert_allclose(found[1][name], want[name], rtol=0, atol=1e-6)
    assert not found[1]["lost.weight"].any()


TWICE = Network(
    "twice",
    2,
    1,
    (
        Conv("a", 8, 3),
        PReLU("act0"),
        Add("b", inputs=("act0", "a")),
        Conv("c", 8, 3, inputs=("act0",)),
        Add("d", inputs=("b", "c")),
        Conv("e", 4, 3),
        DepthToSpace("f", 2),
    ),
)
"""An activation's gradient that is complete only after a convolution has given its part."""


@pytest.mark.parametrize("net", [sr.sesr(1), TWICE], ids=lambda net: net.name)
def test_a_nan_reaches_the_loss_and_no_later_step(net: Network, rng: np.random.Generator) -> None:
    params = random_params(net, rng)
    x = images(net, rng, 1, 9, 11)
    target = targets(net, rng, x)
    ops = sr.fast(threads=1)
    before = sr.loss_and_grads(net, params, x, target, ops=ops)
    broken = params | {"act0.slope": np.full_like(params["act0.slope"], np.nan)}
    assert np.isnan(sr.loss_and_grads(net, broken, x, target, ops=ops)[0])
    after = sr.loss_and_grads(net, params, x, target, ops=ops)
    assert before[0] == after[0]
    for name in params:
        np.testing.assert_array_equal(before[1][name], after[1][name])


@pytest.mark.parametrize("amsgrad", [True, False])
@pytest.mark.parametrize("average", [0.0, 0.999])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_adam_has_the_references_bits(
    amsgrad: bool, average: float, dtype: type, rng: np.random.Generator
) -> None:
    kernel = sr.fast().adam
    assert kernel is not None
    for size in (1, 7, 8, 16, 1003):
        start: Params = {"a": rng.standard_normal(size).astype(dtype), "b": np.ones((2, 3), dtype)}
        ours, want = Adam(start, amsgrad, average), Adam(start, amsgrad, average)
        for step in range(4):
            d: Params = {
                k: (rng.standard_normal(v.shape) * 1e-3).astype(dtype) for k, v in start.items()
            }
            ours.update(d, 1e-3, step, kernel)
            want.update(d, 1e-3, step)
        assert ours.state.keys() == want.state.keys()
        for key, value in want.state.items():
            np.testing.assert_array_equal(ours.state[key], value)


def test_adams_kernel_changes_all_whole_vectors_of_float32() -> None:
    kernel = sr.fast().adam
    assert kernel is not None
    state = Adam({"a": np.ones(1003, np.float32)}).state
    factors = (0.1, 0.001, 1e-7, 1e-3, 1.0)
    assert 1003 - 16 < kernel(state, np.ones(1003, np.float32), factors) <= 1003
    assert kernel({k: v.astype(np.float64) for k, v in state.items()}, np.ones(1003), factors) == 0


SUMS: dict[str, tuple[Any, ...]] = {
    "behind PReLU": (Conv("a", 8, 3), Conv("b", 8, 3), PReLU("p"), Add("s", inputs=("p", "a"))),
    "behind ReLU": (Conv("a", 8, 3), Conv("b", 8, 3), ReLU("p"), Add("s", inputs=("a", "p"))),
    "behind a convolution": (Conv("a", 8, 3), Conv("b", 8, 3), Add("s", inputs=("b", "a"))),
    "one by one": (Conv("a", 8, 1), Conv("b", 8, 1), PReLU("p"), Add("s", inputs=("p", "a"))),
    "of what came before": (
        Conv("a", 8, 3),
        PReLU("p"),
        Conv("b", 8, 3),
        PReLU("q"),
        Add("s", inputs=("q", "p")),
    ),
    "of one channel": (Conv("a", 1, 3), Conv("b", 8, 3), PReLU("p"), Add("s", inputs=("p", "a"))),
    "with itself": (Conv("b", 8, 3), PReLU("p"), Add("s", inputs=("p", "p"))),
    "of three": (Conv("a", 8, 3), Conv("b", 8, 3), PReLU("p"), Add("s", inputs=("p", "a", "a"))),
    "that two read": (
        Conv("a", 8, 3),
        Conv("b", 8, 3),
        PReLU("p"),
        Add("t", inputs=("p", "a")),
        Conv("d", 8, 3, inputs=("p",)),
        Add("s", inputs=("d", "t")),
    ),
}


@pytest.mark.parametrize("winograd", [True, False])
@pytest.mark.parametrize("name", SUMS)
def test_sums_behind_convolutions_have_the_references_gradients(
    name: str, winograd: bool, rng: np.random.Generator
) -> None:
    net = Network("sums", 2, 1, (*SUMS[name], Conv("last", 4, 3), DepthToSpace("shuffle", 2)))
    params, x = random_params(net, rng), images(net, rng, 2, 7, 19)
    target = targets(net, rng, x)
    ops = sr.fast(winograd)
    assert ops.gradients is not None
    assert ops.gradients(net, params, x, target) is not None
    loss, grads = sr.loss_and_grads(net, params, x, target, ops=ops)
    exact: Params = {key: value.astype(np.float64) for key, value in params.items()}
    want_loss, want = sr.loss_and_grads(net, exact, x.astype(float), target.astype(float))
    assert loss == pytest.approx(want_loss, rel=1e-6)
    for key in params:
        np.testing.assert_allclose(grads[key], want[key], rtol=0, atol=3e-6)
