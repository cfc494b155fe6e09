"""Composites: bodies of linear layers that are equal to one convolution, such as SESR's block.

A body reads the block's input, extended by zeros beyond the image.  On that infinite plane every
linear layer is shift-invariant, so the body equals one kernel and one bias.  Inside the image its
result is the zero-padded convolution with them, at the border too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from sesr_ref.layers.base import Layer, Rules, Shape, check_order
from sesr_ref.layers.convolution import Conv, Stencil
from sesr_ref.layers.pointwise import BatchNorm, Gain, Scale
from sesr_ref.layers.tensors import Add, Concat, Slice
from sesr_ref.limits import (
    MAX_LAYERS,
    NetworkError,
    check_bools,
    check_odd,
    check_size,
    naming,
    require,
    shown,
)

BORDERS = ("plane", "zero", "bias")
INPUT = "input"


class Linear(Layer):
    """Base of the composites; `sesr_ref.collapse` rewrites them, so that no tool sees one."""

    border: str = "plane"

    @property
    def body(self) -> tuple[Layer, ...]:
        """Its linear layers; the last one computes its output."""
        raise NotImplementedError

    @property
    def keys(self) -> dict[str, str]:
        """Short names of its parameters, where they differ from the body's ``layer.key``."""
        return {}

    def out_shape(self, *inputs: Shape) -> Shape:
        ((height, width, channels),) = self._arity(inputs, 1)
        return height, width, self.facts(channels).channels

    def facts(self, channels: int) -> Facts:
        """Facts about the convolution that it equals, for an input with so many channels."""
        return self.tensors(channels)[self.body[-1].name]

    def tensors(self, channels: int) -> dict[str, Facts]:
        """Facts about "input" and every tensor of its body; computed once."""
        known: dict[int, dict[str, Facts]] = self.__dict__.setdefault("_tensors", {})
        if channels not in known:
            with naming(self.name):
                known[channels] = facts(self.body, channels, self.border)
        return known[channels]

    def param_shapes(self, *in_channels: int) -> dict[str, tuple[int, ...]]:
        own = {theirs: key for key, theirs in self.keys.items()}
        known = self.tensors(in_channels[0])
        return {
            own.get(full := f"{layer.name}.{key}", full): shape
            for layer, inputs in steps(self.body)
            for key, shape in layer.param_shapes(*(known[name].channels for name in inputs)).items()
        }


@dataclass(frozen=True)
class LinearBlock(Linear):
    """SESR's collapsible block: k x k to `expand` channels, 1 x 1 back, optional short residual.

    It is not a primitive: `sesr_ref.collapse` rewrites it to its layers (``expanded``) or to one
    convolution (``collapsed``).  `bias` "none" is the paper's; "true" adds biases after both
    convolutions; "leaky" is the official code's collapsed mode, which adds its biases to every tap
    of the weight and has no expanded form.

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
        check_bools(self, "residual")
        known = ("none", "true", "leaky")
        require(self, self.bias in known, "bias", f"one of {known}")

    @cached_property
    def body(self) -> tuple[Layer, ...]:
        """The convolution that expands, the one that projects, and the short residual."""
        biased = self.bias != "none"
        return (
            Conv("expand", self.expand, self.kernel_size, bias=biased),
            Conv("project", self.features, 1, bias=biased),
            Add("output", inputs=("project", *((INPUT,) if self.residual else ()))),
        )

    @cached_property
    def keys(self) -> dict[str, str]:
        """The names that the paper's algorithms use."""
        stages = ("expand", "project")
        biases = {f"{stage}_bias": f"{stage}.bias" for stage in stages if self.bias != "none"}
        return {stage: f"{stage}.weight" for stage in stages} | biases

    def out_shape(self, *inputs: Shape) -> Shape:
        ((height, width, channels),) = self._arity(inputs, 1)
        needed = f"{channels}, the channels of its input, as it has a residual"
        require(self, not self.residual or channels == self.features, "features", needed)
        return height, width, self.features

    def param_shapes(self, *in_channels: int) -> dict[str, tuple[int, ...]]:
        k = self.kernel_size
        shapes: dict[str, tuple[int, ...]] = {
            "expand": (k, k, in_channels[0], self.expand),
            "project": (1, 1, self.expand, self.features),
        }
        if self.bias != "none":  # after the weights, as in existing files
            shapes |= {"expand_bias": (self.expand,), "project_bias": (self.features,)}
        return shapes


@dataclass(frozen=True)
class Composite(Linear):
    """Any body of linear layers, trained layer by layer and run as the convolution that it equals.

    Parameters
    ----------
    layers : tuple of Layer
        `Conv`, `Stencil`, `BatchNorm`, `Gain`, `Scale`, `Slice`, `Add` and `Concat`; "input" is
        the block's input; the last layer computes its output.  Their parameters are the block's,
        ``layer.parameter``.
    border : {"plane", "zero", "bias"}
        How the body is computed layer by layer: "plane" pads the block's input once, by as many
        zeros as the whole body reaches; "zero" pads each convolution's own input with zeros,
        "bias" with the value that this tensor has where its input is zero.  The last two are
        rejected if they do not give a convolution of the block's input.
    """

    layers: tuple[Layer, ...]
    border: str = "plane"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, self.border in BORDERS, "border", f"one of {BORDERS}")
        valid = isinstance(self.layers, tuple) and 1 <= len(self.layers) <= MAX_LAYERS
        require(self, valid, "layers", f"a tuple of 1 to {MAX_LAYERS} layers")
        known = {INPUT}
        for layer in self.layers:
            _check_member(self.name, layer, known)
            known.add(layer.name)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        """Computed once: every training step needs it."""
        return hash((self.name, self.inputs, self.shares, self.layers, self.border))

    @property
    def body(self) -> tuple[Layer, ...]:
        """Its layers."""
        return self.layers


