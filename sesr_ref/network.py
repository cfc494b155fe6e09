"""Networks as data: an immutable tuple of layer specifications that every tool reads.

A `Network` says *what* is computed, never how.  Running, training, collapsing, counting, the
NPU model and the exports each walk `Network.steps` with their own rule for each kind of layer,
so an architecture is written once (see `sesr_ref.architectures`).

Shapes are (height, width, channels); arrays add a leading batch axis (NHWC); convolution weights
are (k, k, in, out) (HWIO).  Every tensor is named after the layer that makes it; the image is
"input".  A layer without `inputs` reads the layer before it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Shape = tuple[int, int, int]

MAX_SIZE = 1 << 16
"""Largest number of channels, kernel size or enlargement that a description may state."""
MAX_LAYERS = 10_000
"""Largest number of layers in one network."""
MAX_NAME = 200
"""Longest name of a layer or network, in characters."""
MAX_NUMBER = 1e30
"""Largest magnitude of an offset, factor, slope or limit: float32 still holds it."""


class NetworkError(ValueError):
    """A description that states no valid network; the message names the layer."""


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
        _check_name(self.name, "a layer's name")
        _require(self, isinstance(self.shares, str), "shares", "a layer's name")
        names = isinstance(self.inputs, tuple) and all(isinstance(i, str) for i in self.inputs)
        _require(self, names, "inputs", "a tuple of names")

    def out_shape(self, *inputs: Shape) -> Shape:
        """Shape of the output given those of the inputs; ValueError when they do not fit."""
        (only,) = self._arity(inputs, 1)
        return only

    def param_shapes(self, *in_channels: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the layer's own parameters given the channels of its inputs."""
        return {}

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
        _check_size(self, "features", "kernel_size", "groups")
        _check_odd(self)
        _require(self, isinstance(self.bias, bool), "bias", "true or false")
        _require(self, self.features % self.groups == 0, "groups", f"a divisor of {self.features}")

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
        _check_size(self, "features", "kernel_size", "stride")
        _require(self, isinstance(self.bias, bool), "bias", "true or false")
        _require(self, self.kernel_size >= self.stride, "kernel_size", f">= stride {self.stride}")
        valid = self.padding is None or (
            _is_int(self.padding) and 0 <= self.crop < self.kernel_size
        )
        _require(self, valid, "padding", "None or an integer in [0, kernel_size)")

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


@dataclass(frozen=True)
class PReLU(Layer):
    """``x if x > 0 else slope * x``, one learnt slope per channel."""

    def param_shapes(self, *in_channels: int) -> dict[str, tuple[int, ...]]:
        return {"slope": (in_channels[0],)}


@dataclass(frozen=True)
class ReLU(Layer):
    """``max(x, 0)``."""


@dataclass(frozen=True)
class LeakyReLU(Layer):
    """``x if x > 0 else slope * x`` with one fixed slope."""

    slope: float

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_finite(self, "slope")


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
        _check_size(self, "block")
        _require(self, self.mode in ("DCR", "CRD"), "mode", "'DCR' or 'CRD'")

    def out_shape(self, *inputs: Shape) -> Shape:
        ((height, width, channels),) = self._arity(inputs, 1)
        if channels % self.block**2:
            raise NetworkError(f"{self.name}: {channels} channels do not divide by {self.block}**2")
        return height * self.block, width * self.block, channels // self.block**2


@dataclass(frozen=True)
class Shift(Layer):
    """``x + offset``."""

    offset: float

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_finite(self, "offset")


@dataclass(frozen=True)
class Scale(Layer):
    """``x * factor``."""

    factor: float

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_finite(self, "factor")


@dataclass(frozen=True)
class Clip(Layer):
    """``min(max(x, low), high)``; the gradient is 0 outside [low, high]."""

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_finite(self, "low", "high")
        _require(self, self.low < self.high, "high", f"above low {self.low}")


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
        _check_size(self, "upscale")
        known = ("nearest", "bilinear", "bicubic", "bicubic75")
        _require(self, self.mode in known, "mode", f"one of {known}")

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
        _check_size(self, "features", "kernel_size", "expand")
        _check_odd(self)
        _require(self, isinstance(self.residual, bool), "residual", "true or false")
        known = ("none", "true", "leaky")
        _require(self, self.bias in known, "bias", f"one of {known}")

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
    Conv, ConvTranspose, PReLU, ReLU, LeakyReLU, Add, Concat, DepthToSpace, Shift, Scale, Clip,
    Resize,
)  # fmt: skip
"""Every kind that tools must have a rule for."""
KINDS: dict[str, type[Layer]] = {kind.__name__: kind for kind in (*PRIMITIVES, LinearBlock)}


