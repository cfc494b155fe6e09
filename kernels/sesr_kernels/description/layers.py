"""What the kernels read of a network: which fields of which layers, and networks of one layer.

A single operation runs as a network of one layer.  The layers here have the fields of the engine's
own, by whose names the kernels read a network; one that states more is not theirs to run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Conv:
    """A convolution."""

    features: int
    kernel_size: int
    groups: int
    bias: bool
    name: str = "layer"
    shares: str = ""


@dataclass(frozen=True)
class ConvTranspose:
    """A transposed convolution."""

    features: int
    kernel_size: int
    stride: int
    crop: int
    bias: bool
    name: str = "layer"
    shares: str = ""


@dataclass(frozen=True)
class Single:
    """A network of one layer."""

    layer: Any
    channels: int
    upscale: int = 1
    output: str = "layer"

    @property
    def layers(self) -> tuple[Any, ...]:
        """The layer."""
        return (self.layer,)

    def steps(self) -> Iterator[tuple[Any, tuple[str, ...]]]:
        """The layer and what it reads."""
        yield self.layer, ("input",)

    def shapes(self, height: int, width: int) -> dict[str, tuple[int, int, int]]:
        """Shapes of both tensors."""
        s = self.upscale
        return {
            "input": (height, width, self.channels),
            "layer": (height * s, width * s, self.layer.features),
        }


class Unsupported(Exception):
    """Raised for a network that is not for these kernels."""


ALWAYS = {"name", "inputs", "shares"}
FIELDS: dict[str, set[str]] = {
    "Conv": {"features", "kernel_size", "groups", "bias"},
    "ConvTranspose": {"features", "kernel_size", "stride", "bias", "padding", "crop"},
    "PReLU": set(),
    "ReLU": set(),
    "LeakyReLU": {"slope"},
    "Add": set(),
    "Concat": set(),
    "DepthToSpace": {"block", "mode"},
    "Shift": {"offset"},
    "Scale": {"factor"},
    "Clip": {"low", "high"},
    "Resize": {"upscale", "mode"},
}


def kind_of(layer: Any) -> str:
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
    for field in fields(layer):
        if field.name not in FIELDS[kind] | ALWAYS:
            value = getattr(layer, field.name)
            if field.default is MISSING or value != field.default:
                raise Unsupported(f"{kind} with {field.name} = {value!r:.40}")
    return kind