def _check_member(block: str, layer: object, known: set[str]) -> None:
    if not isinstance(layer, Layer):
        raise NetworkError(f"{block}: {shown(layer)} is not a layer")
    if type(layer) not in FACTS:
        raise NetworkError(f"{block}: {layer.name!r} is a {type(layer).__name__}, not linear")
    check_order(block, layer, layer.inputs, known)
    with naming(block):
        require(layer, "." not in layer.name, "name", "without '.' in a body")
        require(layer, not layer.shares, "shares", "empty in a body")


def steps(body: Sequence[Layer]) -> Iterator[tuple[Layer, tuple[str, ...]]]:
    """Each layer of a body with the names of the tensors that it reads."""
    previous = INPUT
    for layer in body:
        yield layer, layer.inputs or (previous,)
        previous = layer.name


class Facts(NamedTuple):
    """One tensor of a body as a function of the block's input.

    `radius` is how many rows and columns it depends on to each side, `constant` whether it has a
    bias, `groups` into how many groups of channels that do not mix it splits.
    """

    channels: int
    radius: tuple[int, int]
    constant: bool
    groups: int

    @property
    def sides(self) -> tuple[int, int]:
        """Rows and columns of its kernel."""
        rows, columns = (2 * radius + 1 for radius in self.radius)
        return rows, columns


def facts(body: tuple[Layer, ...], channels: int, border: str) -> dict[str, Facts]:
    """Derive the facts about every tensor of a body.

    Parameters
    ----------
    body : tuple of Layer
        Layers of a composite.
    channels : int
        Channels of its input.
    border : {"plane", "zero", "bias"}
        As in `Composite`.

    Returns
    -------
    dict of Facts
        "input" and every layer's name.

    Raises
    ------
    NetworkError
        If shapes do not fit, or a layer pads a tensor with other values than that tensor has
        beyond the image: then the body is not a convolution.
    """
    known = {INPUT: Facts(channels, (0, 0), constant=False, groups=channels)}
    for layer, inputs in steps(body):
        sources = [known[name] for name in inputs]
        shape = layer.out_shape(*((16, 24, source.channels) for source in sources))
        if isinstance(layer, (Conv, Stencil)):
            _check_border(layer, inputs[0], sources[0], border)
        known[layer.name] = FACTS[type(layer)](layer, sources)._replace(channels=shape[2])
    return known


def pads_itself(body: tuple[Layer, ...], channels: int) -> bool:
    """Whether every layer of a body may pad its own input with zeros."""
    try:
        facts(body, channels, "zero")
    except NetworkError:
        return False
    return True


def _check_border(layer: Conv | Stencil, name: str, source: Facts, border: str) -> None:
    """Reject padding that differs from what the tensor is beyond the image."""
    if layer.side == 1 or border == "plane":
        return
    reasons = {
        "it depends on pixels of the image there": source.radius != (0, 0),
        "it has a bias there": source.constant and border == "zero",
    }
    for reason, applies in reasons.items():
        if applies:
            padding = "zeros" if border == "zero" else "its bias"
            raise NetworkError(
                f"{layer.name!r} pads {name!r} with {padding}, but beyond the image that tensor "
                f"differs ({reason}), so the body is not a convolution; use border='plane'"
            )


def _grown(layer: Conv | Stencil, source: Facts) -> Facts:
    rows, columns = (r + side // 2 for r, side in zip(source.radius, layer.sides, strict=True))
    constant = source.constant or layer.bias
    return source._replace(radius=(rows, columns), constant=constant)


def _conv(layer: Conv, sources: Sequence[Facts]) -> Facts:
    groups = math.gcd(sources[0].groups, layer.groups)
    return _grown(layer, sources[0])._replace(groups=groups)


def _joined(sources: Sequence[Facts], groups: int) -> Facts:
    rows, columns = (max(source.radius[axis] for source in sources) for axis in (0, 1))
    constant = any(source.constant for source in sources)
    return Facts(0, (rows, columns), constant, groups)


def _sum(layer: Add, sources: Sequence[Facts]) -> Facts:
    if len({source.channels for source in sources}) > 1:
        raise NetworkError(f"{layer.name!r} must add tensors with equal numbers of channels")
    return _joined(sources, math.gcd(*(source.groups for source in sources)))


FACTS: Rules[Callable[[Any, Sequence[Facts]], Facts]] = Rules(
    {
        Conv: _conv,
        Stencil: lambda layer, sources: _grown(layer, sources[0]),
        BatchNorm: lambda layer, sources: sources[0]._replace(constant=True),
        Gain: lambda layer, sources: sources[0],
        Scale: lambda layer, sources: sources[0],
        Slice: lambda layer, sources: sources[0]._replace(groups=1),
        Add: _sum,
        Concat: lambda layer, sources: _joined(sources, 1),
    }
)
"""How each linear kind changes the facts about its inputs; no other kind is linear."""
