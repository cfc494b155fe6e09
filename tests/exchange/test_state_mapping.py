"""State dicts of other people's modules: known by order and shapes, or asked about."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import sesr_ref as sr
from sesr_ref import network as nw
from sesr_ref.exchange.state import from_state, to_state
from sesr_ref.exchange.torch.names import torch_names

Array = npt.NDArray[Any]
State = dict[str, Array]


def parameters(net: sr.Network, seed: int = 3) -> State:
    rng = np.random.default_rng(seed)
    shapes = net.param_shapes().items()
    drawn = {k: rng.normal(0, 0.3, s).astype(np.float32) for k, s in shapes}
    return {k: np.abs(v) + np.float32(0.1) if k.endswith("var") else v for k, v in drawn.items()}


def foreign(net: sr.Network, params: State, form: str = "layers.{}") -> State:
    """The state of a module that numbers what it holds, as nn.Sequential does."""
    state = to_state(net, params, "torch")
    stems = list(dict.fromkeys(name.rpartition(".")[0] for name in state))
    names = {stem: form.format(i) for i, stem in enumerate(stems)}
    return {
        f"{names[stem]}.{key}": array
        for name, array in state.items()
        for stem, _, key in [name.rpartition(".")]
    }


def same_result(got: tuple[sr.Network, State], net: sr.Network, params: State) -> None:
    x = np.random.default_rng(5).random((1, 6, 5, net.channels))
    np.testing.assert_allclose(sr.run(*got, x), sr.run(net, params, x), rtol=0, atol=1e-6)


# DRCN's factors of its sixteen results look like slopes: only names tell them.
PLAIN = [name for name in sr.architectures() if not name.startswith(("sesr", "drcn"))]


@pytest.mark.parametrize("name", PLAIN)
def test_a_network_with_a_name_is_known_by_its_convolutions(name: str) -> None:
    net = sr.collapsed(sr.architecture(name))
    params = parameters(net)
    state = foreign(net, params)
    try:
        back, got = from_state(state)
    except ValueError as error:  # those that differ by their enlargement alone
        names = str(error).rpartition("--as (")[2].rstrip(")").split(", ")
        assert name in names
        assert {other.rpartition("-x")[0] for other in names} == {name.rpartition("-x")[0]}
        back, got = from_state(state, architecture=name)
    assert back.param_shapes() == net.param_shapes()
    for ours, theirs in zip(params.values(), got.values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("form", ["expanded", "collapsed"])
@pytest.mark.parametrize("name", ["sesr-m3-x2", "sesr-m5-x4", "sesr-m3-x2-npu", "sesr-xl-x2"])
def test_sesr_is_known_expanded_and_collapsed(name: str, form: str) -> None:
    net = sr.architecture(name)
    params = parameters(net)
    if form == "collapsed":
        net, params = sr.collapsed(net), sr.collapse_params(net, params)
    back, got = from_state(foreign(net, params))
    assert any(isinstance(la, nw.LinearBlock) for la in back.layers) == (form == "expanded")
    if net.upscale == 2:  # at x4, PyTorch's order of channels is taken
        same_result((back, got), net, params)
    assert {la.mode for la in back.layers if isinstance(la, nw.DepthToSpace)} == {"CRD"}


def test_sesr_of_any_size_with_biases(rng: np.random.Generator) -> None:
    net = sr.sesr(2, 6, 2, 11, block_bias="true")
    params = parameters(net)
    back, got = from_state(foreign(net, params))
    assert back.name == "sesr-m2-x2"
    same_result((back, got), net, params)


def test_sesr_without_the_input_residual_is_asked_for_by_name() -> None:
    net = sr.sesr(2, 6, 2, 11, input_residual=False)
    params = parameters(net)
    back, got = from_state(foreign(net, params), architecture="sesr-m2-x2-npu")
    assert "subpixels" not in {la.name for la in back.layers}
    same_result((back, got), net, params)
    with_input, _ = from_state(foreign(net, params))
    assert "subpixels" in {la.name for la in with_input.layers}


def test_our_own_names_with_another_network_asked_for() -> None:
    net = sr.sesr(2, 6, 2, 11, "relu", input_residual=False)
    params = parameters(net)
    for dialect in ("sesr-ref", "torch"):
        back, got = from_state(to_state(net, params, dialect), architecture=net)
        assert back == net
        same_result((back, got), net, params)


def yjn(upscale: int, rng: np.random.Generator, features: int = 56) -> State:
    """FSRCNN as most of PyTorch's versions lay it out, biases and all."""
    sizes = [
        ("first_part.0", (features, 1, 5, 5)),
        ("first_part.1", (features,)),
        ("mid_part.0", (12, features, 1, 1)),
        ("mid_part.1", (12,)),
        *itertools.chain.from_iterable(
            ((f"mid_part.{i}", (12, 12, 3, 3)), (f"mid_part.{i + 1}", (12,)))
            for i in range(2, 10, 2)
        ),
        ("mid_part.10", (features, 12, 1, 1)),
        ("mid_part.11", (features,)),
        ("last_part", (features, 1, 9, 9)),
    ]
    state: State = {}
    for name, shape in sizes:
        state[f"{name}.weight"] = rng.normal(0, 0.2, shape).astype(np.float32)
        if len(shape) == 4:
            out = 1 if name == "last_part" else shape[0]
            state[f"{name}.bias"] = rng.normal(0, 0.1, out).astype(np.float32)
    return state


