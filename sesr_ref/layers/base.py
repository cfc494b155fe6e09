"""What every kind of layer is, and how a tool looks up its rule for one."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TypeVar

from sesr_ref.limits import NetworkError, check_name, require

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
        return tuple(each.name for each in fields(cls) if "float" in str(each.type))

    def _arity(self, inputs: tuple[Shape, ...], count: int) -> tuple[Shape, ...]:
        if len(inputs) != count:
            raise NetworkError(f"{self.name}: reads {count} tensor(s), not {len(inputs)}")
        return inputs


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
