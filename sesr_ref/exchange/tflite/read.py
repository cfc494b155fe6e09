"""An int8 .tflite as a network, its integers and its grids."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sesr_ref import network as nw
from sesr_ref.exchange.tflite import schema
from sesr_ref.exchange.tflite.flatbuffer import Reader
from sesr_ref.files import check_regular
from sesr_ref.integers.grid import Grid, Quantization
from sesr_ref.integers.parameters import IntegerParams, check_integer_params

MAX_BYTES = 1 << 28
MAX_TABLES = 10_000
Array = npt.NDArray[Any]


class Tensor(NamedTuple):
    """One tensor of the file: its shape, its grid and, for a constant, its numbers."""

    name: str
    shape: tuple[int, ...]
    grid: Grid | None
    data: Array | None


@dataclass
class _Reading:
    """What is known so far: tensors of the file, layers made of them, their names by index."""

    tensors: list[Tensor]
    layers: list[nw.Layer] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    grids: dict[str, Grid] = field(default_factory=dict)
    iparams: IntegerParams = field(default_factory=dict)
    param_grids: dict[str, Grid] = field(default_factory=dict)

    def constant(self, index: int) -> Array:
        if not 0 <= index < len(self.tensors) or (data := self.tensors[index].data) is None:
            raise ValueError(f"tensor {index} must be a constant")
        return data

    def grid(self, index: int) -> Grid:
        if not 0 <= index < len(self.tensors) or (grid := self.tensors[index].grid) is None:
            raise ValueError(f"tensor {index} has no grid: not an integer network")
        return grid

    def source(self, index: int) -> str:
        if index not in self.names:
            raise ValueError(f"reads tensor {index} before it is made")
        return self.names[index]

    def fresh(self, index: int) -> str:
        """A layer's name for the tensor that it makes: the file's own, if that serves."""
        base = "".join(c if c.isalnum() or c in "._-" else "." for c in self.tensors[index].name)
        base = base.strip(".")[-80:] or f"tensor{index}"
        return base if base not in {"input", *self.grids} else f"{base}.{index}"

    def emit(self, layer: nw.Layer, index: int) -> None:
        """Append a layer that makes the tensor `index`."""
        self.layers.append(layer)
        self.names[index] = layer.name
        self.grids[layer.name] = self.grid(index)

    def parameter(self, name: str, value: Array, grid: Grid) -> None:
        self.iparams[name] = np.ascontiguousarray(value)
        self.param_grids[name] = grid


def from_tflite(path: str | Path) -> tuple[nw.Network, IntegerParams, Quantization]:
    """Read an int8 network that reads and makes one picture.

    Parameters
    ----------
    path : path
        Of a .tflite file, ours or another converter's.

    Returns
    -------
    net : Network
        Collapsed.
    iparams : dict of integer arrays
        Its parameters.
    q : Quantization
        Its grids; `sesr_ref.run_int` with arithmetic "tflite" has the bits of TFLite's reference
        kernels.

    Raises
    ------
    ValueError
        If the file is damaged, or holds an operator or a type that is not read, in one line.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    check_regular(path)
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ValueError(f"{path}: {size} bytes, more than {MAX_BYTES}")
    try:
        return _read(path.read_bytes(), path.stem)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{path}: {error}") from None


def _read(data: bytes, name: str) -> tuple[nw.Network, IntegerParams, Quantization]:
    model = Reader.root(data, schema.IDENTIFIER)
    graphs = model.tables(2, 8)
    if len(graphs) != 1:
        raise ValueError(f"has {len(graphs)} graphs, one is read")
    codes = [
        max(code.number(0, "i8"), code.number(3, "i32")) for code in model.tables(1, MAX_TABLES)
    ]
    buffers = model.tables(4, MAX_TABLES)
    (graph,) = graphs
    reading = _Reading([_tensor(t, buffers) for t in graph.tables(0, MAX_TABLES)])
    inputs, outputs = graph.vector(1, np.int32), graph.vector(2, np.int32)
    if len(inputs) != 1 or len(outputs) != 1:
        raise ValueError(f"has {len(inputs)} inputs and {len(outputs)} outputs, one each is read")
    source = int(inputs[0])
    reading.names[source] = "input"
    reading.grids["input"] = reading.grid(source)
    for operator in graph.tables(3, MAX_TABLES):
        _take(reading, operator, codes)
    return _network(reading, source, int(outputs[0]), name)