def test_fsrcnn_does_not_tell_how_much_it_enlarges(rng: np.random.Generator) -> None:
    state = yjn(2, rng)
    with pytest.raises(ValueError, match=r"several .* --as \(fsrcnn-x2, fsrcnn-x3, fsrcnn-x4\)"):
        from_state(state)
    for upscale, features in ((2, 56), (3, 56), (4, 32)):
        net, params = from_state(yjn(upscale, rng, features), architecture=f"fsrcnn-x{upscale}")
        assert net.upscale == upscale
        assert net.layers[-1] == nw.ConvTranspose("deconv", 1, 9, upscale, bias=True, padding=4)
        assert params["extract.weight"].shape == (5, 5, 1, features)


def test_fsrcnn_computes_what_its_module_does(rng: np.random.Generator) -> None:
    torch: Any = pytest.importorskip("torch", reason="needs torch")
    nn = torch.nn
    for upscale in (2, 3, 4):
        state = yjn(upscale, rng)
        convs = [nn.Conv2d(56, 12, 1), nn.PReLU(12)]
        for _ in range(4):
            convs += [nn.Conv2d(12, 12, 3, padding=1), nn.PReLU(12)]
        module = nn.Module()
        module.first_part = nn.Sequential(nn.Conv2d(1, 56, 5, padding=2), nn.PReLU(56))
        module.mid_part = nn.Sequential(*convs, nn.Conv2d(12, 56, 1), nn.PReLU(56))
        module.last_part = nn.ConvTranspose2d(
            56, 1, 9, upscale, padding=4, output_padding=upscale - 1
        )
        module.load_state_dict({k: torch.tensor(v) for k, v in state.items()})
        x = rng.random((1, 1, 6, 7)).astype(np.float32)
        made = module.last_part(module.mid_part(module.first_part(torch.tensor(x))))
        net, params = from_state(state, architecture=f"fsrcnn-x{upscale}")
        got = sr.run(net, params, x.transpose(0, 2, 3, 1))
        expected = made.detach().numpy().transpose(0, 2, 3, 1)
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4)


NORMAL = nw.Network(
    "normal",
    2,
    1,
    layers=(
        nw.Conv("a", 6, 3),
        nw.BatchNorm("b"),
        nw.PReLU("c"),
        nw.Conv("d", 6, 3, shares=""),
        nw.BatchNorm("e"),
        nw.ReLU("f"),
        nw.Conv("g", 4, 3),
        nw.DepthToSpace("h", 2),
    ),
)


def test_normalisations_and_slopes_find_their_places() -> None:
    params = parameters(NORMAL)
    state = foreign(NORMAL, params)
    norms = [name.removesuffix("running_mean") for name in state if name.endswith("running_mean")]
    for name in norms:
        state[f"{name}num_batches_tracked"] = np.array(7)
    back, got = from_state(state, architecture=NORMAL)
    same_result((back, got), NORMAL, params)
    for name in norms:  # a normalisation without factors of its own
        del state[f"{name}weight"], state[f"{name}bias"]
    _, got = from_state(state, architecture=NORMAL)
    np.testing.assert_array_equal(got["b.scale"], np.ones(6))
    np.testing.assert_array_equal(got["e.offset"], np.zeros(6))


def test_one_slope_serves_all_channels_and_one_module_all_layers() -> None:
    net = nw.Network(
        "slopes",
        1,
        1,
        layers=(
            nw.Conv("a", 6, 3),
            nw.PReLU("b"),
            nw.Conv("c", 5, 3),
            nw.PReLU("d"),
            nw.Conv("e", 1, 3),
        ),
    )
    state = foreign(net, parameters(net))
    slopes = [name for name, array in state.items() if array.ndim == 1]
    state |= {name: np.array([0.25], np.float32) for name in slopes}
    _, got = from_state(state, architecture=net)
    np.testing.assert_array_equal(got["b.slope"], np.full(6, 0.25))
    del state[slopes[0]]
    _, got = from_state(state, architecture=net)
    np.testing.assert_array_equal(got["d.slope"], np.full(5, 0.25))
    del state[slopes[1]]
    back, _ = from_state(state, architecture=net)
    assert [type(la) for la in back.layers[1::2]] == [nw.ReLU, nw.ReLU]


@pytest.mark.parametrize(
    "prefix", ["module.", "model.", "net.", "_orig_mod.", "generator.", "module._orig_mod.model."]
)
def test_prefixes_do_not_matter(prefix: str) -> None:
    net = sr.architecture("sesr-m3-x2")
    params = parameters(net)
    state = {prefix + name: array for name, array in foreign(net, params).items()}
    if prefix == "generator.":
        state["discriminator.0.weight"] = np.ones((4, 1, 3, 3), np.float32)
    same_result(from_state(state), net, params)


