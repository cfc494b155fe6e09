"""Counts of parameters, multiply-accumulates and bytes against the papers' and against arrays."""

import dataclasses

import numpy as np
import pytest

import sesr_ref as sr
from sesr_ref import network as nw
from sesr_ref.counting import cost


@pytest.mark.parametrize(
    ("blocks", "features", "upscale", "parameters", "macs"),
    [
        (3, 16, 2, 8912, 2_053_324_800),
        (5, 16, 2, 13520, 3_115_008_000),
        (11, 16, 4, 32144, 1_851_494_400),
        (11, 32, 2, 105376, 24_278_630_400),
        (11, 32, 4, 114976, 6_622_617_600),
    ],
)
def test_sesr_costs_what_the_paper_formula_says(
    blocks: int, features: int, upscale: int, parameters: int, macs: int
) -> None:
    counted = cost(sr.sesr(blocks, features, upscale), 720 // upscale, 1280 // upscale)
    formula = 25 * features + 9 * blocks * features**2 + 25 * features * upscale**2
    assert counted.parameters == parameters == formula
    assert counted.macs == macs == parameters * (720 // upscale) * (1280 // upscale)


def test_fsrcnn_is_counted_at_the_output_by_default() -> None:
    net = sr.fsrcnn(2)
    assert round(cost(net, 360, 640).macs / 1e9, 2) == 6.01
    assert round(cost(net, 360, 640, transposed="input").macs / 1e9, 2) == 2.87
    assert round(cost(sr.fsrcnn(4), 180, 320, transposed="input").macs / 1e9, 2) == 0.72


def test_a_linear_block_is_counted_collapsed_and_its_expansion_as_it_is() -> None:
    net = sr.sesr(3, 8, expand=32)
    assert cost(net, 7, 9) == cost(sr.collapsed(net), 7, 9)
    weights = sr.expand_params(net, sr.initialise(net, seed=0))
    convolutions = sum(a.size for name, a in weights.items() if name.endswith(".weight"))
    assert cost(sr.expanded(net), 7, 9).parameters == convolutions > cost(net, 7, 9).parameters


@pytest.mark.parametrize(
    "net",
    [
        sr.sesr(2, 5, dialect="arm", block_bias="true"),
        sr.fsrcnn(3),
        sr.carn_m(3),
        sr.lapsrn(4, depth=2, features=6),
    ],
    ids=lambda net: net.name,
)
def test_counts_equal_the_sizes_of_the_arrays_that_really_flow(net: nw.Network) -> None:
    params = sr.collapse_params(net, sr.initialise(net, seed=1))
    counted = cost(net, 5, 7, element_bytes=4)
    for suffix, total in (
        ("weight", counted.parameters),
        ("bias", counted.biases),
        ("slope", counted.slopes),
    ):
        assert total == sum(a.size for name, a in params.items() if name.endswith("." + suffix))
    x = np.zeros((1, 5, 7, net.channels), np.float32)
    tensors = sr.forward(sr.collapsed(net), params, x)
    for row, (layer, inputs) in zip(counted.rows, sr.collapsed(net).steps(), strict=True):
        assert row.written_bytes == tensors[layer.name].nbytes
        assert row.read_bytes == sum(tensors[name].nbytes for name in inputs)


def test_shared_weights_count_once_as_parameters_and_each_time_as_traffic() -> None:
    rows = {row.name: row for row in cost(sr.carn_m(2), 8, 8).rows}
    owner, user = rows["block0.unit0.conv0"], rows["block0.unit1.conv0"]
    assert (owner.parameters, user.parameters) == (9 * 16 * 64, 0)
    assert owner.weight_bytes == user.weight_bytes
    assert owner.macs == user.macs > 0


def test_groups_divide_the_macs() -> None:
    def net(groups: int) -> nw.Network:
        return nw.Network("g", 1, 6, (nw.Conv("c", 6, 3, groups),))

    assert cost(net(1), 5, 4).macs == 3 * cost(net(3), 5, 4).macs == 9 * 36 * 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"height": 0}, "height must be an integer from 1 to 1048576, got 0"),
        ({"width": -3}, "width must be an integer from 1 to 1048576, got -3"),
        ({"width": 2.0}, "width must be an integer from 1 to 1048576"),
        ({"height": True}, "height must be an integer from 1 to 1048576, got True"),
        ({"height": 1 << 21}, "height must be an integer from 1 to 1048576, got 2097152"),
        ({"transposed": "both"}, "transposed must be one of"),
        ({"element_bytes": 0}, "element_bytes must be an integer from 1 to 1048576"),
    ],
)
def test_impossible_arguments_are_named(change: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {"height": 5, "width": 5} | change
    with pytest.raises(ValueError, match=message):
        cost(sr.sesr(1, 4), **arguments)  # type: ignore[arg-type]


def test_numpy_integers_are_accepted() -> None:
    counted = cost(sr.sesr(1, 4), np.int64(8), np.uint8(9))  # type: ignore[arg-type]
    assert counted == cost(sr.sesr(1, 4), 8, 9)
    assert type(counted.macs) is int


def test_other_objects_than_networks_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"must be a Network, .* got 'sesr-m5-x2'"):
        cost("sesr-m5-x2", 8, 8)  # type: ignore[arg-type]


def test_rows_add_up_and_are_immutable() -> None:
    counted = cost(sr.sesr(), 12, 10)
    assert counted.macs == sum(row.macs for row in counted.rows)
    assert counted.activation_bytes == sum(r.read_bytes + r.written_bytes for r in counted.rows)
    assert counted.weight_bytes == counted.parameters + counted.slopes
    with pytest.raises(dataclasses.FrozenInstanceError):
        counted.rows[0].macs = 1  # type: ignore[misc]
