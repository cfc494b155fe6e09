"""The kinds of layers, each a frozen specification: what is computed, never how.

Shapes are (height, width, channels); arrays add a leading batch axis (NHWC); convolution weights
are (k, k, in, out) (HWIO).  A new kind is one class here, its name in `PRIMITIVES`, and one rule in
each tool's table, which a test insists on; kinds derived from `Pointwise` have most of theirs from
the row of that base.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TypeVar

from sesr_ref.limits import (
    NetworkError,
    check_finite,
    check_name,
    check_odd,
    check_size,
    is_int,
    require,
)

Shape = tuple[int, int, int]
Rule = TypeVar("Rule")


@dataclass(frozen=True)
class Layer:
    """One step: `name` is also the name of its output.

    Parameters
    ----------
    name : str
        Unique in its network; parameters are called ``name.parameter``.
    inputs : tuple of str
        Names of the tensors it reads; none means the layer before.
    shares : str
        Name of an earlier layer, alike in all else, whose parameters this one uses; "" means its
        own.
    """

    name: str
    inputs: tuple[str, ...] = field(default=(), kw_only=True)
    shares: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        check_name(self.name, "a layer's name")
        require(self, isinstance(self.shares, str), "shares", "a layer's name")
        names = isinstance(self.inputs, tuple) and all(isinstance(i, str) for i in self.inputs)
        require(self, names, "inputs", "a tuple of names")

    def out_shape(self, *inputs: Shape) -> Shape:
        """Shape of the output given those of the inputs; ValueError when they do not fit."""
        (only,) = self._arity(inputs, 1)
        return only

    def param_shapes(self, *in_channels: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the layer's own parameters given the channels of its inputs."""
        return {}

    @classmethod
    def constants(cls) -> tuple[str, ...]:
        """Names of its numbers with a fraction, which an implementation rounds to its format."""
        return tuple(each.name for each in fields(cls) if each.type == "float")

    def _arity(self, inputs: tuple[Shape, ...], count: int) -> tuple[Shape, ...]:
        if len(inputs) != count:
            raise NetworkError(f"{self.name}: reads {count} tensor(s), not {len(inputs)}")
        return inputs


