"""A quantised network as an int8 .tflite: one table, one small rule a kind of layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_ref import network as nw
from sesr_ref.collapse import collapsed
from sesr_ref.exchange.tflite import schema
from sesr_ref.exchange.tflite.flatbuffer import Scalar, Table, Writer
from sesr_ref.files import atomic_write
from sesr_ref.integers.grid import Grid, Quantization
from sesr_ref.integers.parameters import IntegerParams, check_integer_params
from sesr_ref.limits import whole_number

SHUFFLES = ("depth_to_space", "transpose_conv")
Array = npt.NDArray[Any]


def to_tflite(
    path: str | Path,
    net: nw.Network,
    iparams: IntegerParams,
    q: Quantization,
    height: int = 90,
    width: int = 160,
    shuffle: str = "depth_to_space",
    overwrite: bool = True,
) -> None:
    """Write a quantised network for LiteRT, TFLite Micro and compilers for NPUs.

    Parameters
    ----------
    path : path
        Of the file.
    net : Network
        With linear blocks, which count as collapsed, or without.
    iparams : dict of integer arrays
        From `sesr_ref.quantize`.
    q : Quantization
        Its grids, 8 bits for every tensor.
    height, width : int
        Of the input, which the file states.
    shuffle : {"depth_to_space", "transpose_conv"}
        How sub-pixels become pixels; the second is a transposed convolution with one-hot weights,
        which compilers place on an NPU, and which is exact as well.
    overwrite : bool
        Whether an existing file is replaced.

    Raises
    ------
    ValueError
        For a kind of layer, a grid or a shuffle that TFLite's integer kernels do not have.
    FileExistsError
        If the file exists and `overwrite` is false.
    """
    small = collapsed(net)
    check_integer_params(small, iparams, q)
    if shuffle not in SHUFFLES:
        raise ValueError(f"shuffle must be one of {SHUFFLES}, got {shuffle!r:.40}")
    for name, grid in q.tensors.items():
        if grid.bits != 8 or grid.axis is not None:
            raise ValueError(f"{name}: a .tflite needs 8 bits and one scale, got {grid}")
    size = whole_number("height", height), whole_number("width", width)
    data = _Model(small, iparams, q, size, shuffle).finish()
    with atomic_write(Path(path), overwrite) as stream:
        stream.write(data)


class _Model:
    """Tensors, buffers and operators written so far."""

    def __init__(
        self,
        net: nw.Network,
        iparams: IntegerParams,
        q: Quantization,
        size: tuple[int, int],
        shuffle: str,
    ) -> None:
        self.net, self.iparams, self.q, self.shuffle = net, iparams, q, shuffle
        self.shapes = net.shapes(*size)
        self.buffers, self.tensors, self.operators = [Table()], list[Table](), list[Table]()
        self.codes: dict[tuple[str, int], int] = {}
        self.places: dict[str, int] = {}
        self.fused = _fused(net, q)

    def finish(self) -> bytes:
        """Every layer, then the file."""
        self.activation("input")
        for layer, inputs in self.net.steps():
            if layer.name in self.fused.values():  # its convolution or addition applies it
                continue
            if type(layer) not in RULES:
                raise ValueError(
                    f"{layer.name}: TFLite's integers have no {type(layer).__name__} here"
                )
            RULES[type(layer)](self, layer, inputs)
        names = [self.places["input"], self.places[self.net.output]]
        graph = Table(
            {
                0: self.tensors,
                1: np.array(names[:1], np.int32),
                2: np.array(names[1:], np.int32),
                3: self.operators,
                4: "main",
            }
        )
        return Writer(schema.IDENTIFIER).finish(self._model(graph, names))

    def _model(self, graph: Table, names: list[int]) -> Table:
        codes = [
            Table(
                {
                    0: Scalar("i8", schema.OPERATORS[name]),
                    2: Scalar("i32", version),
                    3: Scalar("i32", schema.OPERATORS[name]),
                }
            )
            for name, version in self.codes
        ]
        ends = [
            [Table({0: name, 1: Scalar("u32", place)})]
            for name, place in zip(("input", "output"), names, strict=True)
        ]
        signature = Table({0: ends[0], 1: ends[1], 2: "serving_default", 4: Scalar("u32", 0)})
        return Table(
            {
                0: Scalar("u32", schema.VERSION),
                1: codes,
                2: [graph],
                3: "sesr_ref",
                4: self.buffers,
                7: [signature],
            }
        )

    def tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        data: Array | None,
        grid: Grid | None,
        axis: int = 0,
    ) -> int:
        """Append a tensor, with its numbers or without; its index."""
        kind = np.dtype(np.int8) if data is None else data.dtype
        table = Table(
            {
                0: np.array(shape, np.int32),
                1: Scalar("i8", schema.TYPE_NUMBERS[kind]),
                3: name,
            }
        )
        if data is not None:
            held = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self.buffers.append(Table({0: held}))
            table[2] = Scalar("u32", len(self.buffers) - 1)
        if grid is not None:
            scales = np.atleast_1d(grid.scales)
            zeros = np.full(scales.size, grid.zero_point, np.int64)
            table[4] = Table({2: scales, 3: zeros, 6: Scalar("i32", axis)})
        self.tensors.append(table)
        self.places[name] = len(self.tensors) - 1
        return self.places[name]

    def activation(self, name: str) -> int:
        """Append a layer's output."""
        return self.tensor(name, (1, *self.shapes[name]), None, self.q.tensors[name])

    def operator(
        self,
        kind: str,
        version: int,
        inputs: list[int],
        output: str,
        options: Table | None = None,
    ) -> None:
        """Append an operator that makes a layer's output."""
        code = self.codes.setdefault((kind, version), len(self.codes))
        made = np.array([self.activation(output)], np.int32)
        table = Table({0: Scalar("u32", code), 1: np.array(inputs, np.int32), 2: made})
        if options is not None:
            table |= {3: Scalar("u8", schema.OPTIONS[kind]), 4: options}
        self.operators.append(Table(table))

    def target(self, layer: nw.Layer) -> tuple[str, Scalar]:
        """The name of what a layer makes, the ReLU behind it applied, and that ReLU."""
        relu = layer.name in self.fused
        name = self.fused.get(layer.name, layer.name)
        return name, Scalar("i8", schema.RELU if relu else 0)

    def sources(self, inputs: tuple[str, ...]) -> list[int]:
        """Indices of what a layer reads."""
        return [self.places[name] for name in inputs]


