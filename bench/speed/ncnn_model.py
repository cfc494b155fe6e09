"""Write a collapsed network as ncnn's text of layers and weights: one rule for each kind."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sesr_ref import network as nw
from sesr_ref.checks import layer_params
from sesr_ref.ops.arrays import Array, Params

MAGIC = "7767517"
UNQUANTISED = bytes(4)
"""Precedes each weight: the values are float32."""
Written = tuple[dict[int, int], bytes]
"""A layer's numbered fields, and the bytes that it adds to the file of weights."""


def _conv(layer: nw.Conv, params: Params) -> Written:
    fields, blob = _weights(layer, params)
    return fields | {4: layer.side // 2}, blob


def _conv_transpose(layer: nw.ConvTranspose, params: Params) -> Written:
    fields, blob = _weights(layer, params)
    extra = layer.stride - layer.kernel_size + 2 * layer.crop
    return fields | {3: layer.stride, 4: layer.crop, 18: extra, 19: extra}, blob


def _weights(layer: nw.Conv | nw.ConvTranspose, params: Params) -> Written:
    weight = params["weight"].transpose(3, 2, 0, 1).astype(np.float32)
    bias = params["bias"].astype(np.float32).tobytes() if layer.bias else b""
    side = len(params["weight"])
    fields = {0: layer.features, 1: side, 5: int(layer.bias), 6: weight.size}
    return fields, UNQUANTISED + weight.tobytes() + bias


def _prelu(layer: nw.PReLU, params: Params) -> Written:
    return {0: params["slope"].size}, params["slope"].astype(np.float32).tobytes()


RULES: dict[type[nw.Layer], tuple[str, Callable[[Any, Params], Written]]] = {
    nw.Conv: ("Convolution", _conv),
    nw.ConvTranspose: ("Deconvolution", _conv_transpose),
    nw.PReLU: ("PReLU", _prelu),
    nw.ReLU: ("ReLU", lambda layer, params: ({}, b"")),
    nw.Add: ("BinaryOp", lambda layer, params: ({0: 0}, b"")),
    nw.DepthToSpace: (
        "PixelShuffle",
        lambda layer, params: ({0: layer.block, 1: int(layer.mode == "DCR")}, b""),
    ),
}
"""ncnn's name for each kind of layer in the measured networks, and how it is written."""


class _Text:
    """Lines of a file, with a Split after every tensor that has several readers."""

    def __init__(self, readers: Counter[str]) -> None:
        self.readers, self.taken = readers, Counter[str]()
        self.lines: list[str] = []
        self.blobs = 0

    def use(self, name: str) -> str:
        """Name of a tensor for its next reader."""
        self.taken[name] += 1
        return f"{name}/{self.taken[name] - 1}" if self.readers[name] > 1 else name

    def add(self, kind: str, name: str, inputs: list[str], fields: dict[int, int]) -> None:
        """Append a layer that computes the tensor `name`."""
        values = [f"{key}={value}" for key, value in fields.items()]
        self._line(kind, name, inputs, [name], values)
        if (many := self.readers[name]) > 1:
            self._line("Split", f"{name}_split", [name], [f"{name}/{i}" for i in range(many)], [])

    def _line(
        self, kind: str, name: str, inputs: list[str], outputs: list[str], fields: list[str]
    ) -> None:
        counts = [str(len(inputs)), str(len(outputs))]
        self.lines.append(" ".join([kind, name, *counts, *inputs, *outputs, *fields]))
        self.blobs += len(outputs)


def ncnn_model(net: nw.Network, params: Params) -> tuple[str, bytes]:
    """Write a network without linear blocks: the text of layers, and the weights."""
    text = _Text(Counter(name for _, inputs in net.steps() for name in inputs))
    text.add("Input", "input", [], {})
    blob = b""
    for layer, inputs in net.steps():
        kind, rule = RULES[type(layer)]
        fields, weights = rule(layer, layer_params(layer, params))
        text.add(kind, layer.name, [text.use(name) for name in inputs], fields)
        blob += weights
    return "\n".join([MAGIC, f"{len(text.lines)} {text.blobs}", *text.lines]) + "\n", blob


def ncnn_network(model: tuple[str, bytes], threads: int | None = None, storage: str = "") -> Any:
    """Load a network; with `storage` "float16" or "bfloat16" ncnn stores tensors in that format."""
    import ncnn

    net = ncnn.Net()
    if threads is not None:
        net.opt.num_threads = threads
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = storage == "float16"
    net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = storage == "bfloat16"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "n.param").write_text(model[0])
        (Path(folder) / "n.bin").write_bytes(model[1])
        net.load_param(str(Path(folder) / "n.param"))
        net.load_model(str(Path(folder) / "n.bin"))
    return net


def ncnn_image(x: Array) -> Any:
    """Copy a (1, height, width, channels) array to ncnn; a view would not keep the array alive."""
    import ncnn

    return ncnn.Mat(np.ascontiguousarray(x[0].transpose(2, 0, 1))).clone()
