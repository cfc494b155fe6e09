"""Small ONNX graphs, and what runs them, for several test files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import sesr_ref as sr

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")

Array = npt.NDArray[Any]


def random_params(net: sr.Network, rng: np.random.Generator, size: float = 0.1) -> dict[str, Array]:
    """Parameters of every kind away from zero; biases and slopes too."""
    return {
        name: rng.normal(0, size, shape).astype(np.float32)
        for name, shape in net.param_shapes().items()
    }


def numbers(rng: np.random.Generator, *shape: int) -> Array:
    """Small random weights."""
    return rng.normal(0, 0.2, shape).astype(np.float32)


def kinds(net: sr.Network) -> list[str]:
    """What kind each layer is."""
    return [type(layer).__name__ for layer in net.layers]


def node(kind: str, inputs: str, output: str, **attributes: Any) -> Any:
    """A node; the names of its inputs are separated by spaces, "-" leaves one out."""
    names = ["" if name == "-" else name for name in inputs.split()]
    domain = attributes.pop("domain", "")
    return onnx.helper.make_node(
        kind, names, [output], name=f"/{output}/{kind}", domain=domain, **attributes
    )


def conv(inputs: str, output: str, k: int, **attributes: Any) -> Any:
    """A k x k convolution padded to 'same'."""
    return node("Conv", inputs, output, **({"pads": [k // 2] * 4} | attributes))


def model(
    nodes: Sequence[Any],
    constants: Mapping[str, Any],
    *,
    channels: int = 1,
    shape: Sequence[Any] | None = None,
    outputs: Sequence[str] | None = None,
    opset: int = 17,
    kind: str = "FLOAT",
) -> Any:
    """A model of one input "x"; the last node's output is its own."""
    elem = onnx.TensorProto.DataType.Value(kind)
    shape = ["n", channels, "h", "w"] if shape is None else shape
    names = outputs or [nodes[-1].output[0]]
    graph = onnx.helper.make_graph(
        list(nodes),
        "graph",
        [onnx.helper.make_tensor_value_info("x", elem, shape)],
        [onnx.helper.make_tensor_value_info(name, elem, [None] * 4) for name in names],
        [onnx.numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )
    imports = [onnx.helper.make_opsetid("", opset), onnx.helper.make_opsetid("custom", 1)]
    return onnx.helper.make_model(graph, opset_imports=imports, ir_version=8)


def saved(path: Path, proto: Any) -> Path:
    """Write the model; its path."""
    path.write_bytes(proto.SerializeToString())
    return path


def evaluated(path: Path, x: Array, nhwc: bool = False) -> Array:
    """The first output as onnx's own reference evaluator computes it, for an NHWC image."""
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(str(path), new_ops=[_cropping_pad()])
    (name,) = evaluator.input_names
    fed = x if nhwc else x.transpose(0, 3, 1, 2)
    outputs: Any = evaluator.run(None, {name: fed})
    y: Array = np.asarray(outputs[0])
    return y if nhwc else y.transpose(0, 2, 3, 1)


def _cropping_pad() -> Any:
    """Pad with zeros that also cuts, which onnx's own does not."""
    from onnx.reference.op_run import OpRun

    class Pad(OpRun):
        op_domain = ""

        def _run(self, x: Array, pads: Array, value: Any = None, mode: str = "") -> tuple[Array]:
            ends = [(int(a), int(b)) for a, b in zip(pads[:4], pads[4:], strict=True)]
            padded = np.pad(x, [(max(a, 0), max(b, 0)) for a, b in ends])
            cut = [
                slice(max(-a, 0), n - max(-b, 0))
                for (a, b), n in zip(ends, padded.shape, strict=True)
            ]
            return (padded[tuple(cut)],)

    return Pad


def read(
    folder: Path, nodes: Sequence[Any], constants: Mapping[str, Any], x: Array, **options: Any
) -> sr.Network:
    """Read a model; what it computes must be what onnx's own evaluator computes."""
    proto = model(nodes, constants, channels=x.shape[3], **options)
    path = saved(folder / "m.onnx", proto)
    net, params = sr.from_onnx(path, find_blocks=False)
    np.testing.assert_allclose(sr.run(net, params, x), evaluated(path, x), rtol=0, atol=3e-6)
    return net


def runtime(path: Path) -> Any:
    """An ONNX Runtime session; skips where it is not installed."""
    ort = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options)


def externalise(proto: Any, location: str, **stated: object) -> None:
    """Move the first constant's data to a file that the caller writes."""
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": location, **stated}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)


def one(value: int) -> Any:
    """A tensor of one integer."""
    return onnx.numpy_helper.from_array(np.array([value]), "one")
