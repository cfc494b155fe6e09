"""Bodies of linear layers: each published block is one convolution; others are rejected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import naive
import sesr_ref as sr
from sesr_ref import network as nw
from sesr_ref.architectures import blocks as published
from sesr_ref.collapse import collapse_block
from sesr_ref.linear.compose import collapse_body, compose_vjp, magnitudes
from sesr_ref.linear.part import part_of
from sesr_ref.network import Add, BatchNorm, Composite, Conv, Network, NetworkError, Stencil
from sesr_ref.verify.proof import impulse_response, prove, run_body

Array = npt.NDArray[Any]
Params = dict[str, Any]
Make = Callable[[int, int], tuple[nw.Layer, ...]]

BODIES: dict[str, tuple[Make, str]] = {
    "expandnet_cl": (lambda c, f: published.expandnet_cl(c, f, 7), "plane"),
    "expandnet_cl 5": (lambda c, f: published.expandnet_cl(c, f, 7, 5), "plane"),
    "expandnet_ck 5": (lambda c, f: published.expandnet_ck(c, f, 6), "plane"),
    "expandnet_ck 7": (lambda c, f: published.expandnet_ck(c, f, 6, 7), "plane"),
    "expandnet_ck 3": (lambda c, f: published.expandnet_ck(c, f, 6, 3), "plane"),
    "expandnet_depthwise": (lambda c, f: published.expandnet_depthwise(c, c), "zero"),
    "acnet": (published.acnet, "zero"),
    "repvgg": (published.repvgg, "zero"),
    "repvgg grouped": (lambda c, f: published.repvgg(c, f, 2), "zero"),
    "dbb": (published.dbb, "bias"),
    "ecb": (lambda c, f: published.ecb(c, f, 2 * f), "bias"),
    "ecb, padded once": (lambda c, f: published.ecb(c, f, 2 * f), "plane"),
    "repsr": (lambda c, f: published.repsr(c, f, 5), "zero"),
    "conv3xc": (lambda c, f: published.conv3xc(c, f, 5), "plane"),
    "etds": (lambda c, f: published.etds(c, f, 2), "zero"),
    "ghost": (published.ghost, "plane"),
    "rectangle": (lambda c, f: (Conv("a", f, (5, 1)), Conv("b", f, (1, 3))), "plane"),
}
CHANNELS = ((4, 4), (4, 6))
EACH = pytest.mark.parametrize("name", BODIES)
SIZES = ((1, 1), (1, 4), (3, 2), (5, 7))


def composite(name: str) -> Composite:
    """The block from 4 channels to 4."""
    make, border = BODIES[name]
    return Composite("b", make(4, 4), border)


def parameters(
    block: nw.Linear, channels: int, rng: np.random.Generator, whole: bool = False
) -> Any:
    """Random parameters; `whole` ones are small integers, whose sums floats hold exactly."""
    drawn = {}
    for key, shape in block.param_shapes(channels).items():
        values = rng.integers(-2, 3, shape).astype(float) if whole else rng.normal(0, 0.5, shape)
        drawn[key] = np.abs(values) + 0.5 if key.endswith("var") else values
    return drawn


def of_one_block(block: nw.Linear, channels: int, features: int) -> Network:
    last = Conv("last", channels, 1)
    return (
        Network("n", 1, channels, (block, last))
        if features != channels
        else Network("n", 1, channels, (block,))
    )


@EACH
@pytest.mark.parametrize("channels", CHANNELS, ids=str)
def test_each_is_the_convolution_it_collapses_to(
    name: str, channels: tuple[int, int], rng: np.random.Generator
) -> None:
    make, border = BODIES[name]
    count, features = channels
    if name in ("expandnet_depthwise",):
        features = count
    block = Composite("b", make(count, features), border)
    own = parameters(block, count, rng)
    small = collapse_block(block, count, own)
    found = block.facts(count)
    assert small["weight"].shape == (*found.sides, count // found.groups, features)
    assert ("bias" in small) == found.constant
    for height, width in SIZES:
        x = rng.normal(size=(2, height, width, count))
        y = naive.conv2d(x, small["weight"], small.get("bias"), found.groups)
        np.testing.assert_allclose(run_body(block, count, own, x), y, rtol=0, atol=1e-11)


@EACH
def test_integers_collapse_exactly(name: str, rng: np.random.Generator) -> None:
    block = composite(name)
    if any(isinstance(layer, BatchNorm) or layer.name == "mean" for layer in block.layers):
        pytest.skip("roots and ninths are no integers")
    own = parameters(block, 4, rng, whole=True)
    small, x = collapse_block(block, 4, own), rng.integers(-3, 4, (1, 4, 3, 4)).astype(float)
    y = naive.conv2d(x, small["weight"], small.get("bias"), block.facts(4).groups)
    np.testing.assert_array_equal(run_body(block, 4, own, x), y)


@EACH
def test_each_is_its_response_to_an_impulse(name: str, rng: np.random.Generator) -> None:
    block = composite(name)
    own = parameters(block, 4, rng)
    weight = collapse_body(block, 4, own)["weight"]
    response = impulse_response(block, 4, own)
    dense = np.zeros_like(response)
    groups = block.facts(4).groups
    for g in range(groups):
        part = slice(g * 4 // groups, (g + 1) * 4 // groups)
        dense[:, :, part, part] = weight[..., part]
    np.testing.assert_allclose(dense, response, rtol=0, atol=1e-12)


@EACH
def test_expanded_equals_collapsed_in_a_network(name: str, rng: np.random.Generator) -> None:
    net = Network(
        "n",
        1,
        4,
        (
            composite(name),
            nw.PReLU("act"),
            composite(name).__class__("c", composite(name).layers, composite(name).border),
        ),
    )
    params: Params = {
        key: np.abs(value) + 0.5 if key.endswith("var") else value
        for key, shape in net.param_shapes().items()
        for value in [rng.normal(0, 0.4, shape)]
    }
    x = rng.normal(size=(2, 6, 5, 4))
    wide = sr.forward(sr.expanded(net), sr.expand_params(net, params), x)
    small = sr.forward(sr.collapsed(net), sr.collapse_params(net, params), x)
    for tensor in ("b", "act", "c"):
        np.testing.assert_allclose(wide[tensor], small[tensor], rtol=1e-9, atol=1e-9)


@EACH
def test_training_through_the_collapse_has_the_expanded_gradients(
    name: str, rng: np.random.Generator
) -> None:
    net = of_one_block(composite(name), 4, 4)
    params = {f"b.{key}": value for key, value in parameters(composite(name), 4, rng).items()}
    x = rng.normal(size=(2, 5, 6, 4))
    wide, wide_params = sr.expanded(net), sr.expand_params(net, params)
    tensors = sr.forward(wide, wide_params, x)
    dy = rng.normal(size=tensors[wide.output].shape)
    expected = sr.backward(wide, wide_params, tensors, dy)
    small, small_params = sr.collapsed(net), sr.collapse_params(net, params)
    down = sr.backward(small, small_params, sr.forward(small, small_params, x), dy)
    got = sr.collapse_params_vjp(net, params, down)
    assert list(got) == list(params)
    for key, gradient in got.items():
        np.testing.assert_allclose(gradient, expected[key], rtol=1e-9, atol=1e-9, err_msg=key)


@EACH
def test_the_gradient_of_the_collapse_is_its_adjoint(name: str, rng: np.random.Generator) -> None:
    block = composite(name)
    own = parameters(block, 4, rng)
    small = collapse_body(block, 4, own)
    d = {key: rng.normal(size=value.shape) for key, value in small.items()}
    kernel = d["weight"]
    if block.facts(4).groups == 1:
        grads = compose_vjp(block, 4, own, kernel, d.get("bias"))
        for key, value in own.items():
            if key.endswith(("mean", "var")):  # stored, not learnt
                assert not grads[key].any()
                continue
            direction, step = rng.normal(size=value.shape), 1e-6
            ahead, behind = (
                collapse_body(block, 4, own | {key: value + s * direction}) for s in (step, -step)
            )
            slope = sum(
                np.vdot(d[part], (ahead[part] - behind[part]) / (2 * step)) for part in small
            )
            assert np.vdot(grads[key], direction) == pytest.approx(slope, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("name", [n for n in BODIES if "depthwise" not in n])
def test_magnitudes_are_no_smaller_than_the_sums_that_they_bound(
    name: str, rng: np.random.Generator
) -> None:
    block = composite(name)
    own = parameters(block, 4, rng)
    small, size = collapse_body(block, 4, own), magnitudes(block, 4, own, 1)
    for key, value in small.items():
        assert (size[key] >= np.abs(value) - 1e-12).all()


REJECTED = {
    "a bias ahead of a 3 x 3": (published.expandnet_cl(4, 4, 7), "zero", "'middle' pads 'widen'"),
    "3 x 3 after 3 x 3": (published.expandnet_ck(4, 4, 6), "zero", "'conv1' pads 'conv0'"),
    "the same, padded by its bias": (published.expandnet_ck(4, 4, 6), "bias", "its bias"),
    "normalised, then averaged": (published.dbb(4, 4), "zero", "'mean' pads 'mean_inner'"),
    "edges of a biased 1 x 1": (published.ecb(4, 4, 8), "zero", "pads"),
    "a shift of a 3 x 3": (published.ghost(4, 4), "zero", "'moved' pads 'primary'"),
    "the same without biases": (
        (Conv("primary", 4, 3), Stencil("moved", published.RIGHT)),
        "bias",
        "depends on pixels",
    ),
}


@pytest.mark.parametrize("name", REJECTED)
def test_a_wrong_border_is_rejected_because_results_differ_only_there(
    name: str, rng: np.random.Generator
) -> None:
    body, border, message = REJECTED[name]
    block = Composite("b", body, border)
    with pytest.raises(NetworkError, match=f"b: .*{message}"):
        block.facts(4)
    with pytest.raises(NetworkError, match="b: "):
        Network("n", 1, 4, (block,))
    right = Composite("b", body)
    own = parameters(right, 4, rng)
    net = Network("n", 1, 4, tuple(body))  # each layer pads its own input with zeros
    x = rng.normal(size=(1, 9, 10, 4))
    wrong = naive.forward(net, own, x)[net.output]
    y = run_body(right, 4, own, x)
    margin = max(right.facts(4).radius)
    inner = slice(margin, -margin)
    np.testing.assert_allclose(wrong[:, inner, inner], y[:, inner, inner], rtol=0, atol=1e-11)
    if border == "zero":
        assert np.abs(wrong - y).max() > 1e-3


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ((Conv("a", 4, 3), nw.ReLU("b")), "'b' is a ReLU, not linear"),
        ((Conv("a", 4, 3), nw.Multiply("b", inputs=("a", "input"))), "Multiply, not linear"),
        ((Conv("a", 4, 3), nw.Pad("b", 1)), "Pad, not linear"),
        ((nw.LinearBlock("a", 4, 3, 8),), "LinearBlock, not linear"),
        ((Conv("a", 4, 3), Conv("a", 4, 3)), "two layers are called 'a'"),
        ((Conv("a", 4, 3, inputs=("c",)),), "reads 'c' before it exists"),
        ((Conv("a.b", 4, 3),), r"a\.b: name must be without '\.' in a body"),
        ((Conv("a", 4, 3), Conv("b", 4, 3, shares="a")), "b: shares must be empty in a body"),
        (("a",), "'a' is not a layer"),
        ((), "a tuple of 1 to"),
    ],
)
def test_an_invalid_body_is_rejected(body: Any, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        Composite("block", body)


def test_shapes_that_do_not_fit_are_rejected_with_the_blocks_name() -> None:
    block = Composite("block", (Conv("a", 3, 3), Add("b", inputs=("a", "input"))))
    with pytest.raises(NetworkError, match="block: "):
        Network("n", 1, 4, (block, Conv("last", 4, 1)))
    one = Composite("block", (Conv("a", 1, 3), Add("b", inputs=("input", "a"))))
    with pytest.raises(NetworkError, match="'b' must add tensors with equal numbers of channels"):
        Network("n", 1, 4, (one,))
    with pytest.raises(NetworkError, match="border must be one of"):
        Composite("block", (Conv("a", 3, 3),), border="mirror")


@pytest.mark.parametrize("name", BODIES)
def test_json_loses_nothing(name: str) -> None:
    net = of_one_block(composite(name), 4, 4)
    assert Network.from_json(net.to_json()) == net


def test_a_composite_within_a_composite_is_rejected_in_json() -> None:
    inner = '{"kind": "Composite", "name": "c", "layers": []}'
    text = (
        '{"name": "n", "upscale": 1, "channels": 1, "layers": '
        f'[{{"kind": "Composite", "name": "b", "layers": [{inner}]}}]}}'
    )
    with pytest.raises(NetworkError, match="a layer needs a kind, one of"):
        Network.from_json(text)


@pytest.mark.parametrize("block", published.BLOCKS)
def test_sesr_takes_each_block_and_collapses_to_the_papers_network(block: str) -> None:
    net = sr.sesr(2, 4, expand=8, block=block)
    small = sr.collapsed(net)
    kernels = [la.kernel_size for la in small.layers if isinstance(la, Conv)]
    assert kernels == [5, 3, 3, 5]
    assert sr.cost(net, 8, 8).parameters == sr.cost(sr.sesr(2, 4), 8, 8).parameters
    assert sr.architecture(f"sesr-m5-{block.replace('_', '-')}-x2") == sr.sesr(block=block)


@pytest.mark.slow
@pytest.mark.parametrize("block", published.BLOCKS)
def test_each_block_is_proved(block: str, rng: np.random.Generator) -> None:
    net = sr.sesr(1, 3, expand=4, block=block)
    params = sr.initialise(net, seed=1)
    params = {k: (v + rng.normal(0, 0.1, v.shape)).astype(np.float32) for k, v in params.items()}
    failed = [check for check in prove(net, params) if not check.passed]
    assert not failed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block": "resnet"}, "block must be one of"),
        ({"block": "ecb", "linear_blocks": False}, "needs linear blocks"),
        ({"block": "ecb", "short_residuals": False}, "holds the identity itself"),
        ({"block": "dbb", "dialect": "arm", "block_bias": "true"}, "dialect 'paper'"),
        ({"block": "dbb", "block_bias": "true"}, "block_bias 'none' only"),
    ],
)
def test_combinations_that_make_no_sense_are_rejected(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sr.sesr(**options)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[nw.Layer, ...]:
    """Random bodies of linear layers on 3 channels; some outputs are never read."""
    layers: list[nw.Layer] = []
    channels = {"input": 3}
    for i in range(draw(st.integers(1, 6))):
        source = draw(st.sampled_from(sorted(channels)))
        alike = [n for n, c in channels.items() if c == channels[source]]
        name, read = f"l{i}", (source,)
        layers.append(
            draw(
                st.sampled_from(
                    [
                        Conv(name, 3, 3, bias=True, inputs=read),
                        Conv(name, 2, (1, 3), inputs=read),
                        Conv(name, channels[source], 1, channels[source], inputs=read),
                        Stencil(name, published.SOBEL_X, factor=True, inputs=read),
                        nw.Gain(name, inputs=read),
                        nw.Scale(name, -1.5, inputs=read),
                        BatchNorm(name, inputs=read),
                        nw.Slice(name, 0, 1, inputs=read),
                        Add(name, inputs=(source, draw(st.sampled_from(alike)))),
                        nw.Concat(name, inputs=(source, draw(st.sampled_from(sorted(channels))))),
                    ]
                )
            )
        )
        (made,) = [layers[-1].out_shape(*((9, 9, channels[n]) for n in layers[-1].inputs))]
        channels[name] = made[2]
    return tuple(layers)


@settings(max_examples=60)
@given(bodies(), st.integers(0, 2**31))
def test_any_body_of_linear_layers_is_one_convolution(body: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    block = Composite("b", body)
    found, own = block.facts(3), parameters(block, 3, rng)
    small = collapse_block(block, 3, own)
    x = rng.normal(size=(1, 4, 3, 3))
    y = naive.conv2d(x, small["weight"], small.get("bias"), found.groups)
    np.testing.assert_allclose(
        run_body(block, 3, own, x), y, rtol=1e-9, atol=1e-9 * (1 + np.abs(y).max())
    )


@pytest.mark.parametrize("name", [n for n in BODIES if n != "repvgg grouped"])
def test_a_part_is_a_body_of_the_same_layers_and_parameters(
    name: str, rng: np.random.Generator
) -> None:
    make, border = BODIES[name]
    count = 8
    block = Composite("b", make(count, count), border)
    own = parameters(block, count, rng)
    part, channels, few = part_of(block, count, own, 3)
    assert isinstance(part, Composite)
    assert [layer.name for layer in part.layers] == [layer.name for layer in block.layers]
    assert part.facts(channels).radius == block.facts(count).radius
    assert sum(a.size for a in few.values()) < sum(a.size for a in own.values())
    for key, shape in part.param_shapes(channels).items():
        np.testing.assert_array_equal(few[key], own[key][tuple(map(slice, shape))])


def test_a_body_of_which_no_part_fits_is_kept_whole(rng: np.random.Generator) -> None:
    halves = nw.Slice("a", 0, 4), nw.Slice("b", 4, 8, inputs=("input",))
    block = Composite(
        "b", (*halves, nw.Concat("c", inputs=("a", "b")), Add("d", inputs=("c", "input")))
    )
    assert part_of(block, 8, {}, 3) == (block, 8, {})


def test_a_composite_without_parameters_has_the_dtype_of_the_others() -> None:
    layers = (Composite("a", (nw.Scale("b", -1.5),)), Conv("c", 3, 1))
    net = Network("n", 1, 3, layers)
    params = sr.initialise(net)
    small = sr.collapse_params(net, params)
    assert small["a.weight"].dtype == np.float32
    x = np.full((1, 2, 3, 3), 0.5, np.float32)
    np.testing.assert_array_equal(sr.forward(sr.collapsed(net), small, x)["a"], -1.5 * x)
    assert not [check for check in prove(net, params) if not check.passed]


def test_biases_much_larger_than_weights_are_no_false_alarm(rng: np.random.Generator) -> None:
    net = of_one_block(composite("ecb"), 4, 4)
    params = sr.initialise(net)
    params = {k: v + np.float32(100 * k.endswith("bias")) for k, v in params.items()}
    assert not [check for check in prove(net, params) if not check.passed]


def test_a_shared_composite_collapses_and_trains_once(rng: np.random.Generator) -> None:
    first = Composite("a", published.repsr(3, 3, 5), "zero")
    second = Composite("b", published.repsr(3, 3, 5), "zero", shares="a")
    net = Network("n", 1, 3, (first, nw.PReLU("act"), second))
    params: Params = {k: rng.normal(0, 0.4, s) for k, s in net.param_shapes().items()}
    params = {k: np.abs(v) + 0.5 if k.endswith("var") else v for k, v in params.items()}
    x = rng.normal(size=(1, 5, 4, 3))
    wide = sr.forward(sr.expanded(net), sr.expand_params(net, params), x)
    small = sr.forward(sr.collapsed(net), sr.collapse_params(net, params), x)
    np.testing.assert_allclose(wide["b"], small["b"], rtol=1e-9, atol=1e-9)
