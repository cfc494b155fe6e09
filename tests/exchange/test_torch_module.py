"""The generated PyTorch module computes what the network does, with the exported state dict."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings

import generate
import sesr_ref as sr
from sesr_ref import network as nw
from sesr_ref.architectures.blocks import BLOCKS
from sesr_ref.exchange import save_state_dict
from sesr_ref.exchange.torch.module import module_source, save_module
from sesr_ref.ops.pointwise import fake_quantize_vjp
from sesr_ref.shipped import shipped

Array = npt.NDArray[Any]


def compiled(net: sr.Network) -> Any:
    """The module's class."""
    names: dict[str, Any] = {"__name__": "generated"}
    source = module_source(net)
    exec(compile(source, "module.py", "exec"), names)
    return next(
        value
        for value in reversed(names.values())
        if isinstance(value, type) and value.__module__ == "generated"
    )


def check(net: sr.Network, params: dict[str, Array], x: Array) -> None:
    """Save, load into the module, run: the same as ours; read back: the same network."""
    torch: Any = pytest.importorskip("torch", reason="needs torch")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.pth"
        save_state_dict(path, net, params, "torch")
        state = torch.load(path, weights_only=True)
        back, got = sr.load_any(path)
    assert back == net
    for name, array in params.items():
        np.testing.assert_array_equal(got[name], array)
    module = compiled(net)()
    module.load_state_dict(state)
    with torch.no_grad():
        made = module.eval()(torch.tensor(x.transpose(0, 3, 1, 2)))
    expected = sr.run(net, params, x)
    close = 2e-5 * max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(made.numpy().transpose(0, 2, 3, 1), expected, rtol=0, atol=close)


@pytest.mark.parametrize("collapsed", [False, True])
@pytest.mark.parametrize("name", shipped())
def test_every_shipped_network_as_a_module(
    name: str, collapsed: bool, rng: np.random.Generator
) -> None:
    net, params = sr.load(name)
    if collapsed:
        net, params = sr.collapsed(net), sr.collapse_params(net, params)
    check(net, params, rng.random((1, 7, 6, 1), dtype=np.float32))


@pytest.mark.parametrize("name", sr.architectures())
def test_every_network_with_a_name_as_source(name: str) -> None:
    source = module_source(sr.architecture(name))
    compile(source, name, "exec")
    assert max(map(len, source.splitlines())) <= 100


@pytest.mark.parametrize("name", ["carn-m-x2", "lapsrn-x4", "vdsr-x2", "fsrcnn-x4"])
def test_other_architectures_as_modules(name: str, rng: np.random.Generator) -> None:
    net = sr.architecture(name)
    params = generate.parameters(net, 3, np.float32)
    check(net, params, rng.random((1, 6, 5, net.channels), dtype=np.float32))


@pytest.mark.parametrize("block", BLOCKS)
def test_every_linear_block_as_a_module(block: str, rng: np.random.Generator) -> None:
    net = sr.sesr(1, 4, 2, expand=6, block=block)
    check(net, generate.parameters(net, 3, np.float32), rng.random((1, 6, 5, 1), dtype=np.float32))


@settings(max_examples=60)
@given(generate.networks(), generate.seeds())
def test_any_network_as_a_module(net: sr.Network, seed: int) -> None:
    pytest.importorskip("torch", reason="needs torch")
    params = generate.parameters(net, seed, np.float32)
    check(net, params, generate.images((1, 4, 3, net.channels), seed, np.float32))


@pytest.mark.parametrize(("zero_point", "bits"), [(-7, 8), (90, 8), (300, 16)])
def test_a_grid_as_a_module_has_our_values_and_gradients(
    zero_point: int, bits: int, rng: np.random.Generator
) -> None:
    net = nw.Network("grid", 1, 2, (nw.FakeQuantize("grid", zero_point, bits),))
    step = 4 / 2**bits  # values reach beyond both ends
    params = {"grid.log_scale": np.array([np.log(step)], np.float32)}
    x = rng.normal(0, 2, (1, 6, 5, 2)).astype(np.float32)
    check(net, params, x)
    import torch

    module = compiled(net)()
    with torch.no_grad():
        module.grid.log_scale.fill_(float(params["grid.log_scale"][0]))
    dy = rng.normal(0, 1, x.shape).astype(np.float32)
    leaf = torch.tensor(x.transpose(0, 3, 1, 2).copy(), requires_grad=True)
    (module(leaf) * torch.tensor(dy.transpose(0, 3, 1, 2).copy())).sum().backward()
    dx, dlog_scale = fake_quantize_vjp(
        *(dy, x, params["grid.log_scale"], zero_point, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    )
    assert 0 < np.count_nonzero(dx) < dx.size
    np.testing.assert_allclose(leaf.grad.numpy().transpose(0, 2, 3, 1), dx, rtol=0, atol=1e-6)
    np.testing.assert_allclose(module.grid.log_scale.grad, dlog_scale, rtol=1e-4)


def test_the_source_reads_by_itself() -> None:
    net = sr.sesr(1, 4, 2, expand=6, block_bias="true")
    lines = module_source(net).splitlines()
    assert lines[0].startswith('"""sesr-m1-f4-x2, a PyTorch module; written by sesr_ref')
    assert "class SesrM1F4X2(nn.Module):" in lines
    assert '            "project": nn.Conv2d(6, 4, 1),' in lines
    forward = lines[lines.index("    def forward(self, x: torch.Tensor) -> torch.Tensor:") + 1 :]
    assert forward == [
        '        head_expand = self.head["expand"](x)',
        '        head = self.head["project"](head_expand)',
        '        block0_expand = self.block0["expand"](head)',
        '        block0_project = self.block0["project"](block0_expand)',
        "        block0 = block0_project + head",
        "        act0 = self.act0(block0)",
        "        features = act0 + head",
        '        tail_expand = self.tail["expand"](features)',
        '        tail = self.tail["project"](tail_expand)',
        "        subpixels = tail + x",
        "        shuffle0 = depth_to_space(subpixels, 2)",
        "        return shuffle0",
    ]


def test_names_that_python_has_already_are_changed() -> None:
    names = ("x", "self", "class", "torch", "0 1", "Gain", "len", "a.b", "a_b", "é")
    layers = tuple(nw.ReLU(name) for name in names)
    source = module_source(nw.Network("gain!", 1, 1, layers))
    compile(source, "module.py", "exec")
    assert "class Gain_" not in source
    assert "        t0_1 = torch.relu(torch_)" in source.splitlines()


def test_the_description_of_a_network_cannot_become_code(tmp_path: Path) -> None:
    layers = (nw.GELU('a"]; import os #'), nw.Conv("b\\'\"", 1, 1))
    net = nw.Network('"""\nimport os'.replace("\n", " "), 1, 1, layers)
    source = module_source(net)
    assert "import os" not in source.replace("import_os", "").split('"""', 2)[2]
    compile(source, "module.py", "exec")


def test_an_existing_file_is_kept(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("mine")
    with pytest.raises(FileExistsError):
        save_module(tmp_path / "m.py", sr.sesr(1, 3, expand=4), overwrite=False)
    save_module(tmp_path / "m.py", sr.sesr(1, 3, expand=4))
    assert (tmp_path / "m.py").read_text().startswith('"""sesr-m1-f3-x2')