def _network(
    reading: _Reading, source: int, output: int, name: str
) -> tuple[nw.Network, IntegerParams, Quantization]:
    if not reading.layers or reading.names.get(output) != reading.layers[-1].name:
        raise ValueError("its output is not what its last operator makes")
    shape, made = (reading.tensors[index].shape for index in (source, output))
    if len(shape) != 4 or len(made) != 4 or not shape[1] or made[1] % shape[1]:
        raise ValueError(f"makes {made} of {shape}: no picture enlarged")
    net = nw.Network(name[:80] or "network", made[1] // shape[1], shape[3], tuple(reading.layers))
    q = Quantization(reading.grids, reading.param_grids)
    check_integer_params(net, reading.iparams, q)
    return net, reading.iparams, q


def _tensor(table: Reader, buffers: list[Reader]) -> Tensor:
    shape = tuple(int(n) for n in table.vector(0, np.int32))
    if any(n < 0 for n in shape):
        raise ValueError(f"a tensor of shape {shape[:8]}")
    number = table.number(1, "i8")
    if number not in schema.TYPES:
        raise ValueError(f"a tensor of type {number} is not read")
    kind = np.dtype(schema.TYPES[number])
    index, data = table.number(2, "u32"), None
    if index >= max(len(buffers), 1):
        raise ValueError(f"a tensor's buffer {index} of {len(buffers)}")
    raw = buffers[index].vector(0, np.uint8) if index else np.zeros(0, np.uint8)
    if raw.size:
        if raw.size != math.prod(shape) * kind.itemsize:
            raise ValueError(f"{raw.size} bytes for a tensor of shape {shape[:8]} of {kind}")
        data = raw.view(kind.newbyteorder("<")).astype(kind).reshape(shape)
    return Tensor(table.text(3), shape, _grid(table.table(4), kind), data)


def _grid(table: Reader | None, kind: np.dtype[Any]) -> Grid | None:
    scales = np.zeros(0) if table is None else table.vector(2, np.float32)
    if table is None or not scales.size or kind.kind != "i":
        return None
    zeros = table.vector(3, np.int64)
    if zeros.size not in (0, scales.size) or (zeros.size and (zeros != zeros[0]).any()):
        raise ValueError("zero points that differ from channel to channel are not read")
    zero, bits = int(zeros[0]) if zeros.size else 0, 8 * kind.itemsize
    if scales.size == 1:
        return Grid(float(scales[0]), zero, bits)
    return Grid(tuple(scales.astype(float).tolist()), zero, bits, table.number(6, "i32"))


def _take(reading: _Reading, operator: Reader, codes: list[int]) -> None:
    index = operator.number(0, "u32")
    number = codes[index] if index < len(codes) else -1
    name = schema.NAMES.get(number, f"number {number}")
    if name not in RULES:
        raise ValueError(f"operator {name} is not read (read are {', '.join(RULES)})")
    inputs = [int(i) for i in operator.vector(1, np.int32)]
    outputs = [int(i) for i in operator.vector(2, np.int32)]
    if len(outputs) != 1 or not inputs:
        raise ValueError(f"{name} with {len(inputs)} inputs and {len(outputs)} outputs")
    try:
        RULES[name](reading, inputs, outputs[0], operator.table(4))
    except (ValueError, IndexError) as error:
        raise ValueError(f"{name}: {error}") from None


def _option(options: Reader | None, slot: int, kind: str, default: int = 0) -> int:
    return default if options is None else options.number(slot, kind, default)


def _relu(reading: _Reading, options: Reader | None, slot: int, index: int) -> None:
    """The ReLU that an operator applies itself, as a layer of its own."""
    activation = _option(options, slot, "i8")
    if activation not in (0, schema.RELU):
        raise ValueError(f"the fused activation {activation} is not read")
    if activation == schema.RELU:
        last = reading.layers.pop()
        made = f"{last.name}.sum"
        reading.layers.append(_renamed(reading, last, made))
        reading.emit(nw.ReLU(last.name, inputs=(made,)), index)


def _renamed(reading: _Reading, layer: nw.Layer, name: str) -> nw.Layer:
    """The layer under another name, its grid and parameters with it."""
    for held in (reading.iparams, reading.param_grids):
        for key in [key for key in held if key.startswith(f"{layer.name}.")]:
            held[f"{name}{key[len(layer.name) :]}"] = held.pop(key)  # type: ignore[assignment]
    reading.grids[name] = reading.grids[layer.name]
    return replace(layer, name=name)


def _convolution(
    reading: _Reading, inputs: list[int], index: int, options: Reader | None, depthwise: bool
) -> None:
    source, weight = reading.source(inputs[0]), reading.constant(inputs[1])
    if weight.ndim != 4 or weight.dtype != np.int8:
        raise ValueError(f"weights of shape {weight.shape} of {weight.dtype}")
    strides = [_option(options, slot, "i32") for slot in (1, 2)]
    if strides != [1, 1] or _option(options, 0, "i8") != schema.SAME:
        raise ValueError(f"strides {strides} or a padding other than SAME are not read")
    channels = reading.tensors[inputs[0]].shape[-1]
    ours = weight.transpose((1, 2, 0, 3) if depthwise else (1, 2, 3, 0))
    rows, columns, _, features = ours.shape
    bias = len(inputs) > 2 and inputs[2] >= 0
    name = reading.fresh(index)
    sides = rows if rows == columns else (rows, columns)
    groups = channels if depthwise else 1
    layer = nw.Conv(name, features, sides, groups, bias, inputs=(source,))
    reading.parameter(f"{name}.weight", ours, _along(reading.grid(inputs[1]), 3))
    if bias:
        grid = _along(reading.grid(inputs[2]), 0)
        reading.parameter(f"{name}.bias", reading.constant(inputs[2]), grid)
    reading.emit(layer, index)
    _relu(reading, options, 4 if depthwise else 3, index)


def _along(grid: Grid, axis: int) -> Grid:
    """The same scales along our own axis."""
    if grid.axis is None:
        return grid
    return Grid(grid.scale, grid.zero_point, grid.bits, axis)


def _conv(reading: _Reading, inputs: list[int], index: int, options: Reader | None) -> None:
    _convolution(reading, inputs, index, options, depthwise=False)


def _depthwise(reading: _Reading, inputs: list[int], index: int, options: Reader | None) -> None:
    _convolution(reading, inputs, index, options, depthwise=True)


def _prelu(reading: _Reading, inputs: list[int], index: int, options: Reader | None) -> None:
    slope, name = reading.constant(inputs[1]), reading.fresh(index)
    channels = reading.tensors[inputs[0]].shape[-1]
    if slope.size not in (1, channels):
        raise ValueError(f"slopes of shape {slope.shape} for {channels} channels")
    slopes = np.broadcast_to(slope.reshape(-1), (channels,))
    reading.parameter(f"{name}.slope", slopes, reading.grid(inputs[1]))
    reading.emit(nw.PReLU(name, inputs=(reading.source(inputs[0]),)), index)


def _add(reading: _Reading, inputs: list[int], index: int, options: Reader | None) -> None:
    names = tuple(reading.source(i) for i in inputs)
    reading.emit(nw.Add(reading.fresh(index), inputs=names), index)
    _relu(reading, options, 0, index)


def _concat(reading: _Reading, inputs: list[int], index: int, options: Reader | None) -> None:
    if _option(options, 0, "i32") not in (3, -1):
        raise ValueError("joins along another axis than the channels")
    names = tuple(reading.source(i) for i in inputs)
    reading.emit(nw.Concat(reading.fresh(index), inputs=names), index)


def _depth_to_space(
    reading: _Reading, inputs: list[int], index: int, options: Reader | None
) -> None:
    block = _option(options, 0, "i32")
    name, source = reading.fresh(index), reading.source(inputs[0])
    reading.emit(nw.DepthToSpace(name, block, inputs=(source,)), index)


def _plain_relu(reading: _Reading, inputs: list[int], index: int, options: Reader | None) -> None:
    reading.emit(nw.ReLU(reading.fresh(index), inputs=(reading.source(inputs[0]),)), index)


def _shuffling_conv(
    reading: _Reading, inputs: list[int], index: int, options: Reader | None
) -> None:
    """A transposed convolution with one-hot weights, which is depth-to-space."""
    weight = reading.constant(inputs[1])
    channels, rows, columns, _ = weight.shape
    block = _option(options, 1, "i32")
    expected = np.zeros_like(weight)
    if (rows, columns) == (block, block) and weight.shape[3] == block**2 * channels:
        for row, column, c in np.ndindex(block, block, channels):
            expected[c, row, column, (row * block + column) * channels + c] = 127
    if not np.array_equal(weight, expected) or not weight.any():
        raise ValueError("only one-hot weights, which shuffle, are read")
    name, source = reading.fresh(index), reading.source(inputs[2])
    reading.emit(nw.DepthToSpace(name, block, inputs=(source,)), index)


RULES: dict[str, Callable[[_Reading, list[int], int, Reader | None], None]] = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "PRELU": _prelu,
    "RELU": _plain_relu,
    "ADD": _add,
    "CONCATENATION": _concat,
    "DEPTH_TO_SPACE": _depth_to_space,
    "TRANSPOSE_CONV": _shuffling_conv,
}
"""How each operator is read."""
