"""Other people's names of SESR's parameters: recognised, computed as they mean it, collapsed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import sesr_ref as sr
from aimet import aimet_state, weights
from sesr_ref import network as nw
from sesr_ref.exchange.dialects import DIALECTS
from sesr_ref.exchange.state import from_state, to_state

Array = npt.NDArray[Any]
State = dict[str, Array]


def convolved(x: Array, weight: Array, bias: Array | float = 0.0) -> Array:
    """OIHW convolution of one (channels, height, width) image, tap by tap."""
    k = weight.shape[2]
    padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2)))
    height, width = x.shape[1:]
    taps = (
        np.einsum("oc,chw->ohw", weight[:, :, i, j], padded[:, i : i + height, j : j + width])
        for i in range(k)
        for j in range(k)
    )
    return np.asarray(sum(taps) + np.reshape(bias, (-1, 1, 1)))


def aimet_forward(state: State, x: Array, upscale: int) -> Array:
    """What AIMET's SESR computes, written from its layout and nothing of this package."""
    own = {k.removeprefix("model."): v.astype(np.float64) for k, v in state.items()}

    def block(name: str, x: Array) -> Array:
        wide = convolved(x, own[f"{name}.conv_expand.weight"])
        squeeze = own[f"{name}.conv_squeeze.weight"]
        return convolved(wide, squeeze, own[f"{name}.conv_squeeze.bias"])

    first = np.maximum(block("conv_first", x), 0)
    body = first
    for i in range(sum(name.endswith("expand.weight") for name in own) - 2):
        body = np.maximum(body + block(f"residual_block.{i}", body), 0)
    last = block("conv_last", body + first)
    last = last + convolved(x, own["anchor.net.weight"], own["anchor.net.bias"])
    s, (_, height, width) = upscale, x.shape
    shuffled = last.reshape(3, s, s, height, width).transpose(0, 3, 1, 4, 2)
    return np.asarray(shuffled.reshape(3, s * height, s * width))


@pytest.mark.parametrize(("blocks", "upscale"), [(5, 2), (1, 4)])
def test_aimets_network_computes_what_its_layout_says(
    blocks: int, upscale: int, rng: np.random.Generator
) -> None:
    state = aimet_state(rng, blocks, upscale)
    net, params = from_state(state)
    x = rng.random((1, 7, 6, 3))
    expected = aimet_forward(state, x[0].transpose(2, 0, 1), upscale).transpose(1, 2, 0)
    np.testing.assert_allclose(sr.run(net, params, x)[0], expected, rtol=0, atol=1e-6)
    tensors = sr.forward(sr.expanded(net), sr.expand_params(net, params), x)
    np.testing.assert_allclose(tensors[net.output][0], expected, rtol=0, atol=1e-12)


def test_the_published_size_collapses_from_334_to_17_thousand_weights(
    rng: np.random.Generator,
) -> None:
    net, params = from_state(aimet_state(rng))
    assert weights(net) == 333_568 + 36
    small = sr.collapsed(net)
    assert weights(small) == 17_520 + 36
    assert sr.collapse_params(net, params).keys() == small.param_shapes().keys()


def with_slopes(state: State, shape: tuple[int, ...]) -> State:
    ends = ".conv_squeeze.weight"
    modules = {name.removesuffix(ends) for name in state if name.endswith(ends)}
    named = sorted(f"{name}.activation.weight" for name in modules - {"model.conv_last"})
    return state | {name: np.full(shape, 0.25, "f4") for name in named}


