"""The base of every kind of layer, and how a tool looks up its rule for a kind."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field, fields
from typing import TypeVar

from sesr_ref.limits import NetworkError, check_name, require, shown

Shape = tuple[int, int, int]
"""(height, width, channels)."""
Rule = TypeVar("Rule")


@dataclass(frozen=True)
class Layer:
    """One step: `name` is also the name of its output.

    Parameters
    ----------
    name : str
        Unique in its network; parameters are called ``name.parameter``.
    inputs : tuple of str
        Names of the tensors that it reads; empty for the layer before.
    shares : str
        Name of an earlier, otherwise equal layer whose parameters this one uses; "" for its own.
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
        """Shape of the output given those of the inputs; NetworkError if they do not fit."""
        (only,) = self._arity(inputs, 1)
        return only

    def param_shapes(self, *in_channels: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the layer's own parameters given the channels of its inputs."""
        return {}

    @classmethod
    def constants(cls) -> tuple[str, ...]:
        """Names of its floating-point fields, which an implementation rounds to its format."""
        return tuple(each.name for each in fields(cls) if "float" in str(each.type))

    def _arity(self, inputs: tuple[Shape, ...], count: int) -> tuple[Shape, ...]:
        if len(inputs) != count:
            raise NetworkError(f"{self.name}: must read {count} tensor(s), got {len(inputs)}")
        return inputs

    def _check_one_shape(self, verb: str, first: Shape, *others: Shape) -> Shape:
        """Return the first shape; the others must equal it, or do so with one channel."""
        for other in others:
            if other not in (first, (*first[:2], 1)):
                raise NetworkError(f"{self.name}: cannot {verb} shapes {first} and {other}")
        return first

    def _check_divides(self, channels: int, divisor: int, what: str) -> None:
        if channels % divisor:
            raise NetworkError(f"{self.name}: {channels} channels are not a multiple of {what}")


def check_order(owner: str, layer: Layer, inputs: tuple[str, ...], known: Container[str]) -> None:
    """Raise NetworkError unless a layer's name is new and its inputs exist.

    Parameters
    ----------
    owner : str
        Name of the network or composite, for the message.
    layer : Layer
        The next layer.
    inputs : tuple of str
        Names of the tensors that it reads.
    known : container of str
        Names of the tensors so far.

    Raises
    ------
    NetworkError
        If the name is taken or an input does not exist yet.
    """
    if layer.name in known:
        raise NetworkError(f"{owner}: two layers are called {layer.name!r}")
    if missing := [name for name in inputs if name not in known]:
        raise NetworkError(f"{owner}: {layer.name!r} reads {shown(missing[0])} before it exists")


class Pointwise(Layer):
    """Base of the kinds that change each value separately: the output has the input's shape.

    A table without a row for such a kind uses the row of this base; see `Rules`.
    """


class Rules(dict[type[Layer], Rule]):
    """A tool's rules by kind of layer; a kind without a row uses that of its nearest base."""

    def __missing__(self, kind: type[Layer]) -> Rule:
        for base in kind.__mro__[1:]:
            if base in self:
                return self[base]
        raise KeyError(kind)
