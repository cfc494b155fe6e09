"""Descriptions: what is accepted, what is rejected, and that JSON loses nothing."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sesr_ref as sr
from generate import networks
from sesr_ref import network as nw
from sesr_ref.network import Conv, Network, NetworkError


def network(*layers: nw.Layer, upscale: int = 1, channels: int = 1) -> Network:
    return Network("net", upscale, channels, layers)


# --- what is accepted ---


@pytest.mark.slow
@settings(max_examples=150)
@given(networks())
def test_json_loses_nothing(net: Network) -> None:
    assert Network.from_json(net.to_json()) == net


def test_json_with_line_breaks_loses_nothing_either() -> None:
    for net in (sr.sesr(), sr.sesr(dialect="arm", block_bias="leaky"), sr.fsrcnn()):
        assert Network.from_json(net.to_json(indent=2)) == net


def test_json_states_only_what_differs_from_the_defaults() -> None:
    net = network(Conv("a", 1, 3))
    layers = json.loads(net.to_json())["layers"]
    assert layers == [{"kind": "Conv", "name": "a", "features": 1, "kernel_size": 3}]


def test_a_network_is_a_value() -> None:
    assert sr.sesr() == sr.sesr()
    assert hash(sr.sesr()) == hash(sr.sesr())
    with pytest.raises(dataclasses.FrozenInstanceError):
        sr.sesr().upscale = 4  # type: ignore[misc]


def test_a_layer_without_inputs_reads_the_layer_before() -> None:
    net = network(Conv("a", 4, 3), nw.PReLU("b"), nw.Add("c", inputs=("a", "b")), Conv("d", 1, 1))
    assert [inputs for _, inputs in net.steps()] == [("input",), ("a",), ("a", "b"), ("c",)]
    assert net.output == "d"


def test_shapes_follow_every_kind_of_layer() -> None:
    net = network(
        Conv("conv", 6, 3, groups=3),
        nw.ConvTranspose("up", 4, 9, 3),
        nw.Concat("both", inputs=("up", "up", "up")),
        nw.DepthToSpace("shuffle", 2),
        nw.Resize("resize", 2),
        Conv("last", 3, 1),
        upscale=12,
        channels=3,
    )
    assert net.shapes(5, 7) == {
        "input": (5, 7, 3),
        "conv": (5, 7, 6),
        "up": (15, 21, 4),
        "both": (15, 21, 12),
        "shuffle": (30, 42, 3),
        "resize": (60, 84, 3),
        "last": (60, 84, 3),
    }


def test_parameters_are_listed_in_order_and_shared_ones_once() -> None:
    net = network(
        Conv("a", 2, 3, bias=True),
        nw.PReLU("act"),
        Conv("b", 2, 3, groups=2),
        Conv("c", 2, 3, groups=2, shares="b"),
        nw.PReLU("act2", shares="act"),
        nw.LinearBlock("last", 1, 5, 7, bias="true"),
    )
    assert list(net.param_shapes().items()) == [
        ("a.weight", (3, 3, 1, 2)),
        ("a.bias", (2,)),
        ("act.slope", (2,)),
        ("b.weight", (3, 3, 1, 2)),
        ("last.expand", (5, 5, 2, 7)),
        ("last.project", (1, 1, 7, 1)),
        ("last.expand_bias", (7,)),
        ("last.project_bias", (1,)),
    ]


@pytest.mark.parametrize(
    ("k", "stride", "padding", "crop"),
    [
        (9, 2, None, 4),
        (9, 3, None, 3),
        (9, 4, None, 3),
        (4, 2, None, 1),
        (9, 2, 3, 3),
        (2, 2, 0, 0),
    ],
)
def test_transposed_convolutions_crop_half_of_what_overlaps(
    k: int, stride: int, padding: int | None, crop: int
) -> None:
    assert nw.ConvTranspose("up", 1, k, stride, padding=padding).crop == crop


# --- what is rejected ---

MALFORMED: list[tuple[str, dict[str, Any], str]] = [
    ("Conv", {"features": 0, "kernel_size": 3}, "features must be 1 to"),
    ("Conv", {"features": -1, "kernel_size": 3}, "features"),
    ("Conv", {"features": 1.0, "kernel_size": 3}, "features"),
    ("Conv", {"features": True, "kernel_size": 3}, "features"),
    ("Conv", {"features": 10**30, "kernel_size": 3}, "features"),
    ("Conv", {"features": 4, "kernel_size": 4}, "kernel_size must be odd, got 4"),
    ("Conv", {"features": 4, "kernel_size": 3, "groups": 3}, "groups must be a divisor of 4"),
    ("Conv", {"features": 4, "kernel_size": 3, "groups": 2}, "1 channels are not a multiple of 2"),
    ("Conv", {"features": 4, "kernel_size": 3, "bias": 1}, "bias must be true or false"),
    ("Conv", {"features": 4}, "kernel_size"),
    ("Conv", {"features": 4, "kernel_size": 3, "stride": 2}, "has no field 'stride'"),
    ("Conv", {"features": 4, "kernel_size": 3, "self": 2}, "has no field 'self'"),
    ("Conv", {"features": 4, "kernel_size": 3, "inputs": "input"}, "inputs must be a tuple"),
    ("Conv", {"features": 4, "kernel_size": 3, "inputs": [["input"]]}, "inputs must be"),
    ("Conv", {"features": 4, "kernel_size": 3, "inputs": ["input", "input"]}, "must read 1 tensor"),
    ("Conv", {"features": 4, "kernel_size": 3, "inputs": ["later"]}, "'later' before it exists"),
    ("Conv", {"features": 4, "kernel_size": 3, "inputs": ["wrong"]}, "'wrong' before it exists"),
    ("Conv", {"features": 4, "kernel_size": 3, "shares": 5}, "shares must be"),
    ("Conv", {"features": 4, "kernel_size": 3, "shares": "input"}, "shares the par.* of 'input'"),
    ("Conv", {"features": 4, "kernel_size": 3, "shares": "wrong"}, "shares the par.* of 'wrong'"),
    ("ConvTranspose", {"features": 1, "kernel_size": 2, "stride": 3}, "kernel_size must be >= "),
    ("ConvTranspose", {"features": 1, "kernel_size": 4, "stride": 2, "padding": 4}, "padding"),
    ("ConvTranspose", {"features": 1, "kernel_size": 4, "stride": 2, "padding": True}, "padding"),
    ("ConvTranspose", {"features": 1, "kernel_size": 4, "stride": 2, "bias": None}, "bias"),
    ("LeakyReLU", {"slope": "steep"}, "slope"),
    ("LeakyReLU", {"slope": 10**400}, "slope"),
    ("Shift", {"offset": float("nan")}, "offset"),
    ("Shift", {"offset": float("inf")}, "offset"),
    ("Scale", {"factor": True}, "factor"),
    ("Scale", {"factor": 1e39}, "factor"),
    ("Clip", {"low": 1, "high": 1}, "high must be above low 1"),
    ("Clip", {"low": None}, "low"),
    ("DepthToSpace", {"block": 2}, r"1 channels are not a multiple of 2\*\*2"),
    ("DepthToSpace", {"block": 1, "mode": "dcr"}, "mode must be 'DCR' or 'CRD'"),
    ("Resize", {"upscale": 1, "mode": "lanczos"}, "mode must be one of"),
    ("Resize", {"upscale": 1, "mode": ["bicubic"]}, "mode must be one of"),
    ("Resize", {"upscale": 0}, "upscale"),
    ("LinearBlock", {"features": 4, "kernel_size": 2, "expand": 8}, "kernel_size must be odd"),
    ("LinearBlock", {"features": 4, "kernel_size": 3, "expand": 0}, "expand"),
    ("LinearBlock", {"features": 4, "kernel_size": 3, "expand": 8, "residual": 0}, "residual"),
    (
        "LinearBlock",
        {"features": 4, "kernel_size": 3, "expand": 8, "residual": True},
        "features must be 1, .*, got 4",
    ),
    ("LinearBlock", {"features": 4, "kernel_size": 3, "expand": 8, "bias": "yes"}, "bias must be"),
    ("LinearBlock", {"features": 4, "kernel_size": 3, "expand": 8, "bias": True}, "bias must be"),
]


@pytest.mark.parametrize(("kind", "fields", "message"), MALFORMED)
def test_a_malformed_layer_is_rejected_by_name(
    kind: str, fields: dict[str, Any], message: str
) -> None:
    last = {"kind": "Conv", "name": "later", "features": 1, "kernel_size": 1}
    layers = [{"kind": kind, "name": "wrong", **fields}, last]
    text = json.dumps({"name": "net", "upscale": 1, "channels": 1, "layers": layers})
    with pytest.raises(NetworkError, match=f"wrong.*{message}") as caught:
        Network.from_json(text)
    assert "\n" not in str(caught.value)


def test_an_unnamed_layer_is_rejected() -> None:
    for name in ("", 5, None, ["a"], "a\nb", "\ud800", "n" * 1000):
        with pytest.raises(NetworkError, match="a layer's name must be") as caught:
            Conv(name, 1, 1)  # type: ignore[arg-type]
        assert len(str(caught.value)) < 400
        assert str(caught.value).isprintable()


def test_unknown_kinds_are_rejected() -> None:
    kinds: list[Any] = ["Dense", "", None, 3, [], {}, ["Conv"]]
    for kind in kinds:
        text = json.dumps({"name": "n", "upscale": 1, "channels": 1, "layers": [{"kind": kind}]})
        with pytest.raises(NetworkError, match="a layer needs a kind, one of"):
            Network.from_json(text)


def test_tensors_are_named_once_and_fit_each_other() -> None:
    first, last = Conv("first", 4, 3), Conv("last", 1, 1)
    with pytest.raises(NetworkError, match="two layers are called 'first'"):
        network(first, first, last)
    with pytest.raises(NetworkError, match="two layers are called 'input'"):
        network(Conv("input", 1, 3))
    with pytest.raises(NetworkError, match=r"sum: .* shapes \(16, 24, 4\) and \(16, 24, 3\)"):
        network(first, Conv("b", 3, 1), nw.Add("sum", inputs=("first", "b")), last)
    with pytest.raises(NetworkError, match="sum: cannot add"):  # the wide one must come first
        network(first, nw.Add("sum", inputs=("input", "first")), last)
    with pytest.raises(NetworkError, match="joined: cannot concatenate"):
        network(first, nw.Resize("big", 2), nw.Concat("joined", inputs=("big", "first")), last)


def test_the_output_is_the_input_enlarged() -> None:
    with pytest.raises(NetworkError, match=r"'last' must be \(16, 24, 1\) .*, got \(16, 24, 2\)"):
        network(Conv("last", 2, 3))
    with pytest.raises(NetworkError, match=r"'last' must be \(32, 48, 1\) \(upscale 2\), got"):
        network(Conv("last", 1, 3), upscale=2)
    with pytest.raises(NetworkError, match="upscale must be 1 to"):
        network(Conv("last", 1, 3), upscale=0)


def test_layers_are_a_tuple_of_layers() -> None:
    for layers in ((), [Conv("a", 1, 3)], None, Conv("a", 1, 3), (Conv("a", 1, 3), "relu"), "ab"):
        with pytest.raises(NetworkError, match=r"^net: "):
            Network("net", 1, 1, layers)  # type: ignore[arg-type]
    with pytest.raises(NetworkError, match="1 to 10000 layers"):
        Network("net", 1, 1, (nw.ReLU("a"),) * 10_001)


def test_only_an_earlier_equal_layer_shares_its_parameters() -> None:
    block = nw.LinearBlock("a", 1, 3, 8)
    for other in (
        nw.LinearBlock("b", 1, 3, 8, residual=True, shares="a"),  # would take a's identity as well
        nw.LinearBlock("b", 1, 3, 8, bias="true", shares="a"),
        nw.LinearBlock("b", 1, 5, 8, shares="a"),
        nw.LinearBlock("b", 1, 3, 8, shares="b"),
        Conv("b", 1, 3, shares="a"),
    ):
        with pytest.raises(NetworkError, match="'b' shares the parameters of"):
            network(block, other)
    with pytest.raises(NetworkError, match="'c' shares the parameters of 'b'"):  # b has none itself
        network(block, *(dataclasses.replace(block, name=n, shares=s) for n, s in ("ba", "cb")))
    with pytest.raises(NetworkError, match="'b' needs parameters"):  # of another size
        network(nw.PReLU("a"), Conv("wide", 2, 1), nw.PReLU("b", shares="a"), Conv("c", 1, 1))


def test_tensors_cannot_grow_without_limit() -> None:
    doubling = [nw.Concat(f"c{i}", inputs=(f"c{i - 1}",) * 2) for i in range(1, 300)]
    with pytest.raises(NetworkError, match=r"c17: .* at most 65536"):
        network(nw.ReLU("c0"), *doubling)
    with pytest.raises(NetworkError, match=r"r16: .* at most 65536"):
        network(*(nw.Resize(f"r{i}", 2) for i in range(300)))


def test_text_that_is_not_a_description_is_rejected() -> None:
    for text in ("", "{", "[]", "3", "null", "{}", '{"name": 1}', "[" * 100_000, "9" * 5000):
        with pytest.raises(NetworkError, match=r"^(not )?a network description"):
            Network.from_json(text)
    more = json.loads(sr.sesr().to_json()) | {"version": 1}
    with pytest.raises(NetworkError, match="with the keys"):
        Network.from_json(json.dumps(more))


KEYS = sorted({f.name for kind in nw.KINDS.values() for f in dataclasses.fields(kind)} | {"kind"})
SCALARS = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8)
WORDS = st.sampled_from([0, 1, 2, 3, 10**400, "input", "Conv", "DCR", "head", "true"])
JSON = st.recursive(
    SCALARS | WORDS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(data: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of nested JSON data."""
    if not isinstance(data, (dict, list)):
        return []
    keys = list(data) if isinstance(data, dict) else list(range(len(data)))
    return [(data, key) for key in keys] + [place for key in keys for place in places(data[key])]


def changed(data: st.DataObject, description: Any) -> str:
    """The description as JSON with one to three of its values replaced, added or removed."""
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(places(description)))
        if data.draw(st.booleans()):
            container[key] = data.draw(JSON)
        elif isinstance(container, dict):
            container[data.draw(st.sampled_from(KEYS))] = data.draw(JSON)
        else:
            del container[key]
    return json.dumps(description)


@pytest.mark.slow
@settings(max_examples=250)
@given(st.data())
def test_changed_descriptions_raise_only_network_errors(data: st.DataObject) -> None:
    text = changed(data, json.loads(data.draw(networks(3)).to_json()))
    try:
        net = Network.from_json(text)
    except NetworkError as error:
        message = str(error)
        assert len(message) < 3000
        assert "\n" not in message
    else:
        assert Network.from_json(net.to_json()) == net


@settings(max_examples=100)
@given(JSON)
def test_any_json_is_a_network_or_a_network_error(value: Any) -> None:
    head = {"name": "net", "upscale": 1, "channels": 1}
    for data in (value, {**head, "layers": value}, {**head, "layers": [value]}):
        with pytest.raises(NetworkError):
            Network.from_json(json.dumps(data))
