"""Modules of PyTorch as its exporter writes them, in opsets old and new, of open and fixed size."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnx_tools as tools
import sesr_ref as sr

torch: Any = pytest.importorskip("torch", reason="needs torch")
F = torch.nn.functional
shuffle = F.pixel_shuffle


class Layers(torch.nn.Module):  # type: ignore[misc]
    """Layers that the functions under test put together."""

    def __init__(self, forward: Any, channels: int, made: int) -> None:
        super().__init__()
        nn = torch.nn
        self.body = forward
        self.conv = nn.Conv2d(channels, made, 3, padding=1)
        self.valid = nn.Conv2d(channels, made, 3)
        self.tall, self.long = nn.Conv2d(made, made, (3, 1)), nn.Conv2d(channels, made, (1, 3))
        self.act, self.norm = nn.PReLU(made), nn.BatchNorm2d(made)
        self.up = nn.ConvTranspose2d(made, channels, 9, 2, 4, output_padding=1)
        self.norm.running_var.uniform_(0.5, 2)
        self.norm.running_mean.uniform_(-1, 1)

    def forward(self, x: Any) -> Any:
        return self.body(self, x)


def mean() -> Any:
    return torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1)


def beside(x: Any) -> Any:
    """Each colour four times in a row, by expand and reshape."""
    n, c, h, w = x.shape
    return x.unsqueeze(2).expand(-1, -1, 4, -1, -1).reshape(n, 4 * c, h, w)


def spread(x: Any) -> Any:
    """Each pixel four times, by expand and reshape."""
    n, c, h, w = x.shape
    return x[:, :, :, None, :, None].expand(-1, -1, -1, 2, -1, 2).reshape(n, c, 2 * h, 2 * w)


CASES: dict[str, tuple[Callable[[Any, Any], Any], int]] = {
    "shuffle": (lambda m, x: shuffle(m.conv(x), 2), 1),
    "shuffle of colours": (lambda m, x: shuffle(m.conv(x), 2), 3),
    "cat": (lambda m, x: shuffle(m.conv(x) + torch.cat([x] * 4, 1), 2), 3),
    "repeat": (lambda m, x: shuffle(m.conv(x) + x.repeat(1, 4, 1, 1), 2), 1),
    "repeat colours": (lambda m, x: shuffle(m.conv(x) + x.repeat(1, 4, 1, 1), 2), 3),
    "interleave": (lambda m, x: shuffle(m.conv(x) + x.repeat_interleave(4, dim=1), 2), 3),
    "expand": (lambda m, x: shuffle(m.conv(x) + x.expand(-1, 4, -1, -1), 2), 1),
    "expand colours": (lambda m, x: shuffle(m.conv(x) + beside(x), 2), 3),
    "gelu": (lambda m, x: shuffle(F.gelu(m.conv(x)), 2), 1),
    "gelu, tanh": (lambda m, x: shuffle(F.gelu(m.conv(x), approximate="tanh"), 2), 1),
    "silu": (lambda m, x: shuffle(F.silu(m.conv(x)), 2), 1),
    "chunk": (lambda m, x: shuffle(torch.cat(m.conv(x).sigmoid().chunk(2, 1)[::-1], 1), 2), 1),
    "slice": (lambda m, x: shuffle(torch.cat([m.conv(x)[:, 2:], m.conv(x)[:, :2]], 1), 2), 1),
    "pad and valid": (lambda m, x: shuffle(m.valid(F.pad(x, (1,) * 4)), 2), 1),
    "valid and pad": (lambda m, x: shuffle(F.pad(m.norm(m.act(m.valid(x))), (1,) * 4), 2), 1),
    "rectangles": (lambda m, x: shuffle(m.tall(m.long(F.pad(x, (1,) * 4))), 2), 1),
    "crop": (lambda m, x: shuffle(m.conv(F.pad(x, (2,) * 4))[:, :, 2:-2, 2:-2], 2), 1),
    "nearest": (lambda m, x: shuffle(m.conv(x), 2) + F.interpolate(x, scale_factor=2), 1),
    "nearest by expand": (lambda m, x: shuffle(m.conv(x), 2) + spread(x), 1),
    "clamp": (lambda m, x: shuffle(F.hardtanh(m.conv(x), 0, 1), 2).clamp(0.1, 0.9), 1),
    "product": (lambda m, x: shuffle(m.conv(x) * (m.conv(x).sigmoid() - 0.5), 2), 1),
    "transposed": (lambda m, x: m.up(m.conv(x)), 1),
    "mean": (lambda m, x: shuffle(m.conv(x - mean()), 2) + mean(), 3),
}


@pytest.mark.parametrize("opset", [9, 10, 11, 17])
@pytest.mark.parametrize("size", ["open", "fixed"])
@pytest.mark.parametrize("case", CASES)
def test_what_torch_exports_is_read(case: str, size: str, opset: int, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="needs the extra onnx")
    body, channels = CASES[case]
    torch.manual_seed(3)
    module = Layers(body, channels, 4 * channels).eval()
    x, path = torch.rand(1, channels, 9, 11), tmp_path / "m.onnx"
    axes = {"dynamic_axes": {"x": {0: "n", 2: "h", 3: "w"}}} if size == "open" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (x,), path, opset_version=opset, dynamo=False, input_names=["x"], **axes
        )
    net, params = sr.from_onnx(path, find_blocks=False)
    assert net.upscale == 2
    expected = module(x).detach().numpy().transpose(0, 2, 3, 1)
    got = sr.run(net, params, x.numpy().transpose(0, 2, 3, 1))
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6)
    if size == "open":
        wide = np.random.default_rng(1).random((2, channels, 6, 7), dtype=np.float32)
        y = tools.runtime(path).run(None, {"x": wide})[0]
        got = sr.run(net, params, wide.transpose(0, 2, 3, 1))
        np.testing.assert_allclose(got, y.transpose(0, 2, 3, 1), rtol=0, atol=2e-6)
