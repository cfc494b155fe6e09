"""Layers that join tensors, or move values and enlarge."""

from __future__ import annotations

from dataclasses import dataclass

from sesr_ref.layers.base import Layer, Shape
from sesr_ref.limits import MAX_SIZE, NetworkError, check_size, is_int, require


@dataclass(frozen=True)
class Add(Layer):
    """Sum of the inputs; a one-channel input is repeated over the channels of the first."""

    def out_shape(self, *inputs: Shape) -> Shape:
        return self._check_one_shape("add", *inputs)


@dataclass(frozen=True)
class Multiply(Layer):
    """Product of two tensors; a one-channel input is repeated over the channels of the first."""

    def out_shape(self, *inputs: Shape) -> Shape:
        return self._check_one_shape("multiply", *self._arity(inputs, 2))


@dataclass(frozen=True)
class Concat(Layer):
    """Concatenation of the inputs' channels."""

    def out_shape(self, *inputs: Shape) -> Shape:
        if len({shape[:2] for shape in inputs}) != 1:
            raise NetworkError(f"{self.name}: cannot concatenate shapes {inputs}")
        return *inputs[0][:2], sum(shape[2] for shape in inputs)


@dataclass(frozen=True)
class DepthToSpace(Layer):
    """Channels to pixels: (h, w, b*b*c) -> (b*h, b*w, c).

    Mode "DCR" is TensorFlow's order, channel ``(row*b + column)*c + channel``; "CRD" is
    PyTorch's, channel ``(channel*b + row)*b + column``.
    """

    block: int
    mode: str = "DCR"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size(self, "block")
        require(self, self.mode in ("DCR", "CRD"), "mode", "'DCR' or 'CRD'")

    def out_shape(self, *inputs: Shape) -> Shape:
        ((height, width, channels),) = self._arity(inputs, 1)
        self._check_divides(channels, self.block**2, f"{self.block}**2")
        return height * self.block, width * self.block, channels // self.block**2


@dataclass(frozen=True)
class Slice(Layer):
    """Channels `start` up to `stop`."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, low in (("start", 0), ("stop", 1)):
            value = getattr(self, key)
            require(self, is_int(value) and low <= value <= MAX_SIZE, key, f"{low} to {MAX_SIZE}")
        require(self, self.start < self.stop, "stop", f"above start {self.start}")

    def out_shape(self, *inputs: Shape) -> Shape:
        ((height, width, channels),) = self._arity(inputs, 1)
        if self.stop > channels:
            raise NetworkError(
                f"{self.name}: stop is {self.stop}, but there are {channels} channels"
            )
        return height, width, self.stop - self.start


@dataclass(frozen=True)
class Pad(Layer):
    """Zeros added on every side; a negative `size` cuts pixels off instead."""

    size: int

    def __post_init__(self) -> None:
        super().__post_init__()
        valid = is_int(self.size) and abs(self.size) <= MAX_SIZE
        require(self, valid, "size", f"-{MAX_SIZE} to {MAX_SIZE}")

    def out_shape(self, *inputs: Shape) -> Shape:
        ((height, width, channels),) = self._arity(inputs, 1)
        if min(height, width) + 2 * self.size < 1:
            raise NetworkError(
                f"{self.name}: cutting {-self.size} pixels on every side leaves nothing of "
                f"{height} x {width} pixels"
            )
        return height + 2 * self.size, width + 2 * self.size, channels


@dataclass(frozen=True)
class Resize(Layer):
    """Enlargement by an integer factor; pixel centres lie at half integers.

    Modes: "nearest", "bilinear" (both as PyTorch's and ONNX's half-pixel modes), "bicubic"
    (a = -0.5, mirrored edges: MATLAB's imresize) and "bicubic75" (a = -0.75, clamped edges:
    PyTorch's and ONNX's default).
    """

    upscale: int
    mode: str = "bicubic"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size(self, "upscale")
        known = ("nearest", "bilinear", "bicubic", "bicubic75")
        require(self, self.mode in known, "mode", f"one of {known}")

    def out_shape(self, *inputs: Shape) -> Shape:
        ((height, width, channels),) = self._arity(inputs, 1)
        return height * self.upscale, width * self.upscale, channels
