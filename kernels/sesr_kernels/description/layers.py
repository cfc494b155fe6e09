"""What the kernels read of a network and of each kind of layer.

The kernels import no network of anybody's: a class of layers is known by its name, and what is read
of it stands here as a Protocol of that name.  `sesr_ref.layers` fits, and mypy checks that it does.
A layer that states more than its Protocol has is not theirs to run (`kind_of`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, Protocol, TypeGuard, cast

Shape = tuple[int, int, int]
"""Height, width, channels."""


class Layer(Protocol):
    """What every layer has; its name is its output's, `shares` whose parameters it uses."""

    @property
    def name(self) -> str: ...
    @property
    def shares(self) -> str: ...


class Conv(Layer, Protocol):
    """A convolution, zero 'same' padding, odd `kernel_size`."""

    @property
    def features(self) -> int: ...
    @property
    def kernel_size(self) -> int | tuple[int, int]: ...
    @property
    def groups(self) -> int: ...
    @property
    def bias(self) -> bool: ...


class ConvTranspose(Layer, Protocol):
    """A transposed convolution; `crop` rows and columns are cut from its top and left."""

    @property
    def features(self) -> int: ...
    @property
    def kernel_size(self) -> int: ...
    @property
    def stride(self) -> int: ...
    @property
    def crop(self) -> int: ...
    @property
    def bias(self) -> bool: ...


class PReLU(Layer, Protocol):
    """``x if x > 0 else slope * x``, a learnt slope per channel."""


class ReLU(Layer, Protocol):
    """``max(x, 0)``."""


class LeakyReLU(Layer, Protocol):
    """As PReLU with one fixed slope."""

    @property
    def slope(self) -> float: ...


class Shift(Layer, Protocol):
    """``x + offset``."""

    @property
    def offset(self) -> float: ...


class Scale(Layer, Protocol):
    """``x * factor``."""

    @property
    def factor(self) -> float: ...


class Clip(Layer, Protocol):
    """``min(max(x, low), high)``."""

    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


class FakeQuantize(Layer, Protocol):
    """``(clip(round(x / s) + zero_point) - zero_point) * s``, s = exp(log_scale), `bits` wide."""

    @property
    def zero_point(self) -> int: ...
    @property
    def bits(self) -> int: ...


class Add(Layer, Protocol):
    """Sum of tensors; one channel is repeated over those of the first."""


class Concat(Layer, Protocol):
    """The inputs' channels one after the other."""


class DepthToSpace(Layer, Protocol):
    """Channels to the pixels of a block, `mode` "DCR" or "CRD"."""

    @property
    def block(self) -> int: ...
    @property
    def mode(self) -> str: ...


class Resize(Layer, Protocol):
    """Enlargement by interpolation."""

    @property
    def upscale(self) -> int: ...
    @property
    def mode(self) -> str: ...


Convolution = Conv | ConvTranspose


class Network(Protocol):
    """What is read of a network: layers without linear blocks, in order, and its tensors."""

    @property
    def upscale(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def layers(self) -> Sequence[Layer]: ...
    @property
    def output(self) -> str: ...
    def __hash__(self) -> int: ...  # plans are kept by network
    def steps(self) -> Iterable[tuple[Layer, tuple[str, ...]]]:
        """Each layer and the names of the tensors it reads."""
        ...

    def shapes(self, height: int, width: int) -> Mapping[str, Shape]:
        """Shape of every tensor for an input of this size."""
        ...


class Unsupported(Exception):
    """Raised for a network that is not for these kernels."""


KINDS: tuple[type[Any], ...] = (
    Conv,
    ConvTranspose,
    PReLU,
    ReLU,
    LeakyReLU,
    Shift,
    Scale,
    Clip,
    FakeQuantize,
    Add,
    Concat,
    DepthToSpace,
    Resize,
)
IMPLIED = {"inputs", "padding"}
"""Fields that the kernels see through others: `Network.steps`, `ConvTranspose.crop`."""


def read_of(kind: type[Any]) -> set[str]:
    """Names of the properties that a Protocol states."""
    return {name for name in dir(kind) if isinstance(getattr(kind, name), property)}


FIELDS = {kind.__name__: read_of(kind) | IMPLIED for kind in KINDS}
"""Kind: the fields of its description that the kernels take into account."""


def kind_of(layer: Layer) -> str:
    """Name of a layer's kind.

    Returns
    -------
    str

    Raises
    ------
    Unsupported
        For a kind, or a field that is not at its default, that no kernel knows: leaving it out
        would compute something else.
    """
    kind = type(layer).__name__
    if kind not in FIELDS:
        raise Unsupported(kind)
    for field in fields(cast(Any, layer)):
        if field.name not in FIELDS[kind]:
            value = getattr(layer, field.name)
            if field.default is MISSING or value != field.default:
                raise Unsupported(f"{kind} with {field.name} = {value!r:.40}")
    if is_conv(layer) and not isinstance(layer.kernel_size, int):
        raise Unsupported("Conv whose kernel is not square")
    return kind


def side_of(layer: Conv) -> int:
    """Rows and columns of a convolution's kernel, which `kind_of` knows to be square."""
    return cast(int, layer.kernel_size)


def is_conv(layer: Layer) -> TypeGuard[Conv]:
    """Whether it is a plain convolution."""
    return type(layer).__name__ == "Conv"


def is_conv_transpose(layer: Layer) -> TypeGuard[ConvTranspose]:
    """Whether it is a transposed convolution."""
    return type(layer).__name__ == "ConvTranspose"


def is_shuffle(layer: Layer) -> TypeGuard[DepthToSpace]:
    """Whether it moves channels to pixels."""
    return type(layer).__name__ == "DepthToSpace"


def parameter(layer: Layer, name: str) -> str:
    """Key of a layer's parameter, or of the one that it shares."""
    return f"{layer.shares or layer.name}.{name}"
