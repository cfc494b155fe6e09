"""Runtimes that show their tensors: each runs a network on an image and returns every tensor.

``peer(net, params, x, dtype)`` accepts collapsed networks with depth-to-space in PyTorch's order
("CRD") and returns NHWC float32 arrays by name.  It raises `NotOffered` for a dtype that it would
silently replace by another.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import sesr_ref as sr
from sesr_ref.exchange.onnx.write import to_onnx
from sesr_ref.ops.arrays import Array, Params

Tensors = dict[str, Array]


class NotOffered(Exception):
    """The runtime has no such arithmetic on this machine."""


def numpy_reference(net: sr.Network, params: Params, x: Array, dtype: str) -> Tensors:
    """The reference of this engine, with NumPy's BLAS."""
    _only(dtype, "float32")
    return sr.forward(net, params, x)


def kernels(winograd: bool) -> Callable[..., Tensors]:
    """The kernels of this engine; only the output is shown, since they fuse all layers."""

    def run(net: sr.Network, params: Params, x: Array, dtype: str) -> Tensors:
        _only(dtype, "float32")
        return {net.output: sr.run(net, params, x, ops=sr.fast(winograd=winograd))}

    return run


def pytorch(net: sr.Network, params: Params, x: Array, dtype: str) -> Tensors:
    """PyTorch, eager, everything in `dtype`."""
    import torch

    from speed.torch_network import torch_function

    function = torch_function(net, params, dtype, keep=True)
    with torch.inference_mode():
        tensors = function(torch.from_numpy(x.transpose(0, 3, 1, 2)).to(getattr(torch, dtype)))
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
    from speed.ncnn_model import ncnn_image, ncnn_model, ncnn_network

    model, image, tensors = ncnn_network(ncnn_model(net, params), None, dtype), ncnn_image(x), {}
    for name in [layer.name for layer in net.layers]:
        extractor = model.create_extractor()
        extractor.input("input", image)
        tensors[name] = np.array(extractor.extract(name)[1])[None]
    return _named(list(tensors), list(tensors.values()))


def litert(net: sr.Network, params: Params, x: Array, dtype: str) -> Tensors:
    """LiteRT with XNNPACK; only the output is shown, since XNNPACK hides the inner tensors."""
    _only(dtype, "float32")
    from speed.litert_model import litert_model
    from speed.peers import litert as load

    run = load(litert_model(net, params, x.shape[1:3]), threads=1)
    return {net.output: run(x).copy()}


def _only(dtype: str, *offered: str) -> None:
    if dtype not in offered:
        raise NotOffered(f"{dtype} is not supported")


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
    "LiteRT": litert,
    "ncnn": ncnn,
}
DTYPES = ("float32", "float16", "bfloat16")
WINOGRAD = {"kernels, Winograd": (4, 1), "ncnn": (6, 6)}
"""Peers whose 3 x 3 convolutions use Winograd, and their tiles."""
