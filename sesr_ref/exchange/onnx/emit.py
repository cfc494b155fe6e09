"""The network that grows while an ONNX graph is read."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from sesr_ref.exchange.onnx import axes as ax
from sesr_ref.exchange.onnx.graph import NCHW, Image, Node, View, clean_name
from sesr_ref.network import Layer
from sesr_ref.ops.arrays import Params


@dataclass
class Layers:
    """The layers and their parameters so far, and the tensor that each was made for.

    `taken` counts how often a name was asked for, `images` keeps what views turned out to be.
    """

    layers: dict[str, Layer] = field(default_factory=dict)
    params: Params = field(default_factory=dict)
    tensors: dict[str, str] = field(default_factory=dict)
    taken: Counter[str] = field(default_factory=lambda: Counter(["input"]))
    images: dict[View, Image] = field(default_factory=dict)

    def emit(
        self,
        node: Node,
        layer: Layer,
        *shapes: ax.Shape4,
        order: tuple[int, ...] = NCHW,
        params: Params | None = None,
        output: int = 0,
    ) -> View:
        """Append a layer that reads tensors of these shapes; its output, transposed by `order`."""
        n = shapes[0][0]
        try:
            height, width, channels = layer.out_shape(*((h, w, c) for _, c, h, w in shapes))
        except ValueError as error:
            raise node.error(str(error)) from None
        self.layers[layer.name] = layer
        self.tensors[layer.name] = node.outputs[output]
        self.params |= {f"{layer.name}.{key}": array for key, array in (params or {}).items()}
        return Image(layer.name, (n, channels, height, width), order).view

    def name_for(self, node: Node, output: int = 0) -> str:
        """Name a layer after the tensor it makes: "/head/Conv_output_0" is "head.Conv"."""
        return self.fresh(label_of(node, output))

    def fresh(self, name: str) -> str:
        """Return `name`, with a number where a layer has it already."""
        number = self.taken[name] = self.taken[name] + 1
        return name if number == 1 else self.fresh(f"{name}.{number}")


def label_of(node: Node, output: int = 0) -> str:
    """What a layer that makes a node's output is called, if no other has that name."""
    return clean_name(re.sub(r"_output_0$", "", node.outputs[output])) or node.kind
