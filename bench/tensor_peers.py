"""Runtimes that show their tensors: each is given a network and an image, and gives every tensor.

``peer(net, params, x, dtype)`` takes collapsed networks with depth-to-space in PyTorch's order
("CRD") and returns NHWC float32 arrays by name, or raises `NotOffered` for a dtype that it would
silently compute in another.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import sesr_ref as sr
from peers import ncnn_model
from sesr_ref.exchange.onnx_out import to_onnx
from sesr_ref.execute import layer_params
from sesr_ref.ops.arrays import Array, Params

Tensors = dict[str, Array]


class NotOffered(Exception):
    """The runtime has no such arithmetic on this machine."""


def numpy_reference(net: sr.Network, params: Params, x: Array, dtype: str) -> Tensors:
    """The reference of this engine, whichever BLAS NumPy has."""
    _only(dtype, "float32")
    return sr.forward(net, params, x)


def kernels(winograd: bool) -> Callable[..., Tensors]:
    """The kernels of this engine: only the output, since they fuse all layers."""

    def run(net: sr.Network, params: Params, x: Array, dtype: str) -> Tensors:
        _only(dtype, "float32")
        return {net.output: sr.run(net, params, x, ops=sr.fast(winograd=winograd))}

    return run


def pytorch(net: sr.Network, params: Params, x: Array, dtype: str) -> Tensors:
    """PyTorch, eager, everything in `dtype`."""
    import torch
    from torch.nn import functional as F

    kind = getattr(torch, dtype)

    def tensor(a: Array) -> Any:
        return torch.from_numpy(np.ascontiguousarray(a)).to(kind)

    rules: dict[str, Callable[[Any, Params, list[Any]], Any]] = {
        "Conv": lambda la, p, t: F.conv2d(
            t[0], tensor(p["weight"].transpose(3, 2, 0, 1)),
            tensor(p["bias"]) if "bias" in p else None, padding=la.kernel_size // 2,
        ),
        "ConvTranspose": lambda la, p, t: F.conv_transpose2d(
            t[0], tensor(p["weight"].transpose(2, 3, 0, 1)),
            tensor(p["bias"]) if "bias" in p else None, la.stride, la.crop,
            la.stride - la.kernel_size + 2 * la.crop,
        ),
        "PReLU": lambda la, p, t: F.prelu(t[0], tensor(p["slope"])),
        "ReLU": lambda la, p, t: F.relu(t[0]),
        "Add": lambda la, p, t: sum(t[1:], t[0]),
        "DepthToSpace": lambda la, p, t: F.pixel_shuffle(t[0], la.block),
    }  # fmt: skip
    tensors = {"input": tensor(x.transpose(0, 3, 1, 2))}
    with torch.inference_mode():
        for layer, inputs in net.steps():
            own, values = layer_params(layer, params), [tensors[i] for i in inputs]
            tensors[layer.name] = rules[type(layer).__name__](layer, own, values)
    return {k: t.float().numpy().transpose(0, 2, 3, 1) for k, t in tensors.items()}


def onnx_runtime(net: sr.Network, params: Params, x: Array, dtype: str) -> Tensors:
    """ONNX Runtime, CPU, all optimisations that leave the tensors visible."""
    import onnxruntime as ort

    _only(dtype, "float32", "float16")
    session = ort.InferenceSession(_onnx(net, params, x, dtype), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    image = x.transpose(0, 3, 1, 2).astype(dtype)
    return _named(names, session.run(names, {"input": image}))


def openvino(net: sr.Network, params: Params, x: Array, dtype: str) -> Tensors:
    """OpenVINO, CPU, with the precision hint of `dtype`."""
    import openvino as ov

    hint = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}[dtype]
    model = ov.Core().read_model(_onnx(net, params, x, "float32"))
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": hint})
    used = compiled.get_property("INFERENCE_PRECISION_HINT")
    if (got := used if isinstance(used, str) else used.to_string()) not in (hint, dtype):
        raise NotOffered(f"OpenVINO computes {hint} as {got} here")
    result = compiled(x.transpose(0, 3, 1, 2))
    names = [next(iter(output.get_names())) for output in compiled.outputs]
    return _named(names, [result[i] for i in range(len(names))])


def ncnn(net: sr.Network, params: Params, x: Array, dtype: str) -> Tensors:
    """ncnn, CPU, with its own packing and Winograd; storage in `dtype`."""
    import ncnn as library

    text, weights = ncnn_model(net, params)
    model = library.Net()
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic"):
        setattr(model.opt, option, dtype == "float16" and option != "use_fp16_arithmetic")
    model.opt.use_bf16_storage = dtype == "bfloat16"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "n.param").write_text(text)
        (Path(folder) / "n.bin").write_bytes(weights)
        model.load_param(str(Path(folder) / "n.param"))
        model.load_model(str(Path(folder) / "n.bin"))
    pixels = np.ascontiguousarray(x[0].transpose(2, 0, 1))
    image, tensors = library.Mat(pixels).clone(), {}
    for name in [layer.name for layer in net.layers]:
        extractor = model.create_extractor()
        extractor.input("input", image)
        tensors[name] = np.array(extractor.extract(name)[1])[None]
    return _named(list(tensors), list(tensors.values()))


def _only(dtype: str, *offered: str) -> None:
    if dtype not in offered:
        raise NotOffered(f"no {dtype}")


def _onnx(net: sr.Network, params: Params, x: Array, dtype: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        to_onnx(path, net, params, size=x.shape[1:3], dtype=dtype, every_tensor=True)
        return path.read_bytes()


def _named(names: list[str], arrays: list[Any]) -> Tensors:
    made = [np.asarray(array, np.float32).transpose(0, 2, 3, 1) for array in arrays]
    return dict(zip(names, made, strict=True))


PEERS: dict[str, Callable[[sr.Network, Params, Array, str], Tensors]] = {
    "NumPy": numpy_reference,
    "kernels": kernels(winograd=False),
    "kernels, Winograd": kernels(winograd=True),
    "PyTorch": pytorch,
    "ONNX Runtime": onnx_runtime,
    "OpenVINO": openvino,
    "ncnn": ncnn,
}
DTYPES = ("float32", "float16", "bfloat16")
WINOGRAD = {"kernels, Winograd": (4, 1), "ncnn": (6, 6)}
"""Peers whose 3 x 3 convolutions are known to be Winograd's, and their tiles."""
