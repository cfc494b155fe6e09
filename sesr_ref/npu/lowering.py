"""Lower a network to the passes that an NPU runs: one rule for each kind of layer.

A convolution and the activation after it are one pass; an addition is a pass of the PLE;
depth-to-space is a transposed convolution with one-hot weights; a concatenation needs no pass,
since its parts are written side by side in DRAM; shifting and scaling are requantisation, which is
free.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sesr_ref import network as nw
from sesr_ref.checks import check_primitive
from sesr_ref.npu.hardware import Npu
from sesr_ref.ops.resampling import MODES

MAX_ENLARGING_KERNEL = 7
"""Largest transposed convolution in one pass; a larger one writes the zero-stuffed tensor first."""


@dataclass(frozen=True)
class Weights:
    """Amount of weights to encode for one output channel.

    Parameters
    ----------
    values, zeros : int
        Weights that may be any number, and weights known to be zero.
    constant : bool
        Whether all values are equal, so that a palette with one entry holds them.
    """

    values: int
    zeros: int = 0
    constant: bool = False

    def bits(self, weight_bits: int) -> int:
        """Encoded bits: per value a sign bit and, with zeros, a zero-run bit; a bit per zero."""
        if self.constant:
            return self.values + self.zeros
        return self.values * (weight_bits + 1 + (self.zeros > 0)) + self.zeros


@dataclass(frozen=True)
class Operation:
    """One pass, before it is decided where its tensors lie.

    Parameters
    ----------
    name : str
        Name of the pass and of its output tensor.
    engine : {"mce", "ple", "convert"}
        Convolution, addition, or change of format in the DRAM.
    layers : tuple of str
        Layers of the network that it computes.
    inputs : tuple of str
        Tensors that it reads, each the output of an operation or "input".
    operands : tuple of shapes
        Shapes of its operands; the inputs of a concatenation, side by side, are one operand.
    output : shape
        (height, width, channels) of its output.
    macs : int
        Useful multiply-accumulates, in the counting convention of `sesr_ref.cost`.
    """

    name: str
    engine: str
    layers: tuple[str, ...]
    inputs: tuple[str, ...]
    operands: tuple[nw.Shape, ...]
    output: nw.Shape
    macs: int = 0
    kernel_size: int = 1
    groups: int = 1
    depthwise: bool = False
    enlarge: int = 1
    weights: Weights | None = None

    @property
    def may_take_winograd(self) -> bool:
        """Whether it is a plain convolution that Winograd makes cheaper."""
        plain = self.engine == "mce" and self.enlarge == 1 and not self.depthwise
        return plain and takes_winograd(self.kernel_size)

    def weight_bytes(self, npu: Npu, weight_bits: int = 8) -> int:
        """Encoded size: one stream per bank with its headers and channels, rounded up."""
        if self.weights is None:
            return 0
        channels = math.ceil(self.output[2] / npu.sram_banks)
        channel = npu.weight_header_bytes + self.weights.bits(weight_bits) / 8
        stream = npu.weight_stream_bytes + channels * channel
        return npu.sram_banks * math.ceil(stream / npu.weight_alignment) * npu.weight_alignment


@dataclass
class Lowering:
    """State while a network is lowered."""

    shapes: dict[str, nw.Shape]
    readers: Counter[str]
    operations: dict[str, Operation] = field(default_factory=dict)
    tensors: dict[str, tuple[str, ...]] = field(default_factory=lambda: {"input": ("input",)})
    """Layer: the operations whose outputs hold its output; several after a concatenation."""

    def sources(self, inputs: tuple[str, ...]) -> tuple[str, ...]:
        """Tensors that hold the outputs of these layers."""
        return tuple(tensor for name in inputs for tensor in self.tensors[name])

    def put(self, layer: str, operation: Operation) -> None:
        """Append a pass that computes the output of `layer`."""
        self.operations[operation.name] = operation
        self.tensors[layer] = (operation.name,)

    def mce(self, layer: nw.Layer, inputs: tuple[str, ...], **how: Any) -> None:
        """Append a convolution pass for the whole of `layer`."""
        sources = self.sources(inputs)
        operands = tuple(self.shapes[name] for name in inputs)
        name = layer.name
        self.put(name, Operation(name, "mce", (name,), sources, operands, self.shapes[name], **how))


def dense(taps: int, kernel_size: int, padded: bool) -> Weights:
    """Weights of a convolution; with `padded` each side is padded to a multiple of 3."""
    side = 3 * math.ceil(kernel_size / 3) if padded and kernel_size > 1 else kernel_size
    zeros = taps * (side**2 - kernel_size**2)
    return Weights(taps * kernel_size**2, zeros)


def takes_winograd(kernel_size: int) -> bool:
    """Whether 2 x 2 outputs need fewer products by Winograd, k cut into 3 x 3 pieces."""
    return 16 * math.ceil(kernel_size / 3) ** 2 < 4 * kernel_size**2


def _conv(low: Lowering, layer: nw.Conv, inputs: tuple[str, ...]) -> None:
    height, width, _ = low.shapes[layer.name]
    taps = low.shapes[inputs[0]][2] // layer.groups
    k = layer.side  # a rectangular kernel is padded to a square
    low.mce(
        layer,
        inputs,
        kernel_size=k,
        groups=layer.groups,
        macs=height * width * taps * math.prod(layer.sides) * layer.features,
        weights=dense(taps, k, takes_winograd(k)),
    )


def _stencil(low: Lowering, layer: nw.Stencil, inputs: tuple[str, ...]) -> None:
    height, width, channels = low.shapes[layer.name]
    low.mce(
        layer,
        inputs,
        kernel_size=layer.side,
        depthwise=True,
        macs=height * width * channels * math.prod(layer.sides),
        weights=dense(1, layer.side, padded=False),
    )


def _rejected(low: Lowering, layer: nw.Layer, inputs: tuple[str, ...]) -> None:
    raise ValueError(
        f"the NPU model has no pass for layer {layer.name!r}, a {type(layer).__name__}"
    )


def _transpose(
    low: Lowering, layer: nw.Layer, inputs: tuple[str, ...], kernel: int, stride: int, macs: int
) -> None:
    """Lower a transposed convolution: one pass, or two if the kernel is large."""
    height, width, channels = low.shapes[inputs[0]]
    if kernel <= MAX_ENLARGING_KERNEL:
        low.mce(
            layer,
            inputs,
            kernel_size=kernel,
            enlarge=stride,
            macs=macs,
            weights=dense(channels, kernel, False),
        )
        return
    stuffed = f"{layer.name}:stuffed"
    low.shapes[stuffed] = (height * stride, width * stride, channels)
    low.put(
        stuffed,
        Operation(
            stuffed,
            "mce",
            (layer.name,),
            low.sources(inputs),
            (low.shapes[inputs[0]],),
            low.shapes[stuffed],
            depthwise=True,
            enlarge=stride,
            weights=Weights(1, constant=True),
        ),
    )
    low.mce(layer, (stuffed,), kernel_size=kernel, macs=macs, weights=dense(channels, kernel, True))


def _conv_transpose(low: Lowering, layer: nw.ConvTranspose, inputs: tuple[str, ...]) -> None:
    height, width, _ = low.shapes[layer.name]
    macs = height * width * layer.kernel_size**2 * low.shapes[inputs[0]][2] * layer.features
    _transpose(low, layer, inputs, layer.kernel_size, layer.stride, macs)


def _resize(low: Lowering, layer: nw.Resize, inputs: tuple[str, ...]) -> None:
    """Lower resampling to a transposed convolution whose weights sample the kernel."""
    _transpose(low, layer, inputs, MODES[layer.mode][1] * layer.upscale, layer.upscale, 0)


def _depth_to_space(low: Lowering, layer: nw.DepthToSpace, inputs: tuple[str, ...]) -> None:
    taps = layer.block**2
    one_hot = Weights(taps, taps * (low.shapes[inputs[0]][2] - 1))
    low.mce(layer, inputs, kernel_size=layer.block, enlarge=layer.block, weights=one_hot)


def _activation(low: Lowering, layer: nw.Layer, inputs: tuple[str, ...]) -> None:
    """Join the preceding convolution if this is its single consumer; else add a 1 x 1 pass."""
    (source, *others) = low.sources(inputs)
    operation = low.operations.get(source)
    if others or operation is None or operation.engine != "mce" or low.readers[inputs[0]] > 1:
        low.mce(layer, inputs, depthwise=True, weights=Weights(1, constant=True))
        return
    layers = (*operation.layers, layer.name)
    low.operations[source] = dataclasses.replace(operation, layers=layers)
    low.tensors[layer.name] = (source,)


def _add(low: Lowering, layer: nw.Layer, inputs: tuple[str, ...]) -> None:
    operands = tuple(low.shapes[name] for name in inputs)
    sources, name = low.sources(inputs), layer.name
    low.put(name, Operation(name, "ple", (name,), sources, operands, low.shapes[name]))


def _side_by_side(low: Lowering, layer: nw.Layer, inputs: tuple[str, ...]) -> None:
    low.tensors[layer.name] = low.sources(inputs)


LOWER: nw.Rules[Callable[[Lowering, Any, tuple[str, ...]], None]] = nw.Rules(
    {
        nw.Conv: _conv,
        nw.ConvTranspose: _conv_transpose,
        nw.Pointwise: _activation,
        nw.Shift: _side_by_side,
        nw.Scale: _side_by_side,
        nw.Gain: _side_by_side,
        nw.BatchNorm: _side_by_side,
        nw.GELU: _rejected,
        nw.Stencil: _stencil,
        nw.Add: _add,
        nw.Multiply: _add,
        nw.Slice: _side_by_side,
        nw.Pad: _rejected,
        nw.Concat: _side_by_side,
        nw.DepthToSpace: _depth_to_space,
        nw.Resize: _resize,
    }
)


def lower(net: nw.Network, height: int, width: int) -> tuple[Operation, ...]:
    """Lower a network of primitives to passes.

    Parameters
    ----------
    net : Network
        Without linear blocks.
    height, width : int
        Pixels of the input.

    Returns
    -------
    tuple of Operation
        In order of execution; the last one computes the network's output.

    Raises
    ------
    ValueError
        For a linear block, which is named, or if no single pass computes the network's output.
    """
    check_primitive(net)
    readers = Counter(name for _, inputs in net.steps() for name in inputs)
    low = Lowering(net.shapes(height, width), readers)
    for layer, inputs in net.steps():
        LOWER[type(layer)](low, layer, inputs)
    operations = tuple(low.operations.values())
    if not operations or low.tensors[net.output] != (operations[-1].name,):
        raise ValueError(f"{net.name}: the last pass does not compute the output {net.output!r}")
    return operations
