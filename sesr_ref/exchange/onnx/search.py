"""Looking for what several nodes of a graph make together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sesr_ref.exchange.onnx.file import require_onnx, tensor_array
from sesr_ref.network import Layer


@dataclass(frozen=True)
class Found:
    """One layer that several nodes make of a tensor, which has so many channels (0: any)."""

    source: str
    layer: Callable[[str, tuple[str, ...]], Layer]
    channels: int = 0


class Search:
    """A graph's nodes by what they make, and its constants."""

    def __init__(self, graph: Any) -> None:
        self.makers = {out: node for node in graph.node for out in node.output}
        self.constants = {tensor.name: tensor for tensor in graph.initializer}

    def made(self, kind: str, name: str) -> Any:
        """The node of that kind that makes a tensor, or None."""
        node = self.makers.get(name)
        return node if node is not None and node.op_type == kind else None

    def array(self, name: str) -> np.ndarray[Any, np.dtype[Any]] | None:
        """A constant's values; None for what is none."""
        tensor = self.constants.get(name)
        if tensor is None and (node := self.made("Constant", name)) is not None:
            tensor = self.attributes(node).get("value")
        return None if tensor is None else tensor_array(tensor)

    def number(self, name: str) -> float | None:
        """A constant's only value; None for what is none or has several."""
        tensor = self.constants.get(name)
        if tensor is not None and len(tensor.dims) > 0 and max(tensor.dims) > 1:
            return None
        value = self.array(name)
        return None if value is None or value.size != 1 else float(value.reshape(()))

    @staticmethod
    def attributes(node: Any) -> dict[str, Any]:
        """A node's attributes as Python values."""
        get = require_onnx().helper.get_attribute_value
        return {a.name: get(a) for a in node.attribute}
