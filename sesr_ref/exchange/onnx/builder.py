"""What is known of an ONNX graph while it is walked, and what its nodes ask for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from sesr_ref.exchange.onnx import axes as ax
from sesr_ref.exchange.onnx.emit import Layers
from sesr_ref.exchange.onnx.graph import NCHW, NO_MARGINS, Constant, Image, Node, Value, View
from sesr_ref.exchange.onnx.repeats import repeat_of
from sesr_ref.exchange.onnx.settle import settled
from sesr_ref.exchange.values import MAX_WEIGHT, parameter
from sesr_ref.ops.arrays import Array


@dataclass
class Builder(Layers):
    """The layers so far, the value of each of the graph's names and how often each is read.

    `tail` are the tensors that only the output depends on, `bytes` is the layer that stands for an
    input of bytes, `codes` the grids of the tensors that hold integers, `folded_bytes` what the
    constants computed so far take.
    """

    values: dict[str, Value] = field(default_factory=dict)
    readers: Counter[str] = field(default_factory=Counter)
    tail: frozenset[str] = frozenset()
    bytes: str = ""
    codes: dict[str, Any] = field(default_factory=dict)
    folded_bytes: int = 0

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

    def integers(self, node: Node, index: int, key: str) -> list[int] | None:
        """Integers that an attribute states in old opsets and an input since; None if neither."""
        value = self.optional(node, index)
        stated = node.attribute(key) if value is None else value.reshape(-1).tolist()
        return None if stated is None else [int(number) for number in stated]

    def weight(self, node: Node, index: int) -> Array:
        """A convolution's weight: four axes; float32, or float64 where the model has it."""
        return self.parameter(node, index, self.constant(node, index), 4)

    def bias(self, node: Node, index: int) -> Array | None:
        """A convolution's bias, None where it is left out."""
        value = self.optional(node, index)
        return None if value is None else self.parameter(node, index, value, 1)

    def parameter(
        self, node: Node, index: int, value: Constant, ndim: int, limit: float = MAX_WEIGHT
    ) -> Array:
        """A constant input with so many axes, none of its numbers beyond `limit`."""
        name = f"input {index} ({node.inputs[index]!r})"
        node.require(
            value.ndim == ndim and value.dtype.kind == "f",
            f"{name} must be a float tensor of {ndim} axes, "
            f"got {value.dtype} of shape {value.shape}",
        )
        return self.finite(node, value, name, limit)

    @staticmethod
    def finite(
        node: Node, value: Constant, name: str = "a constant", limit: float = MAX_WEIGHT
    ) -> Array:
        """The numbers as float32 or float64; ValueError for NaN, infinities and absurd ones."""
        try:
            return parameter(name, value, limit)
        except ValueError as error:
            raise node.error(str(error)) from None

    def view(self, node: Node, index: int = 0) -> View:
        """The node's input number `index`, which must depend on the image."""
        value = self.value(node, index)
        if not isinstance(value, View):
            raise node.error(f"input {index} must depend on the image")
        integers = node.inputs[index] in self.codes and node.kind != "DequantizeLinear"
        why = f"input {index} holds integers: only DequantizeLinear reads them"
        node.require(not integers, why)
        return value

    def image(self, node: Node, index: int) -> Image:
        """The node's input number `index` as an image, in whatever order of axes."""
        return settled(self, node, self.view(node, index))

    def uncut(self, node: Node, index: int) -> Image:
        """As `image`, but its margins are left for the node to cut."""
        view = self.view(node, index)
        plain = settled(self, node, replace(view, margins=NO_MARGINS, label=""))
        if plain.source != view.source:  # pixels or channels moved: cut before they do
            return settled(self, node, view)
        return replace(plain, margins=view.margins, label=view.label)

    def once(self, node: Node, index: int) -> Image:
        """As `image`, but one channel that is repeated comes once."""
        view = self.view(node, index)
        found = repeat_of(view.axes, view.shape) if view.shape[1] == 1 else None
        if found is not None and found.upscale == 1:
            plain = ax.transposed(ax.image_axes(view.shape), found.order)
            view = replace(view, axes=plain)
        return settled(self, node, view)

    def nchw(self, node: Node, image: Image) -> Image:
        """Return the image; ValueError unless its axes are batch, channels, height and width."""
        node.require(
            image.order == NCHW,
            f"reads {image.source!r} with its axes in the order {image.order}, not NCHW",
        )
        return image
