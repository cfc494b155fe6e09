"""The runtimes with which `run_int_speed.py` compares integers, each given the same .tflite file.

A candidate is a function from nothing to codes, built in a process of its own (`speed.worker`).

* This engine: `run_int` in an arithmetic; its float32 kernels on the same images.
* LiteRT: its defaults, so that XNNPACK takes what it has (PRELU it leaves to the built-in kernel).
  Where the processor has AMX, XNNPACK takes a kernel for 64 outputs at a time, which is slow for
  networks of 16: "LiteRT without AMX" is the same with AMX withheld from its process.
* OpenVINO: reads the same file; the latency hint, float32 for what is not in integers.  It leaves
  roundings out that the file states.
"""

from __future__ import annotations

import ctypes
import platform
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import sesr_ref as sr

Codes = npt.NDArray[Any]
Run = Callable[[], Codes]


class Model(NamedTuple):
    """A network in floating point and in integers, its file, and codes to run it on."""

    net: sr.Network
    params: dict[str, Any]
    iparams: dict[str, Any]
    q: sr.Quantization
    file: bytes
    codes: Codes


def kernels(arithmetic: str, model: Model, threads: int) -> Run:
    """The integer kernels."""
    ops = sr.fast(threads=threads)
    net, _, iparams, q, _, codes = model
    return lambda: sr.run_int(net, iparams, q, codes, arithmetic, ops)


def real_kernels(model: Model, threads: int) -> Run:
    """The float32 kernels on the same images."""
    ops = sr.fast(threads=threads)
    x = model.q.tensors["input"].to_reals(model.codes).astype(np.float32)
    return lambda: sr.run(model.net, model.params, x, ops)


def litert(model: Model, threads: int) -> Run:
    """LiteRT as it is."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model.file, num_threads=threads)
    interpreter.allocate_tensors()
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run() -> Codes:
        interpreter.tensor(given["index"])()[...] = model.codes
        interpreter.invoke()
        return np.array(interpreter.tensor(made["index"])())

    return run


def litert_without_amx(model: Model, threads: int) -> Run:
    """LiteRT in a process that the system refuses AMX's registers."""
    withhold_amx()
    return litert(model, threads)


class _SignalStack(ctypes.Structure):
    _fields_ = [
        ("start", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("size", ctypes.c_size_t),
    ]


_small_stack = ctypes.create_string_buffer(4096)


def withhold_amx() -> None:
    """Give this thread a stack for signals that is too small to save AMX's registers on.

    Linux then refuses the permission to use them, and runtimes take other instructions.
    """
    stack = _SignalStack(ctypes.cast(_small_stack, ctypes.c_void_p), 0, len(_small_stack))
    ctypes.CDLL(None).sigaltstack(ctypes.byref(stack), None)


def has_amx() -> bool:
    """Whether this processor has AMX's products of bytes."""
    try:
        return "amx_int8" in Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return False


def openvino(model: Model, threads: int) -> Run:
    """OpenVINO's processor plug-in."""
    import openvino as ov

    core = ov.Core()
    config = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(model.file)
        compiled = core.compile_model(core.read_model(path), "CPU", config)
    request = compiled.create_infer_request()

    def run() -> Codes:
        made = request.infer({0: model.codes}, share_inputs=True, share_outputs=True)
        return np.asarray(made[0])

    return run


class Peer(NamedTuple):
    """A runtime: the package it needs, how it is loaded, and whether its bits are "litert"'s."""

    package: str
    load: Callable[[Model, int], Run]
    exact: bool


PEERS = {
    "LiteRT": Peer("ai_edge_litert", litert, exact=True),
    "LiteRT without AMX": Peer("ai_edge_litert", litert_without_amx, exact=True),
    "OpenVINO": Peer("openvino", openvino, exact=False),
}


def installed() -> dict[str, Peer]:
    """Those that can be run here."""
    here = {name: peer for name, peer in PEERS.items() if find_spec(peer.package)}
    if not has_amx() or platform.machine() != "x86_64":
        here.pop("LiteRT without AMX", None)
    return here


def candidates(arithmetics: list[str], peers: list[str]) -> dict[str, Callable[..., Run]]:
    """Functions that build a candidate, by name: of this engine first."""
    ours = {f"sesr_ref {name}": partial(kernels, name) for name in arithmetics}
    others = {name: peer.load for name, peer in installed().items() if name in peers}
    return {**ours, "sesr_ref float32": real_kernels, **others}
