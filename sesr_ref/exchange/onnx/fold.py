"""Nodes that no image reaches, computed while the graph is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from sesr_ref.exchange.onnx.builder import Builder
from sesr_ref.exchange.onnx.file import tensor_array
from sesr_ref.exchange.onnx.graph import Constant, Node, Value, View

Size = Callable[[Node, Sequence[Constant]], int]
MAX_FOLDED_BYTES = 1 << 28
"""Of all constants that are computed from others, at most."""


def folded(node: Node, builder: Builder) -> list[Constant] | None:
    """The values of a node that no image reaches, or None for one that must be a layer.

    Parameters
    ----------
    node : Node
        To be computed.
    builder : Builder
        With the values of its inputs, and the bytes that others have taken.

    Returns
    -------
    list of arrays, or None
        One for each output.

    Raises
    ------
    ValueError
        If the result would be too large, or onnx's own evaluation of the node fails.
    """
    if node.kind == "Constant":
        return [_stated_constant(node)]
    inputs: list[Value | None] = [builder.values[n] if n else None for n in node.inputs]
    if node.kind == "Shape" and isinstance(image := inputs[0], View):
        start, stop = node.attribute("start", 0), node.attribute("end")
        return [np.array(image.lengths[start:stop], np.int64)]
    known = {
        name: value
        for name, value in zip(node.inputs, inputs, strict=True)
        if isinstance(value, np.ndarray)
    }
    constant = all(not name or name in known for name in node.inputs) and bool(known)
    if not constant or node.domain not in ("", "ai.onnx") or node.kind not in SIZES:
        return None
    values = [known[name] for name in node.inputs if name]
    _charge(node, builder, values)
    if node.kind in ("Squeeze", "Unsqueeze"):  # whose old forms not every onnx evaluates
        axes = builder.integers(node, 1, "axes")
        return [_reshaped(node, values[0], axes)]
    return _evaluated(node, known)


def _charge(node: Node, builder: Builder, inputs: Sequence[Constant]) -> None:
    """Count what the result will take, before it is taken."""
    try:
        size = SIZES[node.kind](node, inputs)
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise node.error(" ".join(str(error).split())) from None
    builder.folded_bytes += max(size, 0) * 8
    node.require(
        builder.folded_bytes <= MAX_FOLDED_BYTES,
        f"constants that are computed from others take more than {MAX_FOLDED_BYTES} bytes",
    )


def _reshaped(node: Node, value: Constant, axes: list[int] | None) -> Constant:
    """Axes of length 1 more or fewer."""
    try:
        if node.kind == "Unsqueeze":
            return np.expand_dims(value, tuple(axes or ()))
        return np.squeeze(value, None if axes is None else tuple(axes))
    except ValueError as error:
        raise node.error(str(error)) from None


def _evaluated(node: Node, known: dict[str, Constant]) -> list[Constant]:
    from onnx.reference import ReferenceEvaluator

    try:
        evaluator = ReferenceEvaluator(node.proto, opsets={"": node.opset})
        with np.errstate(all="ignore"):
            values = evaluator.run(None, known)
    except Exception as error:  # whatever NumPy says to inconsistent constants
        raise node.error(" ".join(str(error).split())[:300]) from None
    return [np.asarray(value) for value in values]


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


def _first(node: Node, inputs: Sequence[Constant]) -> int:
    """No larger than the first input (whose shape counts where it is a scalar)."""
    return max(inputs[0].size, inputs[0].ndim, 1)


def _broadcast(node: Node, inputs: Sequence[Constant]) -> int:
    return math.prod(np.broadcast_shapes(*(value.shape for value in inputs)))


def _numbers(value: Constant) -> list[int]:
    return [int(number) for number in value.reshape(-1).tolist()]


def _filled(node: Node, inputs: Sequence[Constant]) -> int:
    return math.prod(_numbers(inputs[0]))


def _expanded(node: Node, inputs: Sequence[Constant]) -> int:
    have, want = inputs[0].shape, _numbers(inputs[1])
    return math.prod(max(n, 1) for n in want) * math.prod(have)


def _tiled(node: Node, inputs: Sequence[Constant]) -> int:
    return inputs[0].size * math.prod(_numbers(inputs[1]))


def _counted(node: Node, inputs: Sequence[Constant]) -> int:
    start, stop, step = (float(value.reshape(())) for value in inputs)
    return math.ceil((stop - start) / step)


def _gathered(node: Node, inputs: Sequence[Constant]) -> int:
    data, indices = inputs
    axis = int(node.attribute("axis", 0))
    return int(data.size // max(data.shape[axis], 1) * indices.size)


def _joined(node: Node, inputs: Sequence[Constant]) -> int:
    return sum(value.size for value in inputs)


_FIRST = (
    *(
        "Abs",
        "Cast",
        "Ceil",
        "DequantizeLinear",
        "Exp",
        "Floor",
        "Identity",
        "Neg",
        "Not",
        "Reciprocal",
        "Round",
    ),
    *("Shape", "Size", "Slice", "Split", "Sqrt", "Squeeze", "Reshape", "Transpose", "Unsqueeze"),
    *("ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum"),
)
_BROADCAST = (
    *("Add", "And", "Div", "Equal", "Greater", "Less", "Max", "Min", "Mod", "Mul", "Or", "Pow"),
    *("Sub", "Sum", "Where"),
)
SIZES: dict[str, Size] = {
    **dict.fromkeys(_FIRST, _first),
    **dict.fromkeys(_BROADCAST, _broadcast),
    "Concat": _joined,
    "ConstantOfShape": _filled,
    "Expand": _expanded,
    "Gather": _gathered,
    "Range": _counted,
    "Tile": _tiled,
}
"""Operators that are computed on constants, and how many numbers they make at most."""
