"""Write a collapsed network as a LiteRT (TensorFlow Lite) file: one rule for each kind of layer.

NHWC is LiteRT's layout and ours, and its depth-to-space is our mode "DCR"; its weights are
(out, k, k, in) and its slopes (1, 1, channels).  Every tensor has the name of its layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_ref import network as nw
from sesr_ref.checks import layer_params
from sesr_ref.exchange.shuffle_order import with_shuffle_mode
from sesr_ref.ops.arrays import Params

SCHEMA_VERSION = 3
Constant = npt.NDArray[np.float32] | npt.NDArray[np.int32]


class Model:
    """A file under construction: its tensors, operators and constants."""

    def __init__(self, shapes: dict[str, nw.Shape]) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema: Any = schema
        self.shapes = shapes
        self.codes: dict[tuple[int, int], int] = {}
        self.buffers = [schema.BufferT()]  # the first is that of tensors without data
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.places: dict[str, int] = {}
        self.tensor("input")

    def tensor(self, name: str) -> int:
        """Add a computed tensor, and return its index."""
        return self._place(name, (1, *self.shapes[name]), 0, "FLOAT32")

    def constant(self, name: str, values: Constant) -> int:
        """Add a constant tensor, and return its index."""
        buffer = self.schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self.buffers.append(buffer)
        kind = str(values.dtype).upper()
        return self._place(name, values.shape, len(self.buffers) - 1, kind)

    def _place(self, name: str, shape: tuple[int, ...], buffer: int, kind: str) -> int:
        tensor = self.schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name, list(shape), buffer
        tensor.type = getattr(self.schema.TensorType, kind)
        self.graph.tensors.append(tensor)
        self.places[name] = len(self.graph.tensors) - 1
        return self.places[name]

    def add(
        self, kind: str, name: str, inputs: Sequence[int], version: int = 1, **options: Any
    ) -> None:
        """Append the operator that computes the tensor `name`; `options` are its options."""
        operator = self.schema.OperatorT()
        code = getattr(self.schema.BuiltinOperator, kind), version
        operator.opcodeIndex = self.codes.setdefault(code, len(self.codes))
        operator.inputs, operator.outputs = list(inputs), [self.tensor(name)]
        if settings := OPTIONS.get(kind):
            operator.builtinOptionsType = getattr(self.schema.BuiltinOptions, settings)
            operator.builtinOptions = getattr(self.schema, f"{settings}T")(**options)
        self.graph.operators.append(operator)

    def to_bytes(self, output: str) -> bytes:
        """Serialise the file."""
        import flatbuffers

        model = self.schema.ModelT()
        model.version, model.buffers, model.subgraphs = SCHEMA_VERSION, self.buffers, [self.graph]
        model.operatorCodes = [
            self.schema.OperatorCodeT(deprecatedBuiltinCode=code, builtinCode=code, version=version)
            for code, version in self.codes
        ]
        self.graph.inputs, self.graph.outputs = [self.places["input"]], [self.places[output]]
        builder = flatbuffers.Builder()
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


OPTIONS = {
    "CONV_2D": "Conv2DOptions",
    "TRANSPOSE_CONV": "TransposeConvOptions",
    "ADD": "AddOptions",
    "DEPTH_TO_SPACE": "DepthToSpaceOptions",
}
"""Names of the options of each operator that has any."""
Rule = Callable[[Model, Any, list[int], Params], None]


def _bias(model: Model, layer: nw.Conv | nw.ConvTranspose, params: Params) -> int:
    """The bias, or zeros if the layer has none: the operators require one."""
    bias = params.get("bias", np.zeros(layer.features, np.float32))
    return model.constant(f"{layer.name}.bias", bias)


def _conv(model: Model, layer: nw.Conv, inputs: list[int], params: Params) -> None:
    weight = model.constant(f"{layer.name}.weight", params["weight"].transpose(3, 0, 1, 2))
    inputs = [*inputs, weight, _bias(model, layer, params)]
    model.add("CONV_2D", layer.name, inputs, strideW=1, strideH=1)


def _conv_transpose(model: Model, layer: nw.ConvTranspose, inputs: list[int], p: Params) -> None:
    """Append zeros to the weights, since padding SAME cuts (k - stride) // 2 rows."""
    more = layer.stride + 2 * layer.crop - layer.kernel_size
    weight = np.pad(p["weight"].transpose(3, 0, 1, 2), [(0, 0), (0, more), (0, more), (0, 0)])
    shape = np.array((1, *model.shapes[layer.name]), np.int32)
    places = [
        model.constant(f"{layer.name}.shape", shape),
        model.constant(f"{layer.name}.weight", weight),
        *inputs,
        _bias(model, layer, p),
    ]
    stride = {"strideW": layer.stride, "strideH": layer.stride}
    model.add("TRANSPOSE_CONV", layer.name, places, version=3, **stride)


def _prelu(model: Model, layer: nw.PReLU, inputs: list[int], params: Params) -> None:
    slope = model.constant(f"{layer.name}.slope", params["slope"].reshape(1, 1, -1))
    model.add("PRELU", layer.name, [*inputs, slope])


def _shuffle(model: Model, layer: nw.DepthToSpace, inputs: list[int], params: Params) -> None:
    model.add("DEPTH_TO_SPACE", layer.name, inputs, blockSize=layer.block)


RULES: dict[type[nw.Layer], Rule] = {
    nw.Conv: _conv,
    nw.ConvTranspose: _conv_transpose,
    nw.PReLU: _prelu,
    nw.ReLU: lambda model, layer, inputs, params: model.add("RELU", layer.name, inputs),
    nw.Add: lambda model, layer, inputs, params: model.add("ADD", layer.name, inputs),
    nw.DepthToSpace: _shuffle,
}
"""How each kind of layer in the measured networks becomes an operator."""


def litert_model(net: nw.Network, params: Params, size: tuple[int, int]) -> bytes:
    """Write a float32 network without linear blocks for one image of `size`."""
    net, params = with_shuffle_mode(net, params, "DCR")
    model = Model(net.shapes(*size))
    for layer, inputs in net.steps():
        places = [model.places[name] for name in inputs]
        RULES[type(layer)](model, layer, places, layer_params(layer, params))
    return model.to_bytes(net.output)


def litert_interpreter(model: bytes, threads: int) -> Any:
    """Load a file for XNNPACK; RuntimeError if XNNPACK leaves layers to slower code."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, num_threads=threads)
    interpreter.allocate_tensors()
    steps = interpreter._get_ops_details()
    delegates = [step for step in steps if step["op_name"] == "DELEGATE"]
    computed = {int(i) for step in steps if step not in delegates for i in step["outputs"]}
    ends = [tensor["index"] for tensor in interpreter.get_output_details()]
    if len(delegates) != 1 or list(delegates[0]["outputs"]) != ends:
        raise RuntimeError(
            f"XNNPACK must run the whole graph, but runs {len(delegates)} pieces of it"
        )
    if computed & {int(i) for i in delegates[0]["inputs"]}:
        raise RuntimeError("XNNPACK must run the whole graph, but not its first layers")
    return interpreter
