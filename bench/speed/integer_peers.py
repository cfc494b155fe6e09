"""The runtimes with which `run_int_speed.py` compares integers, each given the same .tflite file.

A candidate is built in a process of its own (see `worker`) as a function from int8 codes to int8
codes.  LiteRT runs with its defaults, so that XNNPACK takes what it has (it leaves PRELU to the
built-in kernel); OpenVINO reads the same file, with the latency hint and float32 for what it does
not compute in integers.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import sesr_ref as sr

Codes = npt.NDArray[np.int8]
Run = Callable[[], Any]


class Model(NamedTuple):
    """A network in floating point and in integers, its file, and what it is run on."""

    net: sr.Network
    params: dict[str, Any]
    iparams: dict[str, Any]
    q: sr.Quantization
    file: bytes
    codes: Codes


def kernels(arithmetic: str, model: Model, threads: int) -> Run:
    """Integers on the kernels of this engine."""
    ops = sr.fast(threads=threads)
    net, _, iparams, q, _, codes = model
    return lambda: sr.run_int(net, iparams, q, codes, arithmetic, ops)


def real_kernels(model: Model, threads: int) -> Run:
    """Float32 on the kernels of this engine."""
    ops = sr.fast(threads=threads)
    x = model.q.tensors["input"].to_reals(model.codes).astype(np.float32)
    return lambda: sr.run(model.net, model.params, x, ops)


def litert(model: Model, threads: int) -> Run:
    """LiteRT with its default delegate."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model.file, num_threads=threads)
    interpreter.allocate_tensors()
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run() -> Codes:
        interpreter.tensor(given["index"])()[...] = model.codes
        interpreter.invoke()
        return np.array(interpreter.tensor(made["index"])())

    return run


def openvino(model: Model, threads: int) -> Run:
    """OpenVINO's processor plug-in."""
    import openvino as ov

    core = ov.Core()
    config = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    with _file(model.file) as path:
        compiled = core.compile_model(core.read_model(path), "CPU", config)
    request = compiled.create_infer_request()
    return lambda: np.asarray(
        request.infer({0: model.codes}, share_inputs=True, share_outputs=True)[0]
    )


class _file:
    """A temporary file of some bytes."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __enter__(self) -> Path:
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "model.tflite"
        path.write_bytes(self.content)
        return path

    def __exit__(self, *error: object) -> None:
        self.folder.cleanup()


class Peer(NamedTuple):
    """A runtime: the package it needs, how it is loaded, and the largest difference in codes."""

    package: str
    load: Callable[[Model, int], Run]
    differs: int


PEERS = {
    "LiteRT": Peer("ai_edge_litert", litert, 0),
    "OpenVINO": Peer("openvino", openvino, 4),
}
"""LiteRT has the bits of the arithmetic "litert"; OpenVINO rounds elsewhere."""


def installed() -> dict[str, Peer]:
    """Those that can be run here."""
    return {name: peer for name, peer in PEERS.items() if find_spec(peer.package)}
