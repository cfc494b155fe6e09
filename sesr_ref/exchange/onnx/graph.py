"""Walking an ONNX graph: what each name stands for, and the network that grows from it."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sesr_ref.exchange.onnx import axes as ax
from sesr_ref.exchange.onnx.file import place_of, require_onnx
from sesr_ref.network import MAX_NAME, DepthToSpace, Layer
from sesr_ref.ops.arrays import Array, Params

Constant = np.ndarray[Any, np.dtype[Any]]
PROBE = (46, 74)
"""Height and width that stand in for dynamic ones while shapes are computed."""


@dataclass(frozen=True)
class View:
    """A tensor as a node sees it: that of a layer, with its axes reshaped and transposed."""

    source: str
    shape: ax.Shape4
    axes: ax.Axes

    @property
    def lengths(self) -> tuple[int, ...]:
        """The shape that the node sees."""
        return ax.lengths(self.axes)


@dataclass(frozen=True)
class Image:
    """A tensor that is an image: ``x.transpose(order)`` of the NCHW tensor of a layer."""

    source: str
    shape: ax.Shape4
    order: tuple[int, ...]

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.shape[1]


Value = View | Constant


class Node:
    """One node of the graph, with its attributes as Python values and its place for errors."""

    def __init__(self, index: int, proto: Any, opset: int) -> None:
        self.place = place_of(index, proto)
        self.proto = proto
        self.kind: str = proto.op_type
        self.domain: str = proto.domain
        self.inputs: list[str] = list(proto.input)
        self.outputs: list[str] = list(proto.output)
        self.opset = opset
        get = require_onnx().helper.get_attribute_value
        self.attributes: dict[str, Any] = {a.name: get(a) for a in proto.attribute}

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute's value; text as str."""
        value = self.attributes.get(name, default)
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value

    def error(self, message: str) -> ValueError:
        """Make an error that names the node."""
        return ValueError(f"{self.place}: {message}")


@dataclass
class Builder:
    """What is known so far.

    The value of each of the graph's names, the layers and their parameters, how often each name is
    read, the name of the tensor that each layer was made for, and how often a name was asked for.
    """

    values: dict[str, Value] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)
    params: Params = field(default_factory=dict)
    readers: Counter[str] = field(default_factory=Counter)
    tensors: dict[str, str] = field(default_factory=dict)
    taken: Counter[str] = field(default_factory=lambda: Counter(["input"]))

    def value(self, node: Node, index: int) -> Value | None:
        """The node's input number `index`, None where it is left out."""
        name = node.inputs[index] if index < len(node.inputs) else ""
        return self.values[name] if name else None

    def optional(self, node: Node, index: int) -> Constant | None:
        """As `value`, for an input that must not depend on the image."""
        value = self.value(node, index)
        if isinstance(value, View):
            raise node.error(f"input {index} ({node.inputs[index]!r}) must be a constant")
        return value

    def constant(self, node: Node, index: int) -> Constant:
        """As `optional`, for an input that may not be left out."""
        value = self.optional(node, index)
        if value is None:
            raise node.error(f"input {index} is missing")
        return value

    def weight(self, node: Node, index: int) -> Array:
        """A convolution's weight: four axes, finite; float32, or float64 where the model has it."""
        return self._floats(node, index, self.constant(node, index), 4)

    def bias(self, node: Node, index: int) -> Array | None:
        """A convolution's bias, None where it is left out."""
        value = self.optional(node, index)
        return None if value is None else self._floats(node, index, value, 1)

    def _floats(self, node: Node, index: int, value: Constant, ndim: int) -> Array:
        if value.ndim != ndim or value.dtype.kind != "f":
            raise node.error(
                f"input {index} ({node.inputs[index]!r}) must be a float tensor of {ndim} "
                f"axes, got {value.dtype} of shape {value.shape}"
            )
        return self.finite(node, value)

    @staticmethod
    def finite(node: Node, value: Constant) -> Array:
        """The numbers as float32 or float64; ValueError for NaN and infinities."""
        if not np.isfinite(value).all():
            raise node.error("a constant holds numbers that are not finite")
        return value if value.dtype == np.float64 else value.astype(np.float32)

    def image(self, node: Node, index: int) -> Image:
        """The node's input number `index` as an image, in whatever order of axes."""
        value = self.value(node, index)
        if not isinstance(value, View):
            raise node.error(f"input {index} must depend on the image")
        return self.settled(node, value)

    def nchw(self, node: Node, index: int) -> Image:
        """As `image`, for operators that read channels first."""
        image = self.image(node, index)
        if image.order != (0, 1, 2, 3):
            raise node.error(f"input {index} has its axes in the order {image.order}, not NCHW")
        return image

    def settled(self, node: Node, view: View) -> Image:
        """Turn a chain of reshapes and transposes into what it is: nothing, or depth-to-space."""
        order = ax.order_of(view.axes, ax.image_axes(view.shape))
        if order is not None:
            return Image(view.source, view.shape, order)
        found = ax.shuffle_of(view.axes, view.shape)
        if found is None:
            raise node.error(
                f"reads {view.source!r} of shape {view.shape} rearranged to {view.lengths}, "
                "which is no depth-to-space"
            )
        block, mode, order = found
        name = self.fresh(f"{view.source}.shuffle")
        made = self.emit(node, DepthToSpace(name, block, mode, inputs=(view.source,)), view.shape)
        return Image(made.source, made.shape, order)

    def emit(
        self,
        node: Node,
        layer: Layer,
        *shapes: ax.Shape4,
        order: tuple[int, ...] = (0, 1, 2, 3),
        params: Params | None = None,
    ) -> View:
        """Append a layer that reads tensors of these shapes; its output, transposed by `order`."""
        n = shapes[0][0]
        try:
            height, width, channels = layer.out_shape(*((h, w, c) for _, c, h, w in shapes))
        except ValueError as error:
            raise node.error(str(error)) from None
        self.layers.append(layer)
        self.tensors[layer.name] = node.outputs[0]
        self.params |= {f"{layer.name}.{key}": array for key, array in (params or {}).items()}
        shape = (n, channels, height, width)
        return View(layer.name, shape, ax.transposed(ax.image_axes(shape), order))

    def name_for(self, node: Node) -> str:
        """Name the layer after the tensor it makes: "/head/Conv_output_0" is "head.Conv"."""
        return self.fresh(clean_name(re.sub(r"_output_0$", "", node.outputs[0])) or node.kind)

    def fresh(self, name: str) -> str:
        """Return `name`, with a number where a layer has it already."""
        number = self.taken[name] = self.taken[name] + 1
        return name if number == 1 else self.fresh(f"{name}.{number}")


def clean_name(name: str) -> str:
    """Put dots for slashes, spaces and whatever else a file's name had better not hold."""
    return re.sub(r"[^\w.-]+", ".", name, flags=re.ASCII).strip(".")[-MAX_NAME // 2 :]