@dataclass(frozen=True)
class Network:
    """A named, validated sequence of layers from an image to its enlargement.

    Parameters
    ----------
    name : str
        For people and files.
    upscale : int
        The output is this many times as high and wide as the input.
    channels : int
        Channels of the input and of the output; 1 for networks on Y.
    layers : tuple of Layer
        In order of execution; the last one makes the output.

    Raises
    ------
    NetworkError
        (a ValueError) naming the layer, when a tensor is read before it exists, a name is used
        twice, shapes do not fit, or the output is not the input enlarged.
    """

    name: str
    upscale: int
    channels: int
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        _check_name(self.name, "a network's name")
        for key in ("upscale", "channels"):
            _check_size(self, key)
        if not isinstance(self.layers, tuple) or not 1 <= len(self.layers) <= MAX_LAYERS:
            raise NetworkError(f"{self.name}: needs a tuple of 1 to {MAX_LAYERS} layers")
        known: dict[str, Layer | None] = {"input": None}
        for layer in self.layers:
            if type(layer) not in KINDS.values():
                raise NetworkError(f"{self.name}: {layer!r:.200} is no layer")
        for layer, inputs in self.steps():
            self._check_names(layer, inputs, known)
            known[layer.name] = layer
        self._check_shapes()

    def _check_names(
        self, layer: Layer, inputs: tuple[str, ...], known: dict[str, Layer | None]
    ) -> None:
        if layer.name in known:
            raise NetworkError(f"{self.name}: two layers are called {layer.name!r}")
        if missing := [name for name in inputs if name not in known]:
            raise NetworkError(f"{self.name}: {layer.name!r} reads {missing[0]!r} before it exists")
        if layer.shares and not _alike(layer, known.get(layer.shares)):
            raise NetworkError(
                f"{self.name}: {layer.name!r} shares the parameters of {layer.shares!r}, which is "
                f"no earlier {type(layer).__name__} that is alike and has its own"
            )

    def _check_shapes(self) -> None:
        height, width = 16, 24
        shapes = self.shapes(height, width)
        expected = (height * self.upscale, width * self.upscale, self.channels)
        if (got := shapes[self.output]) != expected:
            raise NetworkError(
                f"{self.name}: layer {self.output!r} makes {got} of {shapes['input']}, "
                f"not {expected} as an enlargement by {self.upscale} needs"
            )
        owners: dict[str, Any] = {}
        for layer, inputs in self.steps():
            owners[layer.name] = layer.param_shapes(*(shapes[i][2] for i in inputs))
            if layer.shares and owners[layer.shares] != owners[layer.name]:
                raise NetworkError(
                    f"{self.name}: {layer.name!r} needs parameters {owners[layer.name]}, "
                    f"{layer.shares!r} has {owners[layer.shares]}"
                )

    @property
    def output(self) -> str:
        """Name of the last layer and of the tensor it makes."""
        return self.layers[-1].name

    def steps(self) -> Iterator[tuple[Layer, tuple[str, ...]]]:
        """Each layer with the names of the tensors it reads, in order of execution."""
        previous = "input"
        for layer in self.layers:
            yield layer, layer.inputs or (previous,)
            previous = layer.name

    def shapes(self, height: int, width: int) -> dict[str, Shape]:
        """(height, width, channels) of every tensor for an input of height x width pixels."""
        shapes = {"input": (height, width, self.channels)}
        for layer, inputs in self.steps():
            shapes[layer.name] = shape = layer.out_shape(*(shapes[name] for name in inputs))
            if shape[2] > MAX_SIZE or shape[0] > height * MAX_SIZE:
                raise NetworkError(f"{layer.name}: enlarges or has channels beyond {MAX_SIZE}")
        return shapes

    def param_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter, keyed ``layer.parameter``; shared ones appear once."""
        shapes = self.shapes(16, 24)
        return {
            f"{layer.name}.{param}": shape
            for layer, inputs in self.steps()
            if not layer.shares
            for param, shape in layer.param_shapes(*(shapes[i][2] for i in inputs)).items()
        }

    def to_json(self, indent: int | None = None) -> str:
        """Write the description as JSON; `from_json` reads it back."""
        layers = [{"kind": type(layer).__name__, **_stated(layer)} for layer in self.layers]
        head = {"name": self.name, "upscale": self.upscale, "channels": self.channels}
        return json.dumps({**head, "layers": layers}, indent=indent)

    @classmethod
    def from_json(cls, text: str) -> Network:
        """Read a description written by `to_json` or by hand.

        Returns
        -------
        Network

        Raises
        ------
        NetworkError
            Naming the layer and what is wrong with it.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:  # no JSON, too long a number, too deep
            raise NetworkError(f"not a network description: {error}") from None
        keys = {"name", "upscale", "channels", "layers"}
        if not isinstance(data, dict) or set(data) != keys or not isinstance(data["layers"], list):
            raise NetworkError(f"a network description is an object with the keys {sorted(keys)}")
        layers = tuple(_layer_from(entry) for entry in data.pop("layers"))
        return cls(**data, layers=layers)


