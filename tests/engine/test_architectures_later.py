"""Networks beside the paper's: each does what its authors state, and names its bad options."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import generate
import sesr_ref as sr
from sesr_ref.architectures import (
    abpn,
    btsrn,
    drcn,
    drrn,
    ecbsr,
    espcn,
    etds,
    moremnas,
    quicksrnet,
    span,
    tpsr,
    xlsr,
)
from sesr_ref.network import Composite, Conv, ConvTranspose, Network
from sesr_ref.ops.arrays import Array, Params
from sesr_ref.ops.conv import conv2d
from sesr_ref.ops.rearrange import depth_to_space, resize

Shape = tuple[int, ...]


def zeros(net: Network) -> Params:
    return {name: np.zeros(shape) for name, shape in net.param_shapes().items()}


def image(channels: int, shape: Shape = (2, 6, 5)) -> Array:
    return generate.images((*shape, channels), 5)


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


@pytest.mark.parametrize("upscale", [2, 3])
def test_without_weights_abpn_and_ecbsr_repeat_the_image(upscale: int) -> None:
    for net in (abpn(upscale, 1, 3), ecbsr(upscale, 1, 3)):
        x = image(net.channels)
        np.testing.assert_array_equal(sr.run(net, zeros(net), x), resize(x, upscale, "nearest"))


def test_the_anchor_of_quicksrnet_may_repeat_the_image() -> None:
    net = quicksrnet(2, 1, 4, anchor=True)
    params, x = zeros(net), image(3)
    params["anchor.weight"][0, 0] = np.repeat(np.eye(3), 4, axis=1)
    np.testing.assert_array_equal(sr.run(net, params, x), resize(x, 2, "nearest"))
    assert "anchor" not in {layer.name for layer in quicksrnet(2, 1, 4).layers}


@pytest.mark.parametrize("build", [drrn, drcn], ids=["drrn", "drcn"])
def test_recursive_networks_own_one_set_of_weights(build: Callable[..., Network]) -> None:
    few, many = build(2, 3, 1), build(2, 3, 4)
    shapes = many.param_shapes()
    owned = {name for name in shapes if not name.endswith(".gain")}
    assert owned == {name for name in few.param_shapes() if not name.endswith(".gain")}
    assert len(many.layers) > len(few.layers)


def test_drrn_without_weights_is_bicubic() -> None:
    net, x = drrn(3, 4, 2), image(1)
    np.testing.assert_array_equal(sr.run(net, zeros(net), x), resize(x, 3, "bicubic"))


def test_drcn_is_the_mean_of_its_images_where_all_weigh_1() -> None:
    net = drcn(2, 3, 4)
    params = generate.parameters(net, 1)
    params |= {name: np.ones(1) for name in params if name.endswith(".gain")}
    tensors = sr.forward(net, params, image(1))
    mean = np.mean([tensors[f"image{i}"] for i in range(1, 5)], axis=0)
    np.testing.assert_allclose(tensors["output"], mean, rtol=1e-12)
    assert sr.initialise(net)["weight3.gain"] == 1


def test_etds_computes_its_two_streams_and_clips() -> None:
    net = etds(2, 2, 8)
    params, x = generate.parameters(net, 2), image(3)

    def conv(name: str, x: Array) -> Array:
        return conv2d(x, params[f"{name}.weight"], params[f"{name}.bias"])

    main, side = relu(conv("head.main_conv", x)), relu(conv("head.side_conv", x))
    for i in range(2):
        cross = conv(f"block{i}.cross_conv", side)
        main = relu(conv(f"block{i}.main_conv", main) + cross)
        side = relu(conv(f"block{i}.side_conv", side))
    subpixels = conv("tail.main_conv", main) + conv("tail.side_conv", side)
    expected = depth_to_space(np.clip(subpixels, 0, 1), 2, "CRD")
    np.testing.assert_allclose(sr.run(net, params, x), expected, rtol=0, atol=1e-12)


def test_etds_deploys_3_x_3_convolutions_and_one_fixed_1_x_1() -> None:
    net = etds(4, 3, 8)
    small = sr.collapsed(net)
    convolutions = [layer for layer in small.layers if isinstance(layer, Conv)]
    assert [(c.features, c.kernel_size, c.groups) for c in convolutions] == [
        *[(8, 3, 1)] * 4,
        (48, 3, 1),
        (48, 1, 1),
    ]
    weight = sr.collapse_params(net, sr.initialise(net))["clip.weight"]
    np.testing.assert_array_equal(weight[0, 0], -np.eye(48))
    assert not [name for name in net.param_shapes() if name.startswith("clip")]


def test_a_block_of_span_is_multiplied_by_an_odd_function_of_its_result() -> None:
    net = span(2, 4, 2)
    small, params = sr.collapsed(net), generate.parameters(net, 3)
    tensors = sr.forward(small, sr.collapse_params(net, params), image(3))
    for i, start in enumerate(("head", "block0")):
        made = tensors[f"block{i}.conv2"]
        gate = 1 / (1 + np.exp(-made)) - 0.5
        expected = (made + tensors[start]) * gate
        np.testing.assert_allclose(tensors[f"block{i}"], expected, rtol=0, atol=1e-12)
    steps = {layer.name: inputs for layer, inputs in net.steps()}
    assert steps["joined"] == ("head", "body", "block0", "block1.act0")


def test_blocks_of_ecbsr_and_span_are_the_published_ones() -> None:
    def widths(net: Network, name: str) -> dict[str, int]:
        (block,) = (layer for layer in net.layers if layer.name == name)
        assert isinstance(block, Composite)
        return {la.name: la.features for la in block.layers if isinstance(la, Conv)}

    edge = ecbsr(4, 1, 16)
    assert widths(edge, "head")["widen"] == widths(edge, "tail")["widen"] == 32
    tail = next(la for la in edge.layers if la.name == "tail")
    assert isinstance(tail, Composite)
    assert "input" not in tail.layers[-1].inputs  # 16 channels to 16, but no identity
    assert widths(span(), "head") == {"widen": 6, "middle": 96, "narrow": 48, "point": 48}


def test_btsrns_authors_enlarge_by_deconvolution_and_have_one_more_block_at_x4() -> None:
    for upscale, factors in ((2, [2]), (3, [3]), (4, [2, 2])):
        net = btsrn(upscale, 8, 4, 3, deconvolutions=True)
        strides = [la.stride for la in net.layers if isinstance(la, ConvTranspose)]
        assert strides == factors
        names = {layer.name for layer in net.layers}
        assert ("between" in names) == (upscale == 4)
        assert not [la for la in btsrn(upscale).layers if isinstance(la, ConvTranspose)]


def test_moremnas_adds_the_first_tensor_of_a_cell_that_says_so() -> None:
    steps = {layer.name: inputs for layer, inputs in moremnas("d").steps()}
    assert steps["cell1"] == ("cell1.unit0", "cell1.unit1")
    assert steps["cell4"] == ("cell4.supply", "cell4.unit3")
    assert "cell6" not in steps
    assert steps["sum"] == ("tail_act", "head_act")


def test_xlsr_reads_the_image_twice_and_stays_within_0_and_1() -> None:
    net = xlsr(2, 8, 1)
    steps = {layer.name: inputs for layer, inputs in net.steps()}
    assert steps["skip"] == steps["head"] == ("input",)
    assert steps["joined"] == ("block0", "skip")
    y = sr.run(net, {k: 9 * v for k, v in generate.parameters(net, 4).items()}, image(3))
    assert (y.min(), y.max()) == (0, 1)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: btsrn(5), r"upscale must be one of \[2, 3, 4\], got 5"),
        (lambda: btsrn(channels=2), r"channels must be one of \[1, 3\], got 2"),
        (lambda: btsrn(low_blocks=-1), "low_blocks must be an integer from 0 to 1000, got -1"),
        (lambda: tpsr(3), r"upscale must be one of \[2, 4\], got 3"),
        (lambda: moremnas("b"), r"variant must be one of \['c', 'd'\], got 'b'"),
        (lambda: moremnas("c", 3), "upscale must be one of"),
        (lambda: moremnas("c", 4, 8), "shuffle: 8 channels are not a multiple of 4"),
        (lambda: drcn(1), "upscale must be an integer from 2 to 16, got 1"),
        (lambda: drcn(recursions=0), "recursions must be"),
        (lambda: drrn(units=0), "units must be"),
        (lambda: ecbsr(features=0), "features must be an integer from 1"),
        (lambda: ecbsr(activation="gelu"), "activation must be one of"),
        (lambda: ecbsr(blocks=True), "blocks must be"),
        (lambda: xlsr(features=7), "features must be even, got 7"),
        (lambda: xlsr(features=6), "block0.conv: groups must be a divisor of 6, got 4"),
        (lambda: quicksrnet(True), "upscale must be an integer from 2 to 16, got True"),
        (lambda: abpn(blocks=-1), "blocks must be"),
        (lambda: etds(features=3), "features must be an integer from 4"),
        (lambda: etds(residual=2), "residual must be an integer from 3"),
        (lambda: espcn(features=1), "features must be an integer from 2"),
        (lambda: span(blocks=0), "blocks must be"),
        (lambda: span(ratio=0), "ratio must be"),
        (lambda: sr.architecture("etds-x-x2"), "no architecture is called 'etds-x-x2'"),
    ],
)
def test_impossible_options_are_named(build: Callable[[], Network], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_numbers_in_a_name_may_be_others() -> None:
    assert sr.architecture("ecbsr-m6c40-x3").name == "ecbsr-m6c40-x3"
    assert sr.architecture("abpn-m6c40-x3").upscale == 3
    assert sr.architecture("sesr-m7-ecb-x4") == sr.sesr(7, upscale=4, block="ecb")
