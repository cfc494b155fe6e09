"""Whatever kind of array comes in, the kernels give the same bits and are compiled once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import sesr_ref as sr
from checks import need_kernels
from networks_for_kernels import images, random_params, targets
from sesr_ref.ops.arrays import Array

need_kernels()


def _unaligned(x: Array) -> Array:
    return np.frombuffer(b"x" + x.tobytes(), np.float32, x.size, 1).reshape(x.shape)


def _read_only(x: Array) -> Array:
    y = x.copy()
    y.setflags(write=False)
    return y


class _Own(np.ndarray):
    """A class of arrays of somebody else's."""


KINDS: dict[str, Callable[[Array], Array]] = {
    "unaligned": _unaligned,
    "read-only": _read_only,
    "reversed": lambda x: x[::-1, ::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1, ::-1],
    "strided": lambda x: np.repeat(np.repeat(x, 3, 2), 2, 3)[:, :, ::3, ::2],
    "column-major": np.asfortranarray,
    "transposed": lambda x: np.ascontiguousarray(x.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3),
    "subclass": lambda x: x.view(_Own),
    "little-endian": lambda x: x.astype("<f4"),
}
"""Ways to hold the same pixels."""


@pytest.mark.parametrize("kind", KINDS)
def test_every_layout_of_images_gives_the_same_bits(kind: str, rng: np.random.Generator) -> None:
    net, ops, held = sr.sesr(1), sr.fast(), KINDS[kind]
    params = random_params(net, rng)
    x = images(net, rng, 2, 9, 14)
    target = targets(net, rng, x)
    want = sr.run(net, params, x, ops=ops)
    np.testing.assert_array_equal(sr.run(net, params, held(x), ops=ops), want)
    loss, grads = sr.loss_and_grads(net, params, x, target, ops=ops)
    again = sr.loss_and_grads(net, params, held(x), held(target), ops=ops)
    assert again[0] == loss
    for name in params:
        np.testing.assert_array_equal(again[1][name], grads[name])


@pytest.mark.parametrize("kind", ["read-only", "strided", "column-major"])
def test_every_layout_of_parameters_gives_the_same_bits(
    kind: str, rng: np.random.Generator
) -> None:
    def held(value: Array) -> Array:
        return KINDS[kind](value.reshape(1, 1, 1, -1)).reshape(value.shape)

    net, ops = sr.fsrcnn(2), sr.fast()
    params = random_params(net, rng)
    x = images(net, rng, 1, 9, 14)
    got = sr.run(net, {name: held(value) for name, value in params.items()}, x, ops=ops)
    np.testing.assert_array_equal(got, sr.run(net, params, x, ops=ops))


@pytest.mark.parametrize("kind", KINDS)
def test_single_operations_take_every_layout(kind: str, rng: np.random.Generator) -> None:
    ops, held = sr.fast(), KINDS[kind]
    x, dy = (rng.standard_normal((2, 6, 4, 4)).astype(np.float32) for _ in range(2))
    weight, slope = rng.random((3, 3, 4, 4), np.float32), rng.random(4, np.float32)
    calls: list[Callable[[Callable[[Array], Array]], Any]] = [
        lambda as_: ops.conv2d(as_(x), as_(weight)),
        lambda as_: ops.conv2d_vjp(as_(dy), as_(x), as_(weight)),
        lambda as_: ops.conv_transpose2d(as_(x), as_(weight[:2, :2])),
        lambda as_: ops.prelu(as_(x), as_(slope.reshape(1, 1, 1, -1)).reshape(-1)),
        lambda as_: ops.prelu_vjp(as_(dy), as_(x), slope),
    ]
    for call in calls:
        for got, want in zip(_all(call(held)), _all(call(lambda array: array)), strict=True):
            np.testing.assert_array_equal(got, want)


def _all(result: Any) -> list[Any]:
    return [r for r in (result if isinstance(result, tuple) else (result,)) if r is not None]


def test_no_layout_makes_numba_compile_again(rng: np.random.Generator) -> None:
    from sesr_kernels.blocks import prelu
    from sesr_kernels.inference import bands
    from sesr_kernels.training import step

    net, ops = sr.sesr(1), sr.fast()
    params = random_params(net, rng)
    x = images(net, rng, 1, 5, 6)
    for held in KINDS.values():
        sr.run(net, params, held(x), ops=ops)
        sr.loss_and_grads(net, params, held(x), targets(net, rng, x), ops=ops)
        ops.prelu(held(x), np.ones(1, np.float32))
    for function in (bands.run_band, step.train_images, prelu._prelu):
        dispatcher: Any = function
        assert len(dispatcher.signatures) == 1


@pytest.mark.parametrize("dtype", [np.float16, ">f4", np.int32, np.complex64, np.bool_])
def test_other_dtypes_are_rejected_by_both(dtype: Any, rng: np.random.Generator) -> None:
    net = sr.sesr(1)
    params, x = random_params(net, rng), images(net, rng, 1, 5, 6).astype(dtype)
    weight = rng.random((3, 3, 1, 1), np.float32)
    for call in (
        lambda ops: sr.run(net, params, x, ops=ops),
        lambda ops: sr.loss_and_grads(net, params, x, x, ops=ops),
        lambda ops: ops.conv2d(x, weight),
        lambda ops: ops.prelu(x, np.ones(1, np.float32)),
    ):
        with pytest.raises(ValueError, match="must be") as want:
            call(sr.REFERENCE)
        with pytest.raises(ValueError, match="must be") as got:
            call(sr.fast())
        assert str(got.value) == str(want.value)


def test_adam_writes_to_no_array_that_is_read_only_shorter_or_strided() -> None:
    kernel = sr.fast().adam
    assert kernel is not None
    d, factors = np.ones(64, np.float32), (0.1, 0.001, 1e-7, 1e-3, 1.0)
    for odd in (_read_only(d), np.ones(63, np.float32), np.ones(128, np.float32)[::2]):
        for key in ("weights", "mean", "square"):
            state = {name: np.ones(64, np.float32) for name in ("weights", "mean", "square")}
            assert kernel(state | {key: odd}, d, factors) == 0
            np.testing.assert_array_equal(odd, 1)
