"""The runtimes that `run_speed.py` runs beside this engine, each given the same network.

A peer is built once (``peer(net, params, size, threads)``) and gives a function from a
(1, height, width, 1) float32 image to its enlargement.  ONNX graphs have every slope and bias as an
initialiser of their own: shared ones would defeat the fusion of some runtimes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import sesr_ref as sr
from sesr_ref.collapse import collapse_params, collapsed
from sesr_ref.exchange.onnx_out import to_onnx
from sesr_ref.exchange.shuffle_order import with_shuffle_mode
from sesr_ref.execute import layer_params
from sesr_ref.ops.arrays import Array, Params

Run = Callable[[Array], Array]
Size = tuple[int, int]


def reference(net: sr.Network, params: Params, size: Size, threads: int) -> Run:
    """NumPy alone."""
    from threadpoolctl import threadpool_limits

    def run(x: Array) -> Array:
        with threadpool_limits(threads):
            return sr.run(net, params, x)

    return run


def fast(net: sr.Network, params: Params, size: Size, threads: int) -> Run:
    """The kernels of this engine, the default ones."""
    ops = sr.fast(threads=threads)
    return lambda x: sr.run(net, params, x, ops=ops)


def torch_eager(net: sr.Network, params: Params, size: Size, threads: int) -> Run:
    """PyTorch, channels last."""
    return _torch(net, params, threads, lambda function: function)


def torch_compiled(net: sr.Network, params: Params, size: Size, threads: int) -> Run:
    """``torch.compile`` of the same function."""
    import torch

    return _torch(net, params, threads, torch.compile)


def _torch(net: sr.Network, params: Params, threads: int, wrap: Callable[[Any], Any]) -> Run:
    import torch

    torch.set_num_threads(threads)
    function = wrap(torch_function(net, params))

    def run(x: Array) -> Array:
        with torch.inference_mode():
            y = function(torch.from_numpy(x.transpose(0, 3, 1, 2)))
        return np.asarray(y).transpose(0, 2, 3, 1)

    return run


def torch_function(net: sr.Network, params: Params) -> Callable[[Any], Any]:
    """A network without linear blocks as a function of PyTorch tensors (NCHW)."""
    net, params = with_shuffle_mode(net, params, "CRD")  # the order of F.pixel_shuffle
    import torch
    from torch.nn import functional as F

    def tensor(a: Array) -> Any:
        return torch.from_numpy(np.ascontiguousarray(a))

    def conv(layer: Any, p: Params) -> Callable[..., Any]:
        weight = tensor(p["weight"].transpose(3, 2, 0, 1)).contiguous(
            memory_format=torch.channels_last
        )
        bias = tensor(p["bias"]) if "bias" in p else None
        return lambda x: F.conv2d(x, weight, bias, padding=layer.kernel_size // 2)

    def transpose(layer: Any, p: Params) -> Callable[..., Any]:
        weight = tensor(p["weight"].transpose(2, 3, 0, 1))
        bias = tensor(p["bias"]) if "bias" in p else None
        extra = layer.stride - layer.kernel_size + 2 * layer.crop
        return lambda x: F.conv_transpose2d(x, weight, bias, layer.stride, layer.crop, extra)

    def prelu(layer: Any, p: Params) -> Callable[..., Any]:
        slope = tensor(p["slope"])
        return lambda x: F.prelu(x, slope)

    rules: dict[str, Callable[[Any, Params], Callable[..., Any]]] = {
        "Conv": conv,
        "ConvTranspose": transpose,
        "PReLU": prelu,
        "ReLU": lambda layer, p: F.relu,
        "Add": lambda layer, p: lambda *xs: sum(xs[1:], xs[0]),
        "DepthToSpace": lambda layer, p: lambda x: F.pixel_shuffle(x, layer.block),
    }
    steps = [
        (layer.name, inputs, rules[type(layer).__name__](layer, layer_params(layer, params)))
        for layer, inputs in net.steps()
    ]

    def function(x: Any) -> Any:
        tensors = {"input": x.contiguous(memory_format=torch.channels_last)}
        for name, inputs, rule in steps:
            tensors[name] = rule(*(tensors[i] for i in inputs))
        return tensors[net.output]

    return function


def _with_onnx_file(net: sr.Network, params: Params, size: Size) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        to_onnx(path, net, params, size=size)
        return path.read_bytes()


def onnx_runtime(net: sr.Network, params: Params, size: Size, threads: int) -> Run:
    """ONNX Runtime, CPU, all optimisations."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    model = _with_onnx_file(net, params, size)
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x.reshape(1, 1, *size)})[0].reshape(
        1, *_high(net, size), 1
    )


