"""Functions of each value, and the records that compiled code reads by name."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sesr_ref as sr
from checks import need_kernels, python
from networks_for_kernels import images, random_params, targets
from sesr_ref.network import (
    Add,
    Clip,
    Concat,
    Conv,
    DepthToSpace,
    FakeQuantize,
    Layer,
    LeakyReLU,
    Network,
    PReLU,
    ReLU,
    Resize,
    Scale,
    Shift,
)
from sesr_ref.ops.arrays import Params

need_kernels()

ALONE: list[Layer] = [
    PReLU("f"),
    ReLU("f"),
    LeakyReLU("f", 0.1),
    Shift("f", -0.25),
    Scale("f", 3.3),
    Clip("f", 0.2, 0.6),
    FakeQuantize("f", -3),
    FakeQuantize("f", 0, 16),
]
WITHOUT_CONVOLUTIONS = Network(
    "no-convolutions",
    4,
    2,
    (
        Resize("up", 2),
        PReLU("act"),
        Concat("both", inputs=("act", "up", "act", "up")),
        DepthToSpace("pixels", 2),
        Resize("near", 4, "nearest", inputs=("input",)),
        Shift("shift", -0.25),
        LeakyReLU("leaky", 0.1),
        Add("sum", inputs=("leaky", "pixels")),
        Scale("half", 0.5),
        Clip("clip", -0.4, 0.4),
    ),
)


def test_every_kind_of_the_table_is_tried() -> None:
    from sesr_kernels.blocks.pointwise import FUNCTIONS
    from sesr_kernels.description.pointwise import POINTWISE, pointwise_of

    assert {type(layer).__name__ for layer in ALONE} == set(POINTWISE)
    rows = [pointwise_of(layer) for layer in ALONE]
    assert {row.function for row in rows if row} == set(FUNCTIONS)


@pytest.mark.parametrize("layer", ALONE, ids=lambda layer: type(layer).__name__)
def test_a_function_has_the_references_bits(layer: Layer, rng: np.random.Generator) -> None:
    net = Network("alone", 1, 5, (layer,))
    params, network = random_params(net, rng), sr.fast().network
    assert network is not None
    for size in [(1, 1, 1), (2, 3, 5), (1, 9, 16), (1, 4, 70)]:
        x = images(net, rng, *size) - np.float32(0.5)
        x.flat[::7], x.flat[::11], x.flat[::13], x.flat[::17] = np.nan, np.inf, 0, -np.inf
        want = sr.forward(net, params, np.nan_to_num(x, posinf=1, neginf=-1))["f"]
        got = network(net, params, np.nan_to_num(x, posinf=1, neginf=-1))
        np.testing.assert_array_equal(got, want)
        special = network(net, params, x)
        assert special is not None
        assert np.isnan(special[np.isnan(x)]).all()  # what is no number stays none


def test_a_network_without_convolutions_has_the_references_bits(rng: np.random.Generator) -> None:
    net, network = WITHOUT_CONVOLUTIONS, sr.fast().network
    params = random_params(net, rng)
    assert network is not None
    for size in [(1, 1, 1), (2, 3, 5), (1, 9, 41)]:
        x = images(net, rng, *size)
        np.testing.assert_array_equal(network(net, params, x), sr.run(net, params, x))


@pytest.mark.parametrize("winograd", [True, False])
@pytest.mark.parametrize("place", ["behind a sum", "behind a shuffle", "behind another"])
@pytest.mark.parametrize("layer", ALONE, ids=lambda layer: type(layer).__name__)
def test_gradients_of_a_function_are_those_of_the_reference(
    layer: Layer, place: str, winograd: bool, rng: np.random.Generator
) -> None:
    first, last = Conv("a", 8, 3, bias=True), Conv("z", 4, 3)
    layers: tuple[Layer, ...] = {
        "behind a sum": (first, Add("s", inputs=("a", "a")), layer, last, DepthToSpace("d", 2)),
        "behind a shuffle": (first, last, DepthToSpace("d", 2), layer),
        "behind another": (first, Scale("s", 0.5), layer, last, DepthToSpace("d", 2)),
    }[place]
    net = Network("one", 2, 1, layers)
    params, x = random_params(net, rng), images(net, rng, 2, 9, 19)
    target, ops = targets(net, rng, x), sr.fast(winograd)
    assert ops.gradients is not None
    found = ops.gradients(net, params, x, target)
    if place == "behind a shuffle" and isinstance(layer, PReLU):
        assert found is None  # its slopes belong to the channels behind the shuffle
        return
    assert found is not None
    exact: Params = {name: value.astype(np.float64) for name, value in params.items()}
    loss, want = sr.loss_and_grads(net, exact, x.astype(float), target.astype(float))
    assert found[0] == pytest.approx(loss, rel=1e-6)
    for name in params:
        np.testing.assert_allclose(found[1][name], want[name], rtol=0, atol=3e-6)


NEW_KIND = """
import dataclasses
import numpy as np
from sesr_kernels.blocks import pointwise as blocks
from sesr_kernels.description import layers, pointwise
from sesr_kernels.description.single import Conv, Single