def test_the_first_convolution_that_does_not_fit_is_named() -> None:
    net = sr.architecture("sesr-m5-x2")
    state = foreign(net, parameters(net))
    names = [name for name, array in state.items() if array.ndim == 4]
    state[names[4]] = np.ones((16, 3, 3, 3), np.float32)
    message = (
        r"^convolution 5, 'layers\.\d+', has shape \(16, 3, 3, 3\), 'block1\.expand' of sesr-m5-x2 "
        r"has \(256, 16, 3, 3\)$"
    )
    with pytest.raises(ValueError, match=message):
        from_state(state, architecture="sesr-m5-x2")
    with pytest.raises(ValueError, match=r"no network that has a name; the nearest: conv.* 5, 'la"):
        from_state(state)
    del state[names[4]], state[names[5]]
    with pytest.raises(ValueError, match=r"^convolution 11, 'layers\.17'"):
        from_state(state, architecture="sesr-m5-x2")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra.weight": np.ones((2, 2), "f4")}, r"extra\.weight of shape \(2, 2\) is part of no"),
        ({"extra.table": np.ones(3, "f4")}, r"extra\.table of shape \(3,\) is part of no conv"),
        ({"layers.0.bias": np.ones(3, "f4")}, r"'layers\.0' does not fit conv0\.bias"),
        ({"layers.0.weight": np.full((64, 1, 3, 3), 1e9)}, r"layers\.0\.weight holds .* absurd"),
        ({"layers.0.weight": np.ones((64, 1, 3, 3), "i4")}, r"must be floats, got int32"),
    ],
)
def test_what_is_no_module_is_named(change: State, message: str) -> None:
    net = sr.architecture("vdsr-x2")
    state = foreign(net, parameters(net)) | change
    with pytest.raises(ValueError, match=message):
        from_state(state, architecture="vdsr-x2")


def test_an_unordered_state_is_put_in_order_by_shapes_and_numbers() -> None:
    net = sr.collapsed(sr.sesr(11, 8, 2))
    params = parameters(net)
    state = foreign(net, params)
    mixed = {name: state[name] for name in sorted(state)}  # layers.10 ahead of layers.2
    same_result(from_state(mixed, ordered=False), net, params)
    body = [name for name, array in state.items() if array.shape == (8, 8, 3, 3)]
    renamed = {name.replace(body[0], "other.weight"): array for name, array in mixed.items()}
    with pytest.raises(ValueError, match=r"have the same shape, and the file does not tell which"):
        from_state(renamed, ordered=False, architecture="sesr-m11-x2")


@pytest.mark.parametrize("upscale", [2, 4])
@pytest.mark.parametrize("features", [8, 16])  # as many as x4 has subpixels
def test_sesr_of_any_size_without_an_order(features: int, upscale: int) -> None:
    """As safetensors holds it: sorted by name, the last block ahead of the first."""
    net = sr.sesr(3, features, upscale, expand=20)
    layers = (
        replace(la, mode="CRD") if isinstance(la, nw.DepthToSpace) else la for la in net.layers
    )
    net = replace(net, layers=tuple(layers))  # in PyTorch's order of channels
    params = parameters(net)
    names = ["last", "blocks.0", "blocks.1", "blocks.2", "first"]
    kinds = {"head": "first", "tail": "last", **{f"block{i}": f"blocks.{i}" for i in range(3)}}
    state = {}
    for name, array in to_state(net, params, "torch").items():
        owner, _, rest = name.partition(".")
        rest = rest.replace("expand", "a").replace("project", "b")
        state[f"{kinds.get(owner, owner.replace('act', 'acts.'))}.{rest}"] = array
    assert set(names) < {name.rpartition(".")[0].rpartition(".")[0] for name in state}
    mixed = {name: state[name] for name in sorted(state)}
    same_result(from_state(mixed, ordered=False), net, params)


def test_a_module_names_layers_as_pytorch_allows() -> None:
    names = ["a.b", "a", "type", "0.x", "é ☃", "class", "up2.0.conv", "_x", "a_b"]
    layers = tuple(nw.Conv(name, 1, 1) for name in names)
    modules = {
        ours.removesuffix(".weight"): theirs.removesuffix(".weight")
        for ours, (theirs, _) in torch_names(nw.Network("names", 1, 1, layers)).items()
    }
    assert modules == {
        "a.b": "a_b",
        "a": "a",
        "type": "type_",
        "0.x": "n0.x",
        "é ☃": "____",
        "class": "class_",
        "up2.0.conv": "up2.0.conv",
        "_x": "_x_",
        "a_b": "a_b_",
    }


def test_a_file_that_says_which_network_it_is_is_not_asked(tmp_path: Path) -> None:
    net = sr.sesr(1, 3, expand=4)
    for name in ("m.npz", "m.pth"):
        sr.save(tmp_path / "m.npz", net, sr.initialise(net))
        from sesr_ref.exchange import save_state_dict

        save_state_dict(tmp_path / "m.pth", net, sr.initialise(net))
        with pytest.raises(ValueError, match="the file states its network: omit --as"):
            sr.load_any(tmp_path / name, architecture="sesr-m5-x2")
