"""What `python -m sesr_kernels.explain` says of a network is what the kernels do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import sesr_ref as sr
from checks import need_kernels
from networks_for_kernels import RUNNABLE, TRAINABLE
from sesr_ref.network import Network

need_kernels()

from sesr_kernels.explain import inference, training  # noqa: E402
from sesr_kernels.explain.__main__ import main  # noqa: E402

M1 = sr.collapsed(sr.sesr(1))


def test_every_layer_is_done_once() -> None:
    found = inference.explain(M1, 40, 50, 2)
    done = [name for op in found.operations for name in op.layers]
    assert sorted(done) == sorted(layer.name for layer in M1.layers)
    assert found.operations[2].layers == ("block0", "act0", "features")
    assert found.operations[2].reads == ("head", "head")
    assert found.operations[2].then == ("prelu", "add")


@pytest.mark.parametrize("winograd", [True, False])
@pytest.mark.parametrize("net", RUNNABLE, ids=lambda net: net.name)
def test_every_network_that_runs_is_explained(net: Network, winograd: bool) -> None:
    found = inference.explain(sr.collapsed(net), 61, 83, 3, winograd)
    assert found.bands[0][0] == found.strips[0][0] == 0
    assert (found.bands[-1][1], found.strips[-1][1]) == (61, 83)
    rings = [op.bytes for op in found.operations]
    assert 0 < sum(rings) <= found.ring_bytes  # an enlargement has a row to work in besides
    names = {op.makes for op in found.operations}
    assert all(set(op.reads) <= names for op in found.operations)


@pytest.mark.parametrize("winograd", [True, False])
@pytest.mark.parametrize("net", TRAINABLE, ids=lambda net: net.name)
def test_every_network_that_trains_is_explained(net: Network, winograd: bool) -> None:
    found = training.explain(sr.collapsed(net), 21, 33, winograd)
    directions = [step.direction for step in found.steps]
    assert directions == sorted(directions, key=["forward", "backward"].index)
    assert [step.operation for step in found.steps].count("loss") == 1
    for step in found.steps:
        for planes in (*step.reads, *step.writes):
            assert planes.first + planes.count <= found.planes
        assert step.writes or step.sums
    assert sum(step.sums for step in found.steps) == found.sum_vectors
    weights = [name for name in sr.collapsed(net).param_shapes() if name.endswith(".weight")]
    gradients = [step for step in found.steps if step.operation.endswith("weight gradient")]
    assert sorted(f"{step.layer}.weight" for step in gradients) == sorted(weights)


def test_lazy_activations_are_read_through() -> None:
    found = training.explain(sr.collapsed(sr.sesr(3)), 16, 16)
    assert found.lazy == ("act0", "act1")
    readers = {step.layer: step.lazy for step in found.steps if step.lazy}
    assert readers == {"block1": "act0", "block2": "act1"}
    assert training.explain(sr.collapsed(sr.sesr(3)), 16, 16, winograd=False).lazy == ()


def test_a_description_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.json"
    path.write_text(sr.vdsr(2, 3, 8).to_json())
    assert main([str(path), "--json", "--height", "30", "--width", "40", "--threads", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["model"] == str(path)
    assert found["inference"]["width"] == 40
    assert "resize" in [op["operation"] for op in found["inference"]["operations"]]
    assert found["training"] == "layer by layer: Resize"


def test_one_half_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sesr-m5-x2", "--part", "training", "--crop", "16"]) == 0
    printed = capsys.readouterr().out
    assert "training on 16 x 16: 23 steps" in printed
    assert "inference" not in printed


@pytest.mark.parametrize("arguments", [["no-such-network"], ["sesr-m1-x2", "--threads", "0"]])
def test_a_mistake_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert not printed.out


def test_sizes_are_integers_from_1_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["sesr-m1-x2", "--height", "0"])
    assert "an integer from 1 on, got '0'" in capsys.readouterr().err