def square(e, x, first, second):
    return e.b.fmul(x, x)

def square_vjp(e, dy, x, first, second):
    return e.b.fmul(dy, e.b.fadd(x, x))

layers.FIELDS["Square"] = {"name", "shares"}
pointwise.POINTWISE["Square"] = pointwise.Pointwise("square", lambda layer, params: (0.0, 0.0))
blocks.FUNCTIONS["square"] = blocks.Function(square, square_vjp)
blocks.NUMBER["square"] = len(blocks.NUMBER)

@dataclasses.dataclass(frozen=True)
class Square:
    name: str = "square"
    shares: str = ""

@dataclasses.dataclass(frozen=True)
class Two(Single):
    output: str = "square"

    @property
    def layers(self):
        return self.layer, Square()

    def steps(self):
        yield self.layer, ("input",)
        yield Square(), ("layer",)

    def shapes(self, height, width):
        return super().shapes(height, width) | {"square": (height, width, 1)}

from sesr_kernels.inference.run import network
from sesr_kernels.training.run import gradients
net, params = Two(Conv(1, 1, 1, False), 1), {"layer.weight": np.full((1, 1, 1, 1), 3, "f4")}
x = np.linspace(-1, 1, 2 * 3 * 19, dtype="f4").reshape(2, 3, 19, 1)
np.testing.assert_array_equal(network(net, params, x), (3 * x) ** 2)
loss, found = gradients(net, params, x, np.full_like(x, -1))
np.testing.assert_allclose(loss, ((3 * x) ** 2 + 1).mean(), rtol=1e-6)
np.testing.assert_allclose(found["layer.weight"].item(), (2 * 3 * x * x).mean(), rtol=1e-5)
"""


@pytest.mark.slow
def test_a_new_function_takes_a_row_in_each_table(tmp_path: Path) -> None:
    done = python(NEW_KIND, SESR_CACHE_DIR=str(tmp_path))  # another cache: other tables
    assert done.returncode == 0, done.stderr


def test_no_field_of_a_record_hides_behind_numpys_own() -> None:
    from sesr_kernels.description.shuffles import Place
    from sesr_kernels.inference import operands as of_inference
    from sesr_kernels.machine.records import layout
    from sesr_kernels.training import operands as of_training

    kinds: list[Any] = [
        Place,
        of_inference.Step,
        of_inference.Ring,
        of_inference.ConvolutionOperands,
        of_inference.PointwiseOperands,
        of_inference.ShuffleOperands,
        of_inference.ResizeOperands,
        of_inference.StoreOperands,
        of_training.Step,
        *of_training.KINDS,
    ]
    for kind in kinds:
        assert layout(kind).names == kind._fields
        assert not set(kind._fields) & set(dir(np.void))  # interpreted code would read that instead


def test_a_record_reads_alike_in_python_and_in_a_table() -> None:
    from sesr_kernels.machine.records import table
    from sesr_kernels.training.operands import Add as Sum
    from sesr_kernels.training.operands import tables

    rows = [Sum(*range(i, i + 6)) for i in range(3)]
    for row, (found, name) in itertools.product(rows, enumerate(Sum._fields)):
        record = table(Sum, rows)[rows.index(row)]
        assert getattr(record, name) == row[found] == record[found]
    assert [int(step.row) for step in tables(rows).steps] == [0, 1, 2]
