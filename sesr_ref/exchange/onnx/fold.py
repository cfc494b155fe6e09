"""Nodes that no image reaches, computed while the graph is read."""

from __future__ import annotations

import math

import numpy as np

from sesr_ref.exchange.onnx.file import tensor_array
from sesr_ref.exchange.onnx.graph import Builder, Constant, Node, Value, View

MOVES = ("Cast", "Identity", "Reshape", "Shape", "Squeeze", "Transpose", "Unsqueeze")
"""Operators that make nothing larger than their input: done on any constant."""
ARITHMETIC = ("Add", "Ceil", "Concat", "Div", "Floor", "Gather", "Mul", "Slice", "Sub")
"""Operators that sizes are computed with: done on a few numbers only."""
MAX_ELEMENTS = 1 << 16
"""Of the result of arithmetic, at most: the product of its inputs' sizes."""


def folded(node: Node, builder: Builder) -> Constant | None:
    """The value of a node that no image reaches, or None for one that must be a layer.

    Parameters
    ----------
    node : Node
        To be computed.
    builder : Builder
        With the values of its inputs.

    Returns
    -------
    array or None

    Raises
    ------
    ValueError
        If onnx's own evaluation of the node fails.
    """
    if node.kind == "Constant":
        return _stated_constant(node)
    inputs: list[Value | None] = [builder.values[n] if n else None for n in node.inputs]
    if node.kind == "Shape" and isinstance(image := inputs[0], View):
        start, stop = node.attribute("start", 0), node.attribute("end")
        return np.array(image.lengths[start:stop], np.int64)
    constants = [value for value in inputs if isinstance(value, np.ndarray)]
    if node.domain not in ("", "ai.onnx") or len(constants) != len(inputs) or not inputs:
        return None
    small = math.prod(c.size for c in constants if c.ndim) <= MAX_ELEMENTS
    if node.kind not in MOVES and not (node.kind in ARITHMETIC and small):
        return None
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(node.proto, opsets={"": node.opset})
    try:
        with np.errstate(all="ignore"):
            (value, *_) = evaluator.run(None, dict(zip(node.inputs, constants, strict=True)))
    except Exception as error:  # whatever NumPy says to inconsistent constants
        raise node.error(" ".join(str(error).split())) from None
    return np.asarray(value)


def _stated_constant(node: Node) -> Constant:
    if "value" in node.attributes:
        try:
            return tensor_array(node.attributes["value"])
        except ValueError as error:
            raise node.error(str(error)) from None
    for key, dtype in (("value_float", "f4"), ("value_int", "i8")):
        for name in (key, f"{key}s"):
            if name in node.attributes:
                return np.array(node.attributes[name], dtype)
    raise node.error(f"a constant given by {sorted(node.attributes)} is not supported")