def _fused(net: nw.Network, q: Quantization) -> dict[str, str]:
    """Convolutions and additions that nothing but a ReLU reads, with that ReLU's name."""
    readers = Counter(name for _, inputs in net.steps() for name in inputs)
    kinds = {layer.name: type(layer) for layer in net.layers}
    return {
        inputs[0]: layer.name
        for layer, inputs in net.steps()
        if isinstance(layer, nw.ReLU)
        and readers[inputs[0]] == 1
        and kinds.get(inputs[0]) in (nw.Conv, nw.Add)
        and q.tensors[inputs[0]] == q.tensors[layer.name]
    }


def _conv(model: _Model, layer: nw.Conv, inputs: tuple[str, ...]) -> None:
    owner = layer.shares or layer.name
    weight, grid = model.iparams[f"{owner}.weight"], model.q.params[f"{owner}.weight"]
    channels = model.shapes[inputs[0]][2]
    name, activation = model.target(layer)
    strides = {1: Scalar("i32", 1), 2: Scalar("i32", 1)}
    if layer.groups == 1:
        kind, data, axis = "CONV_2D", weight.transpose(3, 0, 1, 2), 0
        options = {**strides, 3: activation, 4: Scalar("i32", 1), 5: Scalar("i32", 1)}
    elif layer.groups == channels:
        kind, data, axis = "DEPTHWISE_CONV_2D", weight.transpose(2, 0, 1, 3), 3
        multiplier = Scalar("i32", layer.features // channels)
        options = {
            **strides,
            3: multiplier,
            4: activation,
            5: Scalar("i32", 1),
            6: Scalar("i32", 1),
        }
    else:
        raise ValueError(f"{layer.name}: {layer.groups} groups of {channels} channels")
    scales = np.broadcast_to(grid.scales, (layer.features,))
    whole = Grid(tuple(scales.tolist()), 0, 8, 0)
    source = model.q.tensors[inputs[0]]
    bias_scales = (source.scales * scales).astype(np.float32)
    bias = model.iparams.get(f"{owner}.bias", np.zeros(layer.features, np.int32))
    operands = [
        *model.sources(inputs),
        model.tensor(f"{layer.name}.weight", data.shape, data.astype(np.int8), whole, axis),
        model.tensor(
            f"{layer.name}.bias",
            bias.shape,
            bias.astype(np.int32),
            Grid(tuple(bias_scales.tolist()), 0, 32, 0),
        ),
    ]
    model.operator(kind, 3, operands, name, Table(options))


def _prelu(model: _Model, layer: nw.PReLU, inputs: tuple[str, ...]) -> None:
    owner = layer.shares or layer.name
    slope = model.iparams[f"{owner}.slope"].astype(np.int8).reshape(1, 1, -1)
    grid = model.q.params[f"{owner}.slope"]
    operand = model.tensor(f"{layer.name}.slope", slope.shape, slope, grid)
    model.operator("PRELU", 1, [*model.sources(inputs), operand], layer.name)


def _add(model: _Model, layer: nw.Add, inputs: tuple[str, ...]) -> None:
    if len(inputs) != 2:
        raise ValueError(f"{layer.name}: ADD takes two tensors, not {len(inputs)}")
    name, activation = model.target(layer)
    model.operator("ADD", 2, model.sources(inputs), name, Table({0: activation}))


def _concat(model: _Model, layer: nw.Concat, inputs: tuple[str, ...]) -> None:
    if any(model.q.tensors[name] != model.q.tensors[layer.name] for name in inputs):
        raise ValueError(f"{layer.name}: CONCATENATION needs one grid for all it joins")
    model.operator(
        "CONCATENATION", 2, model.sources(inputs), layer.name, Table({0: Scalar("i32", 3)})
    )


def _depth_to_space(model: _Model, layer: nw.DepthToSpace, inputs: tuple[str, ...]) -> None:
    if layer.mode != "DCR":
        raise ValueError(f"{layer.name}: TFLite's order is DCR, not {layer.mode}")
    if model.shuffle == "depth_to_space":
        options = Table({0: Scalar("i32", layer.block)})
        model.operator("DEPTH_TO_SPACE", 1, model.sources(inputs), layer.name, options)
        return
    block, channels = layer.block, model.shapes[layer.name][2]
    weight = np.zeros((channels, block, block, block**2 * channels), np.int8)
    for row, column, c in np.ndindex(block, block, channels):
        weight[c, row, column, (row * block + column) * channels + c] = 127
    one = Grid((1 / 127,) * channels, 0, 8, 0)
    grid = model.q.tensors[layer.name]
    bias_grid = Grid(tuple((one.scales * grid.scales).tolist()), 0, 32, 0)
    shape = np.array((1, *model.shapes[layer.name]), np.int32)
    operands = [
        model.tensor(f"{layer.name}.shape", (4,), shape, None),
        model.tensor(f"{layer.name}.weight", weight.shape, weight, one),
        *model.sources(inputs),
        model.tensor(f"{layer.name}.bias", (channels,), np.zeros(channels, np.int32), bias_grid),
    ]
    stride = Scalar("i32", block)
    options = Table({0: Scalar("i8", 1), 1: stride, 2: stride})  # padding VALID
    model.operator("TRANSPOSE_CONV", 3, operands, layer.name, options)


RULES: dict[type[nw.Layer], Callable[[_Model, Any, tuple[str, ...]], None]] = {
    nw.Conv: _conv,
    nw.PReLU: _prelu,
    nw.ReLU: lambda model, layer, inputs: model.operator(
        "RELU", 2, model.sources(inputs), layer.name
    ),
    nw.Add: _add,
    nw.Concat: _concat,
    nw.DepthToSpace: _depth_to_space,
}
"""How each kind is written that TFLite's integer kernels have."""