@dataclass(frozen=True)
class Conv(Layer):
    """k x k convolution, stride 1, zero 'same' padding, odd k; `groups` as in PyTorch."""

    features: int
    kernel_size: int
    groups: int = 1
    bias: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size(self, "features", "kernel_size", "groups")
        check_odd(self)
        require(self, isinstance(self.bias, bool), "bias", "true or false")
        require(self, self.features % self.groups == 0, "groups", f"a divisor of {self.features}")

    def out_shape(self, *inputs: Shape) -> Shape:
        ((height, width, channels),) = self._arity(inputs, 1)
        if channels % self.groups:
            raise NetworkError(f"{self.name}: {channels} channels do not divide by {self.groups}")
        return height, width, self.features

    def param_shapes(self, *in_channels: int) -> dict[str, tuple[int, ...]]:
        k = self.kernel_size
        weight = {"weight": (k, k, in_channels[0] // self.groups, self.features)}
        return weight | ({"bias": (self.features,)} if self.bias else {})


@dataclass(frozen=True)
class ConvTranspose(Layer):
    """k x k transposed convolution; the output is exactly `stride` times the input.

    ``y[s*q + a] = sum_i x[i] * weight[s*(q - i) + a + padding]`` along each axis; `padding` None
    stands for ``(k - stride + 1) // 2``, PyTorch's usual one (TensorFlow's SAME is
    ``(k - stride) // 2``; they differ where k - stride is odd).
    """

    features: int
    kernel_size: int
    stride: int
    bias: bool = False
    padding: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size(self, "features", "kernel_size", "stride")
        require(self, isinstance(self.bias, bool), "bias", "true or false")
        require(self, self.kernel_size >= self.stride, "kernel_size", f">= stride {self.stride}")
        valid = self.padding is None or (is_int(self.padding) and 0 <= self.crop < self.kernel_size)
        require(self, valid, "padding", "None or an integer in [0, kernel_size)")

    @property
    def crop(self) -> int:
        """Rows and columns cut from the top and left of the full transposed convolution."""
        half = (self.kernel_size - self.stride + 1) // 2
        return half if self.padding is None else self.padding

    def out_shape(self, *inputs: Shape) -> Shape:
        ((height, width, _),) = self._arity(inputs, 1)
        return height * self.stride, width * self.stride, self.features

    def param_shapes(self, *in_channels: int) -> dict[str, tuple[int, ...]]:
        k = self.kernel_size
        weight = {"weight": (k, k, in_channels[0], self.features)}
        return weight | ({"bias": (self.features,)} if self.bias else {})


class Pointwise(Layer):
    """Base of the kinds that change each value by itself: the output has the input's shape.

    A table without a row for one of them has the row of this base, see `Rules`.
    """


class Rules(dict[type[Layer], Rule]):
    """A tool's rules by kind of layer; a kind without a row has the one of its nearest base."""

    def __missing__(self, kind: type[Layer]) -> Rule:
        for base in kind.__mro__[1:]:
            if base in self:
                return self[base]
        raise KeyError(kind)


@dataclass(frozen=True)
class PReLU(Pointwise):
    """``x if x > 0 else slope * x``, one learnt slope per channel."""

    def param_shapes(self, *in_channels: int) -> dict[str, tuple[int, ...]]:
        return {"slope": (in_channels[0],)}


@dataclass(frozen=True)
class ReLU(Pointwise):
    """``max(x, 0)``."""


@dataclass(frozen=True)
class LeakyReLU(Pointwise):
    """``x if x > 0 else slope * x`` with one fixed slope."""

    slope: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_finite(self, "slope")


@dataclass(frozen=True)
class Sigmoid(Pointwise):
    """``1 / (1 + exp(-x))``."""


@dataclass(frozen=True)
class Add(Layer):
    """Sum of the inputs; a one-channel input is repeated over the channels of the first."""

    def out_shape(self, *inputs: Shape) -> Shape:
        first = inputs[0]
        for other in inputs[1:]:
            if other not in (first, (*first[:2], 1)):
                raise NetworkError(f"{self.name}: cannot add {other} to {first}")
        return first


@dataclass(frozen=True)
class Concat(Layer):
    """The inputs' channels one after the other."""

    def out_shape(self, *inputs: Shape) -> Shape:
        if len({shape[:2] for shape in inputs}) != 1:
            raise NetworkError(f"{self.name}: cannot concatenate {inputs}")
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
        if channels % self.block**2:
            raise NetworkError(f"{self.name}: {channels} channels do not divide by {self.block}**2")
        return height * self.block, width * self.block, channels // self.block**2


@dataclass(frozen=True)
class Shift(Pointwise):
    """``x + offset``."""

    offset: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_finite(self, "offset")


@dataclass(frozen=True)
class Scale(Pointwise):
    """``x * factor``."""

    factor: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_finite(self, "factor")


@dataclass(frozen=True)
class Clip(Pointwise):
    """``min(max(x, low), high)``; the gradient is 0 outside [low, high]."""

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_finite(self, "low", "high")
        require(self, self.low < self.high, "high", f"above low {self.low}")


@dataclass(frozen=True)
class Resize(Layer):
    """Enlarge by an integer factor; pixel centres at half integers.

    Modes: "nearest", "bilinear" (both as PyTorch's and ONNX's half-pixel ones), "bicubic"
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


@dataclass(frozen=True)
class LinearBlock(Layer):
    """SESR's collapsible block: k x k to `expand` channels, 1 x 1 back, optional short residual.

    Not a primitive: `sesr_ref.collapse` rewrites it to what it stands for (``expanded``) or to one
    convolution (``collapsed``).  `bias` "none" is the paper's; "true" has biases after both
    convolutions; "leaky" is the official code's collapsed mode, whose biases end up in every tap
    of the weight (and which has no expanded form).

    Bhardwaj et al. (MLSys 2022), section 3.1; figure 2.
    """

    features: int
    kernel_size: int
    expand: int
    residual: bool = False
    bias: str = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size(self, "features", "kernel_size", "expand")
        check_odd(self)
        require(self, isinstance(self.residual, bool), "residual", "true or false")
        known = ("none", "true", "leaky")
        require(self, self.bias in known, "bias", f"one of {known}")

    def out_shape(self, *inputs: Shape) -> Shape:
        ((height, width, channels),) = self._arity(inputs, 1)
        if self.residual and channels != self.features:
            raise NetworkError(
                f"{self.name}: a residual needs as many channels in as out, "
                f"not {channels} and {self.features}"
            )
        return height, width, self.features

    def param_shapes(self, *in_channels: int) -> dict[str, tuple[int, ...]]:
        k = self.kernel_size
        shapes: dict[str, tuple[int, ...]] = {
            "expand": (k, k, in_channels[0], self.expand),
            "project": (1, 1, self.expand, self.features),
        }
        if self.bias != "none":
            shapes |= {"expand_bias": (self.expand,), "project_bias": (self.features,)}
        return shapes


PRIMITIVES: tuple[type[Layer], ...] = (
    Conv,
    ConvTranspose,
    PReLU,
    ReLU,
    LeakyReLU,
    Sigmoid,
    Add,
    Concat,
    DepthToSpace,
    Shift,
    Scale,
    Clip,
    Resize,
)
"""Every kind that tools must have a rule for."""
KINDS: dict[str, type[Layer]] = {kind.__name__: kind for kind in (*PRIMITIVES, LinearBlock)}