def openvino(net: sr.Network, params: Params, size: Size, threads: int) -> Run:
    """OpenVINO, CPU, latency mode, float32."""
    import openvino as ov

    core = ov.Core()
    model = core.read_model(_with_onnx_file(net, params, size))
    config = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = core.compile_model(model, "CPU", config)
    request = compiled.create_infer_request()

    def run(x: Array) -> Array:
        result = request.infer({0: x.reshape(1, 1, *size)}, share_inputs=True, share_outputs=True)
        return np.asarray(result[0]).reshape(1, *_high(net, size), 1)

    return run


def ncnn(net: sr.Network, params: Params, size: Size, threads: int) -> Run:
    """ncnn, CPU, float32, with its own Winograd and packing."""
    import ncnn as library

    text, weights = ncnn_model(net, params)
    model = library.Net()
    model.opt.num_threads = threads
    for precision in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(model.opt, f"use_{precision}", False)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "n.param").write_text(text)
        (Path(folder) / "n.bin").write_bytes(weights)
        model.load_param(str(Path(folder) / "n.param"))
        model.load_model(str(Path(folder) / "n.bin"))

    def run(x: Array) -> Array:
        extractor = model.create_extractor()
        extractor.input("input", library.Mat(x.reshape(1, *size)).clone())  # a view else
        return np.array(extractor.extract(net.output)[1]).reshape(1, *_high(net, size), 1)

    return run


def _high(net: sr.Network, size: Size) -> Size:
    return size[0] * net.upscale, size[1] * net.upscale


def ncnn_model(net: sr.Network, params: Params) -> tuple[str, bytes]:
    """Write ncnn's text of layers and its weights; a tensor read twice goes through a Split."""
    readers: dict[str, int] = {}
    for _, inputs in net.steps():
        for name in inputs:
            readers[name] = readers.get(name, 0) + 1
    lines, blob, taken = [], b"", dict.fromkeys(readers, 0)
    count = 0

    def add(kind: str, name: str, inputs: list[str], fields: str = "") -> None:
        nonlocal count
        many = readers.get(name, 1)
        lines.append(
            f"{kind} {name} {len(inputs)} 1 {' '.join(inputs)} {name} {fields}".replace("  ", " ")
        )
        count += 1
        if many > 1:
            copies = [f"{name}/{i}" for i in range(many)]
            lines.append(f"Split {name}_split 1 {many} {name} {' '.join(copies)}")
            count += many

    def use(name: str) -> str:
        taken[name] += 1
        return f"{name}/{taken[name] - 1}" if readers[name] > 1 else name

    add("Input", "input", [])
    steps: list[tuple[Any, tuple[str, ...]]] = list(net.steps())
    for layer, inputs in steps:
        p, given = layer_params(layer, params), [use(i) for i in inputs]
        kind = type(layer).__name__
        if kind in ("Conv", "ConvTranspose"):
            weight = p["weight"].transpose(3, 2, 0, 1).astype(np.float32)
            fields = {0: layer.features, 1: layer.kernel_size, 5: int("bias" in p), 6: weight.size}
            if kind == "Conv":
                fields |= {4: layer.kernel_size // 2}
            else:
                extra = layer.stride - layer.kernel_size + 2 * layer.crop
                fields |= {3: layer.stride, 4: layer.crop, 18: extra, 19: extra}
            blob += bytes(4) + weight.tobytes() + (p["bias"].tobytes() if "bias" in p else b"")
        elif kind == "PReLU":
            fields = {0: p["slope"].size}
            blob += p["slope"].astype(np.float32).tobytes()
        else:
            shuffle = {0: getattr(layer, "block", 0), 1: int(getattr(layer, "mode", "") == "DCR")}
            fields = {"ReLU": {}, "Add": {0: 0}, "DepthToSpace": shuffle}[kind]
        names = {"Conv": "Convolution", "ConvTranspose": "Deconvolution", "Add": "BinaryOp",
                 "DepthToSpace": "PixelShuffle"}  # fmt: skip
        text = " ".join(f"{key}={value}" for key, value in fields.items())
        add(names.get(kind, kind), layer.name, given, text)
    return "\n".join(["7767517", f"{len(lines)} {count}", *lines]) + "\n", blob


PEERS: dict[str, tuple[str, Callable[[sr.Network, Params, Size, int], Run]]] = {
    "PyTorch": ("torch", torch_eager),
    "torch.compile": ("torch", torch_compiled),
    "ONNX Runtime": ("onnxruntime", onnx_runtime),
    "OpenVINO": ("openvino", openvino),
    "ncnn": ("ncnn", ncnn),
}
"""Name: the package it needs, and the function that builds it."""


def small(net: sr.Network, params: Params) -> tuple[sr.Network, Params]:
    """The collapsed network and its parameters, which is what every runtime is given."""
    return collapsed(net), collapse_params(net, params)