def _stated(layer: Layer) -> dict[str, Any]:
    """Fields of a layer that differ from their defaults."""
    return {
        f.name: getattr(layer, f.name)
        for f in dataclasses.fields(layer)
        if getattr(layer, f.name) != f.default
    }


def _layer_from(entry: object) -> Layer:
    fields = dict(entry) if isinstance(entry, dict) else {}
    name = fields.pop("kind", None)
    if not isinstance(name, str) or name not in KINDS:
        raise NetworkError(f"a layer needs a kind out of {sorted(KINDS)}, got {entry!r:.200}")
    if isinstance(fields.get("inputs"), list):
        fields["inputs"] = tuple(fields["inputs"])
    kind: Callable[..., Layer] = KINDS[name]
    _check_fields(KINDS[name], fields)
    return kind(**fields)


def _check_fields(kind: type[Layer], fields: dict[str, Any]) -> None:
    known = {f.name: f.default is dataclasses.MISSING for f in dataclasses.fields(kind)}
    who = f"{fields.get('name', 'a layer without a name')!r:.200}"
    if unknown := sorted(set(fields) - set(known)):
        raise NetworkError(f"{who}: {kind.__name__} has no field {unknown[0]!r:.200}")
    if missing := [key for key, required in known.items() if required and key not in fields]:
        raise NetworkError(f"{who}: {kind.__name__} needs the field {missing[0]!r}")


def _alike(layer: Layer, owner: Layer | None) -> bool:
    """Whether `owner` has parameters of its own and differs from `layer` in names alone."""
    mine = dataclasses.replace(layer, name="same", inputs=(), shares="")
    return owner is not None and mine == dataclasses.replace(owner, name="same", inputs=())


def _check_name(name: object, what: str) -> None:
    if not isinstance(name, str) or not name.isprintable() or not 1 <= len(name) <= MAX_NAME:
        raise NetworkError(
            f"{what} must be 1 to {MAX_NAME} printable characters, got {name!r:.200}"
        )


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _require(owner: Any, condition: bool, key: str, needed: str) -> None:
    if not condition:
        raise NetworkError(
            f"{owner.name}: {key} must be {needed}, got {getattr(owner, key)!r:.200}"
        )


def _check_size(owner: Any, *keys: str) -> None:
    for key in keys:
        value = getattr(owner, key)
        _require(owner, _is_int(value) and 1 <= value <= MAX_SIZE, key, f"1 to {MAX_SIZE}")


def _check_odd(owner: Any) -> None:
    _require(owner, owner.kernel_size % 2 == 1, "kernel_size", "odd")


def _check_finite(owner: Any, *keys: str) -> None:
    for key in keys:
        value = getattr(owner, key)
        number = isinstance(value, float) or _is_int(value)
        _require(owner, number and abs(value) <= MAX_NUMBER, key, f"within +-{MAX_NUMBER:g}")
