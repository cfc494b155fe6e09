"""The runtimes with which `run_speed.py` compares this engine, each given the same network.

A peer is written once (``write(net, params, size)``: the network in the runtime's own form, for
images of one size) and loaded once (``load(written, threads)``), which gives a function from a
(1, height, width, 1) float32 image to its enlargement.  Writing and loading are separate so that a
process that measures memory need not load an exporter.

Each peer is set up to run as fast as possible:

* All: float32, the collapsed network, as many threads as this engine has (all free to use every
  processor), a separate process whose allocator keeps freed memory (see `worker.ENVIRONMENT`),
  built and warmed up before timing starts, with a pause before each run until the threads of the
  previous one have stopped spinning.  Slopes and weights are random: equal initialisers would be
  shared, which keeps OpenVINO from fusing them.
* PyTorch: inference mode, channels last (activations and weights), tensors freed after their last
  reader; ``torch.compile`` of the same function with static shapes (freezing its constants, tracing
  and NCHW are not faster).
* ONNX Runtime: all graph optimisations, the sequential executor (bound buffers are not faster).
* OpenVINO: the latency hint (one stream, its own pinning); float32 requested explicitly; input and
  output shared, not copied.  A test asserts that the compiled graph has one Convolution or
  Deconvolution per layer with its PReLU inside, two additions, the shuffles and the reorderings at
  the ends.
* LiteRT: XNNPACK, which must run the whole graph; input and output without another copy (its newer
  "compiled model" interface is not faster).
* ncnn: its own packing and Winograd, no 16-bit storage.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import sesr_ref as sr
from sesr_ref.exchange.onnx.write import to_onnx
from sesr_ref.exchange.shuffle_order import with_shuffle_mode
from sesr_ref.ops.arrays import Array, Params

Run = Callable[[Array], Array]
Size = tuple[int, int]
Model = tuple[sr.Network, Params]


class Peer(NamedTuple):
    """One candidate: the package it needs, and how its network is written and loaded."""

    package: str
    write: Callable[[sr.Network, Params, Size], Any]
    load: Callable[[Any, int], Run]


def as_it_is(net: sr.Network, params: Params, size: Size) -> Model:
    """The network as it is, for this engine."""
    return net, params


def reference(model: Model, threads: int) -> Run:
    """The engine with NumPy only."""
    from threadpoolctl import threadpool_limits

    def run(x: Array) -> Array:
        with threadpool_limits(threads):
            return sr.run(*model, x)

    return run


def fast(model: Model, threads: int) -> Run:
    """The kernels of this engine with their defaults."""
    ops = sr.fast(threads=threads)
    return lambda x: sr.run(*model, x, ops=ops)


def direct(model: Model, threads: int) -> Run:
    """The kernels of this engine without Winograd's algorithm."""
    ops = sr.fast(winograd=False, threads=threads)
    return lambda x: sr.run(*model, x, ops=ops)


def in_torch_order(net: sr.Network, params: Params, size: Size) -> Model:
    """The network with channels in the order that ``pixel_shuffle`` needs."""
    return with_shuffle_mode(net, params, "CRD")


def torch_eager(model: Model, threads: int) -> Run:
    """PyTorch, operation by operation."""
    return _torch(model, threads, lambda function: function)


def torch_compiled(model: Model, threads: int) -> Run:
    """``torch.compile`` of the same function."""
    import torch

    torch._dynamo.reset()  # else a process's later networks are its first one's recompilations
    return _torch(model, threads, partial(torch.compile, dynamic=False))


def _torch(model: Model, threads: int, wrap: Callable[[Any], Any]) -> Run:
    import torch

    from speed.torch_network import torch_function

    torch.set_num_threads(threads)
    layers, output = torch_function(*model), model[0].output
    function = wrap(lambda x: layers(x)[output])

    def run(x: Array) -> Array:
        with torch.inference_mode():
            image = torch.from_numpy(x.transpose(0, 3, 1, 2))
            y = function(image.contiguous(memory_format=torch.channels_last))
        return np.asarray(y).transpose(0, 2, 3, 1)

    return run


def as_onnx(net: sr.Network, params: Params, size: Size) -> bytes:
    """The ONNX file that this project exports, for images of one size."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        to_onnx(path, net, params, size=size)
        return path.read_bytes()


def onnx_runtime(model: bytes, threads: int) -> Run:
    """ONNX Runtime with its CPU provider."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: _nhwc(session.run(None, {name: _nchw(x)})[0])


def openvino(model: bytes, threads: int) -> Run:
    """OpenVINO's processor plug-in."""
    request = openvino_model(model, threads).create_infer_request()

    def run(x: Array) -> Array:
        result = request.infer({0: _nchw(x)}, share_inputs=True, share_outputs=True)
        return _nhwc(np.asarray(result[0]))

    return run


def openvino_model(model: bytes, threads: int) -> Any:
    """Compile a network with OpenVINO."""
    import openvino as ov

    core = ov.Core()
    config = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    return core.compile_model(core.read_model(model), "CPU", config)


def as_litert(net: sr.Network, params: Params, size: Size) -> bytes:
    """The file for LiteRT."""
    from speed.litert_model import litert_model

    return litert_model(net, params, size)


def litert(model: bytes, threads: int) -> Run:
    """LiteRT with XNNPACK."""
    from speed.litert_model import litert_interpreter

    interpreter = litert_interpreter(model, threads)
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(x: Array) -> Array:
        interpreter.tensor(given["index"])()[...] = x
        interpreter.invoke()
        return np.asarray(interpreter.tensor(made["index"])())

    return run


def as_ncnn(net: sr.Network, params: Params, size: Size) -> tuple[str, bytes]:
    """The two files for ncnn."""
    from speed.ncnn_model import ncnn_model

    return ncnn_model(net, params)


def ncnn(model: tuple[str, bytes], threads: int) -> Run:
    """Tencent's ncnn."""
    from speed.ncnn_model import ncnn_image, ncnn_network

    net = ncnn_network(model, threads)
    (output,) = net.output_names()

    def run(x: Array) -> Array:
        extractor = net.create_extractor()
        extractor.input("input", ncnn_image(x))
        return _nhwc(np.array(extractor.extract(output)[1])[None])

    return run


def _nchw(x: Array) -> Array:
    """A view, since there is one channel."""
    return x.reshape(1, 1, *x.shape[1:3])


def _nhwc(y: Array) -> Array:
    return y.reshape(1, *y.shape[2:], 1)


ENGINE: dict[str, Peer] = {
    "sesr_ref fast": Peer("numba", as_it_is, fast),
    "sesr_ref direct": Peer("numba", as_it_is, direct),
    "sesr_ref reference": Peer("threadpoolctl", as_it_is, reference),
}
PEERS: dict[str, Peer] = {
    "OpenVINO": Peer("openvino", as_onnx, openvino),
    "LiteRT": Peer("ai_edge_litert", as_litert, litert),
    "torch.compile": Peer("torch", in_torch_order, torch_compiled),
    "ONNX Runtime": Peer("onnxruntime", as_onnx, onnx_runtime),
    "PyTorch": Peer("torch", in_torch_order, torch_eager),
    "ncnn": Peer("ncnn", as_ncnn, ncnn),
}


def installed() -> dict[str, Peer]:
    """Installed peers by name, after the variants of this engine."""
    return {name: p for name, p in (ENGINE | PEERS).items() if find_spec(p.package)}
