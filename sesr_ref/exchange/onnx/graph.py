"""What a name in an ONNX graph stands for, and the node that reads it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sesr_ref.exchange.onnx import axes as ax
from sesr_ref.exchange.onnx.file import require_onnx
from sesr_ref.exchange.onnx.words import place_of
from sesr_ref.network import MAX_NAME

Constant = np.ndarray[Any, np.dtype[Any]]
Margins = tuple[int, int, int, int]
"""Rows and columns cut off above, left, below and right; negative where zeros are added."""
NO_MARGINS: Margins = (0, 0, 0, 0)
NCHW, NHWC = (0, 1, 2, 3), (0, 2, 3, 1)
PROBE = (46, 74)
"""Height and width that stand in for dynamic ones while shapes are computed."""


@dataclass(frozen=True)
class View:
    """A tensor as a node sees it: that of a layer, cut or padded, its axes in another order.

    `shape` is that of the tensor as it is cut; `label` names the layer that cutting will take.
    """

    source: str
    shape: ax.Shape4
    axes: ax.Axes
    margins: Margins = NO_MARGINS
    label: str = ""

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
    margins: Margins = NO_MARGINS
    label: str = ""

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.shape[1]

    @property
    def view(self) -> View:
        """The same for a node that may change axes."""
        axes = ax.transposed(ax.image_axes(self.shape), self.order)
        return View(self.source, self.shape, axes, self.margins, self.label)

    @property
    def whole(self) -> Image:
        """The same with nothing cut off or added."""
        top, left, bottom, right = self.margins
        return self.cut((-top, -left, -bottom, -right))

    def cut(self, more: Margins, label: str = "") -> Image:
        """Cut so much more off its sides (or pad with so many zeros)."""
        n, channels, height, width = self.shape
        top, left, bottom, right = more
        shape = (n, channels, height - top - bottom, width - left - right)
        above, before, below, after = (a + b for a, b in zip(self.margins, more, strict=True))
        margins = (above, before, below, after)
        return replace(self, shape=shape, margins=margins, label=label if any(more) else self.label)


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

    def number(self, name: str, default: float) -> float:
        """A float attribute as the shortest decimal that single precision rounds to it."""
        return float(str(np.float32(self.attribute(name, default))))

    def require(self, condition: bool, message: str) -> None:
        """Raise ValueError with the node's place unless the condition holds."""
        if not condition:
            raise self.error(message)

    def error(self, message: str) -> ValueError:
        """Make an error that names the node."""
        return ValueError(f"{self.place}: {message}")


def clean_name(name: str) -> str:
    """Put dots for slashes, spaces and whatever else a file's name had better not hold."""
    return re.sub(r"[^\w.-]+", ".", name, flags=re.ASCII).strip(".")[-MAX_NAME // 2 :]
