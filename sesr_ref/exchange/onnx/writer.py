"""Nodes and constants of an ONNX graph while it is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sesr_ref.exchange.onnx.file import require_onnx
from sesr_ref.exchange.rounding import rounded
from sesr_ref.ops.arrays import Array


class Graph:
    """The nodes and constants written so far."""

    def __init__(self, dtype: str, opset: int) -> None:
        self.dtype = dtype
        self.opset = opset
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Append an operator; its output's name, which is also its own."""
        make = require_onnx().helper.make_node
        self.nodes.append(make(kind, list(inputs), [output], name=output, **attributes))
        return output

    def number(self, name: str, value: Array | float) -> str:
        """Append a constant in the graph's dtype; its name."""
        return self.constant(name, rounded(name, np.asarray(value), self.dtype))

    def constant(self, name: str, array: np.ndarray[Any, Any]) -> str:
        """Append a constant as it is; its name."""
        tensor = require_onnx().numpy_helper.from_array(np.ascontiguousarray(array), name)
        self.constants.append(tensor)
        return name
