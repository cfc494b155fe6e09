"""GELU in ONNX, which has an operator for it from opset 20 on: spelt out before, and found again.

There are many spellings, so what is looked for is not one of them but what they compute: a product
of few steps with one Erf or Tanh among them that has GELU's values.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from sesr_ref.exchange.onnx.search import Found, Search
from sesr_ref.exchange.onnx.writer import Graph
from sesr_ref.network import GELU
from sesr_ref.ops.pointwise import gelu

Values = npt.NDArray[np.float64]
ERF = np.vectorize(math.erf, [float])
STEPS: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "Div": np.divide,
    "Erf": ERF,
    "Mul": np.multiply,
    "Pow": np.power,
    "Tanh": np.tanh,
}
"""Operators that GELU is spelt with."""
CURVES = {"Erf": "none", "Tanh": "tanh"}
POINTS: Values = np.linspace(-4, 4, 33).reshape(1, 33, 1, 1)
MAX_STEPS = 24
MAX_TRIALS = 20_000
"""Most spellings that are tried in one graph; where it has more, they are read step by step."""


def write_gelu(graph: Graph, name: str, x: str, approximate: str) -> None:
    """Append the nodes that make `name`: one operator, or what it is made of in older opsets."""
    if graph.opset >= 20:
        graph.node("Gelu", (x,), name, approximate=approximate)
        return

    def times(factor: float, tensor: str, step: str) -> str:
        constant = graph.number(f"{name}.{step}.factor", factor)
        return graph.node("Mul", (tensor, constant), f"{name}.{step}")

    if approximate == "none":
        inner = graph.node("Erf", (times(math.sqrt(0.5), x, "scaled"),), f"{name}.erf")
    else:
        cube = graph.node("Mul", (graph.node("Mul", (x, x), f"{name}.square"), x), f"{name}.cube")
        total = graph.node("Add", (x, times(0.044715, cube, "cubic")), f"{name}.sum")
        scaled = times(math.sqrt(2 / math.pi), total, "scaled")
        inner = graph.node("Tanh", (scaled,), f"{name}.tanh")
    one = graph.number(f"{name}.one", 1.0)
    share = times(0.5, graph.node("Add", (inner, one), f"{name}.above"), "share")
    graph.node("Mul", (x, share), name)


def find_gelu(graph: Any) -> dict[str, Found]:
    """Find the GELUs that are spelt out.

    Parameters
    ----------
    graph : onnx.GraphProto
        Any graph.

    Returns
    -------
    dict of Found
        By the name of the tensor that the last step makes.
    """
    if not any(node.op_type in CURVES for node in graph.node):
        return {}
    search = _Spellings(graph)
    products = [node for node in graph.node if node.op_type == "Mul"]
    return {node.output[0]: found for node in products if (found := search.gelu(node)) is not None}


class _Spellings(Search):
    trials = 0

    def gelu(self, last: Any) -> Found | None:
        steps = self.steps(last.output[0])
        if not any(node.op_type in CURVES for node in steps):
            return None
        for source in dict.fromkeys(name for node in steps for name in node.input):
            self.trials += 1
            if self.trials > MAX_TRIALS:
                return None
            trial = _Trial(self, source)
            if (approximate := trial.approximate(last.output[0])) is not None:
                return Found(source, partial(_layer, approximate=approximate))
        return None

    def steps(self, name: str) -> list[Any]:
        """The nodes behind a tensor, nearest first, as many as a spelling may take."""
        found: dict[str, Any] = {}
        pending = [name]
        while pending and len(found) < MAX_STEPS:
            node = self.makers.get(made := pending.pop(0))
            if made not in found and node is not None and node.op_type in STEPS:
                found[made] = node
                pending += node.input
        return list(found.values())


class _Trial:
    """A tensor computed as a function of another, to compare it with GELU."""

    def __init__(self, search: Search, source: str) -> None:
        self.search = search
        self.values: dict[str, Values | None] = {source: POINTS}
        self.curves: list[str] = []
        self.close = 1e-5

    def approximate(self, name: str) -> str | None:
        """Which GELU of the source the tensor is, None if it is none."""
        with np.errstate(all="ignore"):
            got = self.computed(name, MAX_STEPS)
        if got is None or len(self.curves) != 1:
            return None
        approximate = CURVES[self.curves[0]]
        equal = np.allclose(got, gelu(POINTS, approximate), rtol=0, atol=self.close)
        return approximate if equal else None

    def computed(self, name: str, depth: int) -> Values | None:
        """A tensor's values; None where it depends on something else than the source."""
        if name not in self.values:
            self.values[name] = self.constant(name)
            node = self.search.makers.get(name)
            if self.values[name] is None and node is not None and node.op_type in STEPS and depth:
                inputs = [self.computed(each, depth - 1) for each in node.input]
                if not any(each is None for each in inputs):
                    self.curves += [node.op_type] if node.op_type in CURVES else []
                    self.values[name] = np.asarray(STEPS[node.op_type](*inputs))
        return self.values[name]

    def constant(self, name: str) -> Values | None:
        """One number at every point; half precision makes the comparison coarser."""
        number = self.search.number(name)
        if number is None:
            return None
        array = self.search.array(name)
        if array is not None and array.dtype.itemsize < 4:
            self.close = 8e-3
        return np.full_like(POINTS, number)


def _layer(name: str, inputs: tuple[str, ...], approximate: str) -> GELU:
    return GELU(name, approximate, inputs=inputs)