@pytest.mark.parametrize("shape", [(1,), (4,)])
def test_slopes_in_the_state_make_the_activations_prelu(
    shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    net, params = from_state(with_slopes(aimet_state(rng, 2, 2, 4, 6), shape))
    assert {type(la) for la in net.layers if "act" in la.name} == {nw.PReLU}
    np.testing.assert_array_equal(params["head_act.slope"], np.full(4, 0.25, np.float32))


@pytest.mark.parametrize("prefix", ["model.", "", "module."])
def test_usual_prefixes_do_not_matter(prefix: str, rng: np.random.Generator) -> None:
    state = aimet_state(rng, 1, 2, 4, 6)
    renamed = {prefix + name.removeprefix("model."): array for name, array in state.items()}
    net, params = from_state(renamed)
    np.testing.assert_array_equal(params["anchor.bias"], state["model.anchor.net.bias"])
    assert net == from_state(state)[0]


def sesr_of(dialect: str, rng: np.random.Generator) -> sr.Network:
    if dialect.startswith("aimet"):
        net, _ = from_state(aimet_state(rng, 2, 2, 4, 6))
    else:
        net = sr.sesr(12, 3, 2, expand=6, block_bias="true")
    return sr.collapsed(net) if dialect.endswith("collapsed") else net


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_goes_out_and_comes_back(dialect: str, rng: np.random.Generator) -> None:
    net = sesr_of(dialect, rng)
    params = {k: rng.normal(0, 0.3, s).astype("f4") for k, s in net.param_shapes().items()}
    back, got = from_state(to_state(net, params, dialect))
    x = rng.random((1, 6, 5, net.channels))
    np.testing.assert_allclose(sr.run(back, got, x), sr.run(net, params, x), rtol=0, atol=1e-5)
    exact = {k: v for k, v in params.items() if not (dialect == "aimet" and k.endswith("_bias"))}
    for name, array in exact.items():
        np.testing.assert_array_equal(got[name], array, err_msg=name)


@pytest.mark.parametrize("activation", ["prelu", "relu"])
@pytest.mark.parametrize("dialect", ["sesr-ref", "torch", "sesr-ref-collapsed"])
def test_the_papers_network_is_known_by_its_names_alone(
    dialect: str, activation: str, rng: np.random.Generator
) -> None:
    net = sr.sesr(2, 4, 4, expand=6, activation=activation)
    net = sr.collapsed(net) if dialect.endswith("collapsed") else net
    params = sr.initialise(net)
    back, got = from_state(to_state(net, params, dialect))
    x = rng.random((1, 6, 5, 1))
    np.testing.assert_array_equal(sr.run(back, got, x), sr.run(net, params, x))
    assert list(back.param_shapes()) == list(net.param_shapes())


Change = Callable[[State], State]


def dropped(*names: str) -> Change:
    return lambda state: {k: v for k, v in state.items() if k not in names}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            dropped("model.residual_block.1.conv_squeeze.bias"),
            r"AIMET / AI Hub: expected model\.residual_block\.1\.conv_squeeze\.bias \(missing\)",
        ),
        (
            dropped("model.residual_block.0.conv_expand.weight"),
            r"expected model\.residual_block\.0\.conv_expand\.weight",
        ),
        (
            lambda s: s | {"model.bn.weight": np.ones(3, "f4")},
            r"expected nothing else; found model\.bn\.weight, which is not part of it",
        ),
        (
            lambda s: s | {"model.conv_last.conv_squeeze.weight": np.ones((11, 6, 1, 1), "f4")},
            "the tail makes 11 channels, no square times the 3 read",
        ),
        (
            lambda s: s | {"model.conv_first.conv_expand.weight": np.ones((6, 3, 5), "f4")},
            r"conv_first\.conv_expand\.weight must have 4 axes, got shape \(6, 3, 5\)",
        ),
        (
            lambda s: s | {"model.residual_block.1.conv_expand.weight": np.ones((6, 4, 5, 5))},
            r"model\.residual_block\.1\.conv_expand\.weight must have shape \(6, 4, 3, 3\), "
            r"got \(6, 4, 5, 5\)",
        ),
        (
            lambda s: s | {"model.anchor.net.bias": np.ones(12, "i4")},
            r"model\.anchor\.net\.bias must be floats, got int32",
        ),
        (
            lambda s: s | {"model.anchor.net.bias": np.full(12, np.nan, "f4")},
            r"model\.anchor\.net\.bias holds numbers that are not finite",
        ),
        (
            lambda s: s | {"model.conv_first.activation.weight": np.ones(1, "f4")},
            r"expected model\.residual_block\.0\.activation\.weight \(missing\)",
        ),
        (
            lambda s: {k: v for k, v in s.items() if "residual_block" not in k},
            "there is no block between head and tail",
        ),
        (
            lambda s: dict.fromkeys(map(str, range(10_001)), np.ones(1, "f4")),
            "at most 10000, got 10001",
        ),
        (
            lambda s: {"b.weight": np.ones(3, "f4")},
            r"fits no network that has a name; the nearest: it has 0 convolution",
        ),
        (lambda s: {}, "the file has no parameters"),
    ],
)
def test_what_does_not_fit_says_what_was_expected_and_found(
    change: Change, message: str, rng: np.random.Generator
) -> None:
    with pytest.raises(ValueError, match=message) as error:
        from_state(change(aimet_state(rng, 2, 2, 4, 6)))
    assert "\n" not in str(error.value)


def test_a_network_that_the_dialect_does_not_describe_is_rejected() -> None:
    net = sr.fsrcnn()
    with pytest.raises(ValueError, match="fsrcnn-x2 is not the network that AIMET / AI Hub"):
        to_state(net, sr.initialise(net), "aimet")
    with pytest.raises(ValueError, match="dialect must be one of"):
        to_state(net, sr.initialise(net), "klingon")


SHIPPED = sr.sesr(1, 4, 2, expand=6, short_residuals=False)


@pytest.mark.parametrize(
    ("net", "dialect", "why"),
    [
        (
            SHIPPED,
            "sesr-ref-collapsed",
            "it has no head.weight, for which the dialect has head.weight",
        ),
        (
            SHIPPED,
            "aimet",
            "it has no head.project_bias, for which the dialect has "
            "model.conv_first.conv_squeeze.bias",
        ),
        (
            sr.collapsed(sr.sesr(1, 4, 2, 6, input_residual=False)),
            "torch-collapsed",
            "shuffle0: name is 'shuffle0', the dialect has 'subpixels'",
        ),
        (
            sr.collapsed(sr.sesr(1, 4, 4, 6, dialect="arm", block_bias="true")),
            "torch-collapsed",
            "shift: name is 'shift', the dialect has 'head'",
        ),
    ],
)
def test_the_first_difference_is_said(net: sr.Network, dialect: str, why: str) -> None:
    with pytest.raises(ValueError, match=r"is not the network that .* describes: ") as error:
        to_state(net, sr.initialise(net), dialect)
    assert why in str(error.value)
    assert "\n" not in str(error.value)
